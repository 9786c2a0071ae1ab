"""The curves of a training as a drawing: losses by dataset, and scores with their intervals where it was evaluated.

    python -m benchmarks.loss_curve results/train/nano --out results/nano-loss.svg

It reads the ``losses.csv`` and, if it is there, the ``scores.csv`` of a folder that ``kosmos-eval train`` has written.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil, floor, inf, isfinite, log2, log10
from pathlib import Path

import pandas as pd

from kosmos_eval.hook.history import read
from kosmos_eval.report.charts import BOTTOM, HEIGHT, Scale
from kosmos_model.training.log import LOSSES, SCORES

WIDTH, LEFT, RIGHT, TITLE = 1100.0, 64.0, 515.0, 28.0
COLUMN, ROWS = 165.0, 10
"""How wide a column of names of curves is, and how many it has."""
COLORS = (
    "#1b6ca8", "#c8553d", "#3d8b5f", "#8d5a97", "#b58900", "#5b6c7d", "#d0679d", "#2aa198", "#7a4f2a", "#4b4ba8",
    "#111111", "#9acd32",
)  # fmt: skip
SMOOTH = 60
"""A drawn loss is the mean of one in so many of all steps."""
LEAST = 1 / 32
"""Smaller losses, in nats, are drawn as this one, so that what is learned perfectly leaves room for the others."""


@dataclass(frozen=True)
class Series:
    """A curve by its points (step, value), and the ends of their intervals, (step, low, high), if they have some.

    Where points are more than ``gap`` steps apart the curve is broken.
    """

    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()
    gap: float = inf

    @property
    def runs(self) -> Iterator[Sequence[tuple[float, float]]]:
        """The points between breaks."""
        ends = [place for place, (one, two) in enumerate(pairwise(self.points), 1) if two[0] - one[0] > self.gap]
        return (self.points[begin:end] for begin, end in pairwise([0, *ends, len(self.points)]))

    @property
    def values(self) -> Iterator[float]:
        """Everything that has to fit in."""
        yield from (value for _, value in self.points)
        yield from (end for _, *ends in self.band for end in ends)


def losses(folder: Path) -> list[Series]:
    """The loss of each dataset, smoothed over as many of its steps as fit into one point of the drawing."""
    table = pd.read_csv(folder / LOSSES)
    window = max(1, len(table) // SMOOTH)
    found: list[Series] = []
    for kind in table.columns[5:]:
        own = table[["step", kind]].dropna()
        means = own.groupby((own["step"] - 1) // window).mean()
        if len(means):
            points = [(float(step), max(float(loss), LEAST)) for step, loss in means.to_numpy()]
            found.append(Series(kind, points, gap=1.5 * window))
    return found


def scores(folder: Path) -> dict[str, list[Series]]:
    """The headline score of each task, a series for each number of shots, by task and metric."""
    headline: dict[str, str] = {}
    points: dict[tuple[str, int], list[tuple[float, float]]] = {}
    bands: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for entry in read(folder / SCORES):
        if headline.setdefault(entry.task, entry.metric) == entry.metric and isfinite(entry.score):
            key = (entry.task, entry.shots)
            points.setdefault(key, []).append((entry.step, entry.score))
            low, high = entry.low, entry.high
            if low is not None and high is not None:
                bands.setdefault(key, []).append((entry.step, low, high))
    found: dict[str, list[Series]] = {}
    for (task, shots), line in points.items():
        series = Series(f"{shots} shots", line, bands.get((task, shots), ()))
        found.setdefault(f"{task}: {headline[task]}", []).append(series)
    return found


def panel(title: str, series: Sequence[Series], *, top: float, last: float, halving: bool) -> Iterator[str]:
    """One drawing of curves over steps, at a height of the page; ``halving`` has a line for every factor of two."""
    values = [value for one in series for value in one.values]
    scale = Scale.over(map(log2, values) if halving else values, percent=False)
    base = top + TITLE
    marks = [(scale.place(power), f"{2.0**power:g}") for power in range(ceil(scale.low), floor(scale.high) + 1)]

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def y(value: float) -> float:
        return base + scale.place(log2(value) if halving else value)

    yield f'<text class="title" x="{LEFT}" y="{base:.1f}">{escape(title)}</text>'
    for height, label in marks if halving else scale.ticks():
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base + height:.1f}" y2="{base + height:.1f}"/>'
        yield f'<text class="end" x="{LEFT - 8}" y="{base + height + 4:.1f}">{label}</text>'
    for step in range(0, int(last) + 1, 10 ** floor(log10(last))):
        yield f'<text class="middle" x="{x(step):.1f}" y="{base + HEIGHT - BOTTOM + 18:.1f}">{step:,.0f}</text>'
    for place, one in enumerate(series):
        color = COLORS[place % len(COLORS)]
        dashes = ' stroke-dasharray="5 3"' if place >= len(COLORS) else ""
        if one.band:
            outline = [(step, low) for step, low, _ in one.band] + [(step, high) for step, _, high in one.band[::-1]]
            shape = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in outline)
            yield f'<polygon fill="{color}" fill-opacity="0.15" points="{shape}"/>'
        for run in one.runs:
            line = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in run)
            yield f'<polyline fill="none" stroke="{color}" stroke-width="1.6"{dashes} points="{line}"/>'
        right, told = WIDTH - RIGHT + 20 + COLUMN * (place // ROWS), base + 20 + 17 * (place % ROWS)
        ends = f'x1="{right}" x2="{right + 20}" y1="{told - 4:.1f}" y2="{told - 4:.1f}"'
        yield f'<line {ends} stroke="{color}" stroke-width="3"{dashes}/>'
        yield f'<text x="{right + 25}" y="{told:.1f}">{escape(one.name)} {one.points[-1][1]:.2f}</text>'


def drawing(folder: Path) -> str:
    """The whole page, as SVG."""
    panels = {"loss, nats per token": losses(folder), **scores(folder)}
    last = max(step for series in panels.values() for one in series for step, _ in one.points)
    marks = [
        mark
        for place, (title, series) in enumerate(panels.items())
        for mark in panel(title, series, top=place * (TITLE + HEIGHT), last=last, halving=not place)
    ]
    height = (TITLE + HEIGHT) * len(panels)
    style = (
        "text{font:12px system-ui,sans-serif;fill:#444}.title{font-weight:600;font-size:13px}.end{text-anchor:end}"
        ".middle{text-anchor:middle}.grid{stroke:#ddd}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height:.0f}" width="{WIDTH:.0f}">'
    return "\n".join(
        [head, f"<style>{style}</style>", '<rect width="100%" height="100%" fill="#fff"/>', *marks, "</svg>\n"]
    )


def main() -> None:
    """The command."""
    parser = ArgumentParser(prog="python -m benchmarks.loss_curve")
    parser.add_argument("folder", type=Path, help="of a training")
    parser.add_argument("--out", type=Path, default=Path("results/nano-loss.svg"), help="the drawing")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(drawing(options.folder), encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
