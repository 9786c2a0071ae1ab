"""Paired comparison of two systems on the same samples.

Scores of 0 and 1 on independent samples: McNemar's test with the mid-p value, and the interval of Bonett and Price
(2012); Fagerland, Lydersen and Laake (2013, 2014) recommend both. Everything else: the bootstrap (scipy's) of the
studentised mean difference, whole groups resampled where samples share an image; interval and p-value come from the
same symmetric distribution, so they never disagree. All intervals are 95 % and two-sided.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, sqrt

from kosmos_eval.files import Json
from kosmos_eval.metrics.statistics import LEVEL, studentised, totals

RESAMPLES = 4999
POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """The second system's mean score minus the first's.

    Args:
        value: the difference, in the unit of the scores.
        low: lower end of the 95 % interval; None where too few samples differ to give one.
        high: upper end of the 95 % interval.
        p_value: how probable a difference of this size or more is between systems that are equally good; two-sided.
        better: samples that the second system does better.
        worse: samples that it does worse.
        test: how the p-value was found.
        needed: samples that would tell a difference of this size in 80 % of studies; None where there is none.
        visible: the smallest difference that this many samples would tell in 80 % of studies; None where unknown.
    """

    value: float
    low: float | None
    high: float | None
    p_value: float
    better: int
    worse: int
    test: str
    needed: int | None
    visible: float | None


def paired(
    first: Sequence[float], second: Sequence[float], *, groups: Sequence[Hashable] | None = None, seed: int = 0
) -> Difference:
    """Compare two systems by their scores of the same samples.

    Args:
        first: (n,) scores of the one system.
        second: (n,) scores of the other, in the same order.
        groups: (n,) what each sample shares with others, such as its image.
        seed: of the bootstrap.

    Raises:
        ValueError: if there are no samples.
    """
    changes = [after - before for before, after in zip(first, second, strict=True)]
    if not changes:
        raise ValueError("there are no samples to compare")
    better, worse = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    clustered = groups is not None and len(set(groups)) < len(changes)
    if not clustered and all(score in (0, 1) for score in (*first, *second)):
        return _mcnemar(better, worse, len(changes))
    sums, counts = totals(changes, groups if groups is not None and clustered else range(len(changes)))
    found = _bootstrap(sums, counts, better=better, worse=worse, seed=seed)
    if found.low is None or found.high is None or not all(0 <= score <= 1 for score in (*first, *second)):
        return found
    return replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))


def mid_p(better: int, worse: int) -> float:
    """The two-sided mid-p value of ``better`` against ``worse`` discordant pairs; 1 where they are equally many.

    >>> round(mid_p(8, 2), 4)
    0.0654
    """
    from scipy.stats import binom

    fewer, both = min(better, worse), better + worse
    return float(2 * binom.cdf(fewer, both, 0.5) - binom.pmf(fewer, both, 0.5))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for how many there are, by Holm's step-down procedure.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = largest
    return corrected


def _mcnemar(better: int, worse: int, n: int) -> Difference:
    from scipy.stats import norm

    value = (better - worse) / n
    middle = (better - worse) / (n + 2)
    error = sqrt(((better + worse + 2) / (n + 2) - middle**2) / (n + 2))
    reach = float(norm.ppf((1 + LEVEL) / 2)) * error
    spread = (better + worse) / n - value**2
    return Difference(
        value=value,
        low=max(-1.0, middle - reach),
        high=min(1.0, middle + reach),
        p_value=mid_p(better, worse),
        better=better,
        worse=worse,
        test="mid-p McNemar",
        **_size(value, sqrt(spread / n), n),
    )


def _bootstrap(sums: Sequence[float], counts: Sequence[int], *, better: int, worse: int, seed: int) -> Difference:
    import numpy as np

    value, error, distances = studentised(sums, counts, resamples=RESAMPLES, seed=seed)
    shared: Json = {"value": value, "better": better, "worse": worse, **_size(value, error, sum(counts))}
    if error == 0:  # every sample changed by the same amount: only the directions are evidence
        ahead, behind = sum(total > 0 for total in sums), sum(total < 0 for total in sums)
        return Difference(low=None, high=None, p_value=mid_p(ahead, behind), test="mid-p sign test", **shared)
    reach = float(np.quantile(distances, LEVEL, method="higher")) * error
    p_value = (1 + int((distances >= abs(value) / error).sum())) / (RESAMPLES + 1)
    ends = (value - reach, value + reach) if reach < inf else (None, None)
    return Difference(low=ends[0], high=ends[1], p_value=p_value, test="paired bootstrap", **shared)


def _size(value: float, error: float, n: int) -> Json:
    """Return how many samples a difference of this size needs, and which size this many can tell."""
    from scipy.stats import norm

    reach = float(norm.ppf((1 + LEVEL) / 2) + norm.ppf(POWER))
    needed = None if abs(value) < 1e-12 or error == 0 else ceil(n * (reach * error / value) ** 2)
    return {"needed": needed, "visible": reach * error or None}
