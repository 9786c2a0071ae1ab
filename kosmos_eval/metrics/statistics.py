"""A figure with its uncertainty: Wilson's interval for plain accuracy, the bootstrap for everything else.

All intervals are 95 % and two-sided. The bootstrap is scipy's, of the studentised mean, with 1,000 resamples drawn from
``seed``: percentiles of the mean itself are too narrow for the few, skewed scores of benchmarks (at 50 samples
of per-image CIDEr they hold 93 % of the time). ``benchmarks/coverage.py`` prints how often the intervals hold.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor, inf, nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Metric:
    """One figure of a report.

    Args:
        value: the figure, in the metric's own unit; nan where nothing was scored.
        low: lower end of the 95 % interval; None where the data give none.
        high: upper end of the 95 % interval; None where the data give none.
        n: how many samples the figure rests on.
        chance: the chance level, in the unit of ``value``.
        p_value: how probable it is that guessing reaches the figure or more (`binomial_p`).
        unit: ``%`` for a rate of 0..1, which reports show in per cent; empty for a metric on a scale of its own.
        averaged: whether it is the mean of the samples' scores of its name, so that runs can be compared by pairs.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    chance: float | None = None
    p_value: float | None = None
    unit: str = "%"
    averaged: bool = field(default=False, compare=False)


def proportion(hits: int, n: int, *, chance: float | None = None) -> Metric:
    """Accuracy of whole hits with Wilson's score interval, which holds at 0 %, at 100 % and for a single sample.

    Args:
        hits: how many of the ``n`` were right.
        n: how many were asked; with none the value is nan and there is no interval.
        chance: the hit rate of guessing; with it `Metric.p_value` is given.

    Raises:
        ValueError: if ``hits`` is not a whole number of 0 to ``n``; shared credit belongs to `mean`.
    """
    from scipy.stats import binomtest

    if hits != floor(hits) or not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n} is no count; average fractional credit by mean()")
    if n == 0:
        return Metric(nan, None, None, 0, chance)
    interval = binomtest(int(hits), n).proportion_ci(LEVEL, method="wilson")
    p_value = None if chance is None else binomial_p(hits, n, chance)
    return Metric(hits / n, float(interval.low), float(interval.high), n, chance, p_value)


def binomial_p(hits: float, n: int, chance: float) -> float:
    """The exact one-sided p-value of the binomial test: how probable guessing makes ``hits`` or more of ``n``.

    Fractional hits (credit shared by ties) are rounded down, which can only raise the p-value.
    """
    from scipy.stats import binomtest

    # 1/3 + 1/3 + 1/3 may sum to just under 1 in binary.
    whole = floor(hits + 1e-9)
    return float(binomtest(whole, n, chance, alternative="greater").pvalue)


def mean(
    values: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
    chance: float | None = None,
) -> Metric:
    """The mean of the samples' scores, with an interval that fits what the scores are.

    Scores of only 0 and 1 get Wilson's interval, others the bootstrap. Where groups repeat (questions on one image),
    scores of a group are not independent: whole groups are resampled, and the figure of a resample is its sum of scores
    over their number. Where what is resampled shows too little spread for a bootstrap (all equal, all but a few,
    or a single one) it gives no interval, because a width of nothing would claim certainty; scores in 0..1, such as the
    1/m of exact ties, then get Wilson's interval with each group counted as one trial and their hits rounded outwards,
    which can only widen it.

    Args:
        values: (n,) one score per sample.
        groups: (n,) what each sample shares with others, such as its image.
        seed: of the bootstrap.
        chance: the chance level; with independent values in 0..1, `Metric.p_value` is given.
    """
    return replace(_mean(values, groups, seed=seed, chance=chance), averaged=True)


