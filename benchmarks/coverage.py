"""Do the intervals hold, and does `compare` cry wolf: by simulation, with the functions that reports call.

    python -m benchmarks.coverage [--repeats 2000] [--sizes 50,300,5000] [--jobs 1] [--only coverage]

Coverage: how often the 95 % interval of a score holds the true one. To hold are 93 to 97 % at n = 300 and 5,000 and at
least 91 % at n = 50. False positives: how often two systems that are equally good differ at p < 0.05, before Holm; at
most 6 % everywhere and at least 4 % from n = 300 on. Wilson's interval and McNemar's test of whole hits are computed
exactly, over every outcome; there coverage swings with n, so each figure is the mean of 21 neighbouring n. The rest
is simulated: the ± is twice the standard error of a figure that is itself an estimate, and MISSED is said of one that
is further from its bar than that.

Where few samples change, whole hits cannot be tested at 5 %: with 6 changes the one outcome at each end has 3.1 % and
the two outermost 21.9 %, so no rule between is to be had. Below such rows stands what is.

The populations: VQA accuracy takes the values 0, 0.3, 0.6, 0.9 and 1 (no, one, two, three, more of ten people agree);
per-image CIDEr is a gamma distribution of mean 0.85 and shape 0.7, with most images near 0 and a long tail.
"""

from __future__ import annotations

import argparse
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import sqrt

import numpy as np
from scipy.stats import binom

from kosmos_eval.metrics.paired import mid_p, paired
from kosmos_eval.metrics.statistics import interval, mean, proportion

Figure = tuple[str, int, float, float]
"""What it is of, the samples of a run, the share, and twice its standard error: 0 for an exact one."""

NORMAL = 1.959963984540054
PLAIN = 20_000

VQA = np.array([0.0, 0.3, 0.6, 0.9, 1.0])
POPULATIONS = {
    "VQA accuracy of 12 %": (0.85, 0.03, 0.02, 0.02, 0.08),
    "VQA accuracy of 50 %": (0.40, 0.08, 0.06, 0.06, 0.40),
    "per-image CIDEr": (),
}
SHAPE, MEAN = 0.7, 0.85
FLIPS = (0.02, 0.05, 0.1, 0.3)
"""Shares of the samples that two equally good systems answer unlike each other."""


def truth(name: str) -> float:
    """The mean of a population."""
    return float(VQA @ POPULATIONS[name]) if POPULATIONS[name] else MEAN


def drawn(name: str, random: np.random.Generator, n: int) -> np.ndarray:
    """(n,) marks of one system."""
    if POPULATIONS[name]:
        return random.choice(VQA, size=n, p=POPULATIONS[name])
    return random.gamma(SHAPE, MEAN / SHAPE, size=n)


