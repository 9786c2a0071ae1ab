"""Few-shot curves with their intervals, as the coordinates of a drawing that a page colours itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from statistics import fmean

from kosmos_eval.evaluation.results import Row

WIDTH, HEIGHT = 320.0, 200.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 12.0, 30.0


@dataclass(frozen=True)
class At:
    """The rows of one number of shots: the row itself, its blank-image baseline, and its mean over draws."""

    row: Row
    blind: Row | None = None
    draws: tuple[Row, ...] = ()

    @property
    def score(self) -> float:
        """The score, over several draws of demonstrations their mean."""
        return fmean(row.score for row in (self.row, *self.draws))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval's ends, over several draws the means of theirs; the score where there is none."""
        rows = (self.row, *self.draws)
        lows, highs = ([end for row in rows if (end := getattr(row, name)) is not None] for name in ("low", "high"))
        return fmean(lows or [self.score]), fmean(highs or [self.score])

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest score of the draws."""
        scores = [row.score for row in (self.row, *self.draws)]
        return min(scores), max(scores)


@dataclass(frozen=True)
class Point:
    """One number of shots: where it stands, the heights of its interval's ends and of single draws, what it shows."""

    x: float
    y: float
    low: float
    high: float
    at: At
    draws: tuple[float, ...]
    blind: float | None = None

    @property
    def row(self) -> Row:
        """The row that it stands for."""
        return self.at.row


@dataclass(frozen=True)
class Curve:
    """A task's headline metric over the number of shots, in units of a drawing of `WIDTH` x `HEIGHT`.

    Args:
        task: the task.
        metric: what is drawn.
        points: from few to many shots, evenly spaced; rows without a score are left out.
        ticks: height and label of the lines across.
        chance: height of the chance level; None where there is none.
    """

    task: str
    metric: str
    points: tuple[Point, ...]
    ticks: tuple[tuple[float, str], ...]
    chance: float | None

    @property
    def line(self) -> str:
        """The points of the curve, for a polyline."""
        return " ".join(f"{p.x:.1f},{p.y:.1f}" for p in self.points)

    @property
    def blind(self) -> str:
        """The curve without sight, for a polyline; empty where nothing was asked so."""
        return " ".join(f"{p.x:.1f},{p.blind:.1f}" for p in self.points if p.blind is not None)

    @property
    def band(self) -> str:
        """The outline of the intervals, or of the spread where demonstrations were drawn several times; a polygon."""
        if self.drawn_again:
            tops, bottoms = ([(p.x, end(p.draws)) for p in self.points] for end in (min, max))
        else:
            tops, bottoms = [(p.x, p.high) for p in self.points], [(p.x, p.low) for p in self.points]
        ends = [*tops, *reversed(bottoms)]
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in ends)

    @property
    def drawn_again(self) -> bool:
        """True where the band is the spread over draws of demonstrations."""
        return any(len(p.draws) > 1 for p in self.points)


@dataclass(frozen=True)
class Scale:
    """Heights of a drawing for values between two ends."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Iterable[float], *, percent: bool) -> "Scale":
        """Return a scale that holds all values with a margin, and nothing outside of their possible range."""
        found = list(values)
        low, high = min(found), max(found)
        margin = 0.08 * (high - low) or max(abs(high), 1.0) * 0.1
        top = min(100.0, high + margin) if percent else high + margin
        return cls(low - margin if low < 0 else max(0.0, low - margin), top)

    def height(self, value: float) -> float:
        """Return how far from the top a value stands."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Heights and labels of three to six round values."""
        raw = (self.high - self.low) / 5
        power = 10.0 ** floor(log10(raw))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
        digits = max(0, -floor(log10(step)))
        places = range(-floor(-self.low / step), floor(self.high / step) + 1)
        return tuple((self.height(place * step), f"{place * step:.{digits}f}") for place in places)


def curve(found: Sequence[At]) -> Curve | None:
    """The curve of one metric; None where fewer than two numbers of shots have a score."""
    scored = sorted((at for at in found if isfinite(at.score)), key=lambda at: at.row.shots)
    if len(scored) < 2:
        return None
    first = scored[0].row
    chance = next((at.row.chance for at in scored if at.row.chance is not None), None)
    blind = [at.blind.score for at in scored if at.blind is not None and isfinite(at.blind.score)]
    levels = [*blind, *([] if chance is None else [chance])]
    scale = Scale.over([end for at in scored for end in (*at.spread, *at.interval)] + levels, percent=first.unit == "%")
    gap = (WIDTH - LEFT - RIGHT - 20) / (len(scored) - 1)
    points = tuple(_point(at, scale, x=LEFT + 10 + place * gap) for place, at in enumerate(scored))
    return Curve(first.task, first.metric, points, scale.ticks(), None if chance is None else scale.height(chance))


def _point(at: At, scale: Scale, *, x: float) -> Point:
    low, high = at.interval
    blind = None if at.blind is None or not isfinite(at.blind.score) else scale.height(at.blind.score)
    draws = tuple(scale.height(row.score) for row in (at.row, *at.draws))
    return Point(x, scale.height(at.score), scale.height(low), scale.height(high), at, draws, blind)