def _mean(values: Sequence[float], groups: Sequence[Hashable] | None, *, seed: int, chance: float | None) -> Metric:
    n = len(values)
    if n == 0:
        return Metric(nan, None, None, 0, chance)
    clustered = groups is not None and len(set(groups)) < n
    binary = all(value in (0, 1) for value in values)
    if binary and not clustered:
        return proportion(int(sum(values)), n, chance=chance)
    sums, counts = totals(values, groups if groups is not None and clustered else range(n))
    average = sum(values) / n
    low, high = interval(sums, counts, seed=seed) or (None, None)
    fractions = all(0 <= value <= 1 for value in values)
    if fractions and low is not None and high is not None:
        low, high = max(0.0, low), min(1.0, high)
    elif fractions:
        hits = round(average * len(sums), 9)
        low, high = proportion(floor(hits), len(sums)).low, proportion(ceil(hits), len(sums)).high
    result = Metric(average, low, high, n, chance)
    if chance is None or clustered or not fractions:
        return result
    return replace(result, p_value=binomial_p(sum(values), n, chance))


def totals(values: Sequence[float], groups: Sequence[Hashable]) -> tuple[list[float], list[int]]:
    """The sum and the number of the values of each group, in order of first appearance."""
    sums: dict[Hashable, float] = {}
    counts: dict[Hashable, int] = {}
    for value, group in zip(values, groups, strict=True):
        sums[group] = sums.get(group, 0.0) + value
        counts[group] = counts.get(group, 0) + 1
    return list(sums.values()), list(counts.values())


def studentised(
    sums: Sequence[float], counts: Sequence[int], *, resamples: int, seed: int
) -> tuple[float, float, "np.ndarray"]:
    """A ratio of sums, its standard error, and how far resamples stray from it.

    Args:
        sums: (G,) the sum of the scores of each group.
        counts: (G,) how many scores that are.
        resamples: how many times G groups are drawn.
        seed: of the draws.

    Returns:
        The ratio; its standard error by linearisation, 0 where all groups agree; and for each resample (resamples,) the
        distance of its ratio in its own standard errors, infinite where it has none.
    """
    import numpy as np
    from scipy.stats import bootstrap

    total, count = np.asarray(sums, dtype=float), np.asarray(counts, dtype=float)
    value, error = (float(part) for part in _ratio(total, count))
    if error == 0:
        return value, 0.0, np.zeros(resamples)
    alike = bool((count == count[0]).all())  # then there is nothing to draw of them

    def distance(total: "np.ndarray", *counts: "np.ndarray", axis: int) -> "np.ndarray":
        assert axis == -1, "scipy resamples along the last axis"
        drawn, spread = _ratio(total, *(counts or (np.broadcast_to(count[0], total.shape),)))
        off = np.abs(drawn - value)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(spread > 0, off / spread, np.where(off > 0, inf, 0.0))

    with np.errstate(invalid="ignore"):  # scipy also takes the standard deviation, of which infinities have none
        drawn = bootstrap(
            (total,) if alike else (total, count),
            distance,
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, 1_000_000 // len(total)),  # keeps what is drawn at once under some 50 MB
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    return value, error, np.asarray(drawn)


def interval(sums: Sequence[float], counts: Sequence[int], *, seed: int) -> tuple[float, float] | None:
    """The bootstrap interval of a ratio of sums (`studentised`); None where groups differ too little to give one."""
    import numpy as np

    value, error, distances = studentised(sums, counts, resamples=RESAMPLES, seed=seed)
    reach = error * float(np.quantile(distances, LEVEL, method="higher"))
    return (value - reach, value + reach) if 0 < reach < inf else None


def _ratio(total: "np.ndarray", count: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
    """The ratio of sums along the last axis, and its standard error by linearisation."""
    import numpy as np

    groups, whole = total.shape[-1], count.sum(axis=-1)
    ratio = total.sum(axis=-1) / whole
    left = total - ratio[..., None] * count
    squares = np.einsum("...i,...i->...", left, left)
    squares = np.where(squares < groups * 1e-24, 0.0, squares)  # what rounding leaves where all groups agree
    return ratio, np.sqrt(squares * (groups / max(groups - 1, 1))) / whole