def drawn_pair(name: str, random: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) marks of two systems that are equally good and agree in part, as systems on the same samples do."""
    if POPULATIONS[name]:
        first, other = drawn(name, random, n), drawn(name, random, n)
        return first, np.where(random.random(n) < 0.6, first, other)
    shared, *own = (random.gamma(SHAPE / 2, MEAN / SHAPE, size=n) for _ in range(3))
    return shared + own[0], shared + own[1]


def holds(name: str, n: int, seed: int) -> tuple[bool, bool]:
    """Whether the interval of one simulated run holds the truth, and whether that of the normal distribution does."""
    marks = drawn(name, np.random.default_rng(seed), n)
    metric = mean(marks.tolist(), seed=seed)
    held = metric.low is not None and metric.high is not None and metric.low <= truth(name) <= metric.high
    return held, near(marks, truth(name))


def near_truth(name: str, n: int, seed: int) -> bool:
    """The second of what `holds` tells."""
    return near(drawn(name, np.random.default_rng(seed), n), truth(name))


def differs(name: str, n: int, seed: int) -> tuple[bool, bool]:
    """Whether one comparison of equally good systems finds a difference, and whether the normal distribution would."""
    first, second = drawn_pair(name, np.random.default_rng(seed), n)
    return paired(first.tolist(), second.tolist(), seed=seed).p_value < 0.05, not near(second - first, 0.0)


def far_apart(name: str, n: int, seed: int) -> bool:
    """The second of what `differs` tells."""
    first, second = drawn_pair(name, np.random.default_rng(seed), n)
    return not near(second - first, 0.0)


def near(values: np.ndarray, centre: float) -> bool:
    """Whether a mean is within 1.96 of its standard errors of a value."""
    return bool(abs(values.mean() - centre) <= NORMAL * values.std(ddof=1) / sqrt(len(values)))


def share(
    trial: Callable[[int], tuple[bool, bool]], plain: Callable[[int], bool], repeats: int, pool: ProcessPoolExecutor
) -> tuple[float, float]:
    """How often a trial comes true, and twice the standard error of that.

    The normal distribution's answer costs a thousandth and agrees nearly always. So it is asked of `PLAIN` simulated
    runs, and of ``repeats`` others only how often the bootstrap says otherwise: the difference is added. The error
    counts one such case more than there were, because none among a few does not mean none.
    """
    gaps = np.array(list(pool.map(trial, range(repeats), chunksize=5))).astype(float) @ (1, -1)
    base = np.array(list(pool.map(plain, range(repeats, repeats + PLAIN), chunksize=500))).astype(float)
    error = sqrt(((gaps**2).sum() + 1) / len(gaps) ** 2 + base.var(ddof=1) / len(base))
    return float(base.mean() + gaps.mean()), 2 * error


def wilson(p: float, n: int) -> float:
    """The coverage of the interval of a proportion, over every number of hits."""
    found = [proportion(hits, n) for hits in range(*_likely(n, p))]
    inside = [metric.low is not None and metric.high is not None and metric.low <= p <= metric.high for metric in found]
    return float(np.array(inside) @ binom.pmf(range(*_likely(n, p)), n, p))


def mcnemar(changed: float, n: int) -> float:
    """The false positives of the test of whole hits, where so large a share of the samples flips, either way alike."""
    total = 0.0
    for flips in range(*_likely(n, changed)):
        called = bisect_left(range(flips // 2 + 1), 0.05, key=lambda fewer: mid_p(fewer, flips - fewer))
        tail = binom.cdf(called - 1, flips, 0.5) if called else 0.0
        total += binom.pmf(flips, n, changed) * 2 * tail
    return float(total)


def steps(changed: float, n: int) -> str:
    """What false positives a test of the most likely numbers of changes can have below 25 %: nothing between."""
    middle = round(changed * n)
    listed = []
    for flips in range(max(middle - 1, 1), middle + 2):
        levels = [2 * float(binom.cdf(fewer, flips, 0.5)) for fewer in range(flips // 2)]
        listed.append(f"{flips} flips: {', '.join(f'{level:.1%}' for level in levels if 0.001 < level < 0.25)}")
    return "; ".join(listed)


def _likely(n: int, p: float) -> tuple[int, int]:
    """The range outside of which fewer than one in a million outcomes lie."""
    return int(binom.ppf(1e-6, n, p)), int(binom.ppf(1 - 1e-6, n, p)) + 1


def around(n: int) -> Sequence[int]:
    """21 sizes about a size, or the size itself where that would take long."""
    return range(n - 10, n + 11) if n < 1000 else (n,)


def coverage(sizes: Sequence[int], repeats: int, pool: ProcessPoolExecutor) -> Iterator[Figure]:
    """Every population at every size."""
    for n in sizes:
        for p in (0.1, 0.3, 0.5, 0.7, 0.9):
            yield f"proportion of {p}", n, float(np.mean([wilson(p, size) for size in around(n)])), 0.0
        for name in POPULATIONS:
            yield name, n, *share(partial(holds, name, n), partial(near_truth, name, n), repeats, pool)


def false_positives(sizes: Sequence[int], repeats: int, pool: ProcessPoolExecutor) -> Iterator[Figure]:
    """As `coverage`, of equally good systems that are found to differ."""
    for n in sizes:
        for changed in FLIPS:
            yield flipping(changed), n, float(np.mean([mcnemar(changed, s) for s in around(n)])), 0.0
        for name in POPULATIONS:
            yield name, n, *share(partial(differs, name, n), partial(far_apart, name, n), repeats, pool)


TABLES = {
    "coverage": (coverage, (0.91, 1.0), (0.93, 0.97)),
    "false positives": (false_positives, (0.0, 0.06), (0.04, 0.06)),
}
"""By title: what gives the figures, and between what they belong below 300 samples and from there on."""


def cider_seconds(images: int = 5000) -> float:
    """CPU seconds of the interval of CIDEr over so many images, of 1,000 resamples."""
    marks = drawn("per-image CIDEr", np.random.default_rng(0), images)
    begun = time.process_time()
    interval(marks.tolist(), [1] * images, seed=0)
    return time.process_time() - begun


def main() -> None:
    """Print both tables and the time of an interval."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=2000, help="simulated runs a figure that is not exact")
    options.add_argument("--sizes", default="50,300,5000", help="samples a run")
    options.add_argument("--only", choices=TABLES, help="one of the tables")
    options.add_argument("--jobs", type=int, default=1, help="processes")
    given = options.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")]
    print(f"interval of CIDEr over 5,000 images: {cider_seconds():.2f} s", flush=True)
    with ProcessPoolExecutor(given.jobs) as pool:
        for title, (table, few, many) in TABLES.items():
            if given.only in (None, title):
                print(f"\n{title:<32}{'n':>6}{'share':>9}{'':>8}   bar", flush=True)
                for figure in table(sizes, given.repeats, pool):
                    print(line(figure, few if figure[1] < 300 else many), flush=True)


def line(figure: Figure, bar: tuple[float, float]) -> str:
    """A figure with its Monte Carlo error beside its bar, and where it misses that, why if it is known."""
    name, n, found, error = figure
    margin = f"± {error:.1%}" if error else "exact"
    said = f"{name:<32}{n:>6}{found:>9.1%}{margin:>8}   {bar[0]:.0%} to {bar[1]:.0%}"
    if bar[0] - error <= found <= bar[1] + error:
        return said
    flips = next((share for share in FLIPS if name == flipping(share)), None)
    return f"{said}  MISSED" + (f"\n    levels that exist: {steps(flips, n)}" if flips is not None else "")


def flipping(share: float) -> str:
    """What the population of whole hits is called of which so many flip."""
    return f"hits, {share:.0%} of them flip"


if __name__ == "__main__":
    main()
