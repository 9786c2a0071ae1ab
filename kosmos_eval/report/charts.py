"""Charts with intervals, as the coordinates of drawings that a page colours itself."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, isfinite, log10
from statistics import fmean
from typing import Literal

from kosmos_eval.evaluation.results import Row
from kosmos_eval.report.units import interval, shown

WIDTH, HEIGHT = 320.0, 200.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 12.0, 30.0

COLOURS = 8
"""Colours of curves; the next ones are the same again, dashed."""


@dataclass(frozen=True)
class Scale:
    """Places between two ends of a drawing for the values from ``low`` to ``high``; by default, heights from below.

    ``steps`` is the most steps between round values.
    """

    low: float
    high: float
    begin: float = HEIGHT - BOTTOM
    end: float = TOP
    steps: int = 5

    @classmethod
    def over(cls, values: Iterable[float], *, percent: bool) -> "Scale":
        """Return a scale that holds all values with a margin, and nothing outside of their possible range."""
        found = list(values)
        low, high = min(found), max(found)
        margin = 0.08 * (high - low) or max(abs(high), 1.0) * 0.1
        top = min(100.0, high + margin) if percent else high + margin
        return cls(low - margin if low < 0 else max(0.0, low - margin), top)

    def place(self, value: float) -> float:
        """Return where a value stands."""
        return self.begin + (self.end - self.begin) * (value - self.low) / (self.high - self.low)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Places and labels of round values."""
        raw = (self.high - self.low) / self.steps
        power = 10.0 ** floor(log10(raw))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
        digits = max(0, -floor(log10(step)))
        places = range(-floor(-self.low / step), floor(self.high / step) + 1)
        return tuple((self.place(place * step), f"{place * step:.{digits}f}") for place in places)


@dataclass(frozen=True)
class Point:
    """A value with the ends of its interval if it has one, and what it shows when it is pointed at."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    title: str = ""
    radius: float = 4.0
    style: str = "full"


@dataclass(frozen=True)
class Series:
    """Points that belong together, the corners of an area, or points alone.

    ``name`` is for the legend, a ``style`` is classes of the page's style sheet.
    """

    points: tuple[Point, ...]
    name: str = ""
    style: str = ""
    form: Literal["line", "area", "dots"] = "line"

    @property
    def line(self) -> str:
        """The points, for a polyline or a polygon."""
        return " ".join(f"{p.x:.1f},{p.y:.1f}" for p in self.points)

    def placed(self, x: Callable[[float], float], y: Callable[[float], float]) -> "Series":
        """Return the series in units of a drawing."""

        def place(point: Point) -> Point:
            low, high = (None if end is None else y(end) for end in (point.low, point.high))
            return replace(point, x=x(point.x), y=y(point.y), low=low, high=high)

        return replace(self, points=tuple(map(place, self.points)))


@dataclass(frozen=True)
class Chart:
    """A drawing.

    Args:
        title: what is drawn.
        note: how to read it.
        across: its scale to the right.
        upward: its scale of heights.
        names: what its axes are.
        columns: places and labels below it.
        series: what is drawn, in units of the drawing.
        level: heights of the dashed line at its left and right end, such as the chance level; None where there is none.
    """

    title: str
    note: str
    across: Scale
    upward: Scale
    names: tuple[str, str]
    columns: tuple[tuple[float, str], ...]
    series: tuple[Series, ...]
    level: tuple[float, float] | None = None

    @property
    def drawn_again(self) -> bool:
        """True where single draws of demonstrations are shown."""
        return any(one.form == "dots" and one.points for one in self.series)


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

    def point(self, name: str = "") -> Point:
        """Return the point of a curve, by shots and score."""
        row, unit = self.row, self.row.unit
        low, high = self.interval
        worst, best = (shown(end, unit) for end in self.spread)
        said = (
            f"{name and name + ', '}{row.shots} shots: {shown(self.score, unit)}",
            f"mean of {1 + len(self.draws)} draws from {worst} to {best}" if self.draws else "",
            f"95 % interval {interval(low, high, unit, last=shown)}",
            f"n = {row.n}",
            "incomplete" if row.failed else "",
        )
        title = ", ".join(filter(None, said))
        return Point(row.shots, self.score, low, high, title, style="hollow" if row.failed else "full")


def curve(found: Sequence[At]) -> Chart | None:
    """The curve of one metric of a task; None where fewer than two numbers of shots have a score."""
    scored = sorted((at for at in found if isfinite(at.score)), key=lambda at: at.row.shots)
    if len(scored) < 2:
        return None
    draws = [Point(at.row.shots, row.score, radius=2.0) for at in scored if at.draws for row in (at.row, *at.draws)]
    ends = [(at.row.shots, at.spread if draws else at.interval) for at in scored]
    band = [*(Point(x, high) for x, (_, high) in ends), *(Point(x, low) for x, (low, _) in ends[::-1])]
    blind = [_blind(at.blind) for at in scored if at.blind is not None and isfinite(at.blind.score)]
    series = [
        Series(tuple(band), style="band", form="area"),
        Series(tuple(draws), style="draw", form="dots"),
        Series(tuple(at.point() for at in scored)),
        Series(tuple(blind), style="blind"),
    ]
    first = scored[0].row
    note = first.metric + (", %" if first.unit == "%" else "") + ("; mean over draws" if draws else "")
    return _by_shots(first.task, note, series, [at.row for at in scored])


def _blind(row: Row) -> Point:
    title = f"{row.shots} shots with blank images: {shown(row.score, row.unit)}"
    return Point(row.shots, row.score, title=title, radius=3.0, style="hollow")


def models_curves(found: Mapping[str, Sequence[Row]]) -> Chart | None:
    """The curves of one metric of several models, by their names; None where none has two numbers of shots."""
    if all(len(own) < 2 for own in found.values()):
        return None
    series = []
    for number, (model, own) in enumerate(sorted(found.items())):
        style = f"c{number % COLOURS}" + (" dashed" if number >= COLOURS else "")
        series.append(Series(tuple(At(row).point(model) for row in own), model, style))
    rows = [row for own in found.values() for row in own]
    chance = "; dashed: chance" if any(row.chance is not None for row in rows) else ""
    title = rows[0].metric + (", %" if rows[0].unit == "%" else "")
    return _by_shots(title, f"by number of shots, ranked rows, 95 % intervals{chance}", series, rows)


def _by_shots(title: str, note: str, series: Sequence[Series], rows: Sequence[Row]) -> Chart:
    """Return curves over numbers of shots, which are evenly spaced, with the chance level of their rows."""
    chance = next((row.chance for row in rows if row.chance is not None), None)
    points = [point for one in series for point in one.points]
    values = [end for point in points for end in (point.y, point.low, point.high, chance) if end is not None]
    upward = Scale.over(values, percent=rows[0].unit == "%")
    counts = sorted({row.shots for row in rows})
    last = max(1, len(counts) - 1)
    across = Scale(-last / 24, last + last / 24, LEFT, WIDTH - RIGHT)
    x = {count: across.place(place) for place, count in enumerate(counts)}
    placed = tuple(one.placed(lambda shots: x[int(shots)], upward.place) for one in series)
    columns = tuple((place, str(count)) for count, place in x.items())
    names = ("number of shots", rows[0].metric)
    height = None if chance is None else upward.place(chance)
    level = None if height is None else (height, height)
    return Chart(title, note, across, upward, names, columns, placed, level)
