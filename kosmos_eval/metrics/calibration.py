"""Calibration, confidence against correctness: the reliability curve, and the expected calibration error.

The error is that of Guo et al. (2017, "On calibration of modern neural networks"): over bins of equal width, the mean
distance of accuracy and confidence, weighted by how many samples a bin holds. Few samples give a well calibrated model
an error too; what chance alone gives stands beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from kosmos_eval.metrics.statistics import Metric, mean

BINS = 10
DRAWS = 1000


@dataclass(frozen=True)
class Bin:
    """The samples whose confidence lies in an interval.

    Args:
        low: where it begins.
        high: where it ends; the end belongs to it.
        confidence: the mean confidence of the samples.
        accuracy: their mean score, with its interval and their number.
    """

    low: float
    high: float
    confidence: float
    accuracy: Metric


@dataclass(frozen=True)
class Calibration:
    """The agreement of confidence and correctness.

    Args:
        error: the expected calibration error, 0 at best.
        chance_error: what 19 of 20 perfectly calibrated models with these confidences stay below.
        confidence: the mean confidence.
        accuracy: the mean score; lower than the confidence for a model that is too sure of itself.
        bins: those that hold samples, from unsure to sure.
    """

    error: float
    chance_error: float
    confidence: float
    accuracy: float
    bins: tuple[Bin, ...]

    @property
    def n(self) -> int:
        """The number of samples."""
        return sum(one.accuracy.n for one in self.bins)


def calibration(confidences: Sequence[float], scores: Sequence[float], *, seed: int = 0) -> Calibration:
    """Compare confidences with scores.

    Args:
        confidences: (n,) the probability that a model gives its own choice, 0..1.
        scores: (n,) the credit for the choice, 0..1.
        seed: of the intervals, and of the models that are calibrated by construction.

    Raises:
        ValueError: if there are no samples, or not as many scores.

    >>> calibration([0.95, 0.95, 0.55, 0.55], [1, 1, 1, 0]).error
    0.05
    """
    import numpy as np

    if not confidences or len(confidences) != len(scores):
        raise ValueError(f"{len(confidences)} confidences and {len(scores)} scores; expected as many, and at least one")
    sure, credit = np.asarray(confidences, dtype=float), np.asarray(scores, dtype=float)
    place = np.clip(np.ceil(sure * BINS - 1e-9).astype(int) - 1, 0, BINS - 1)
    used = np.unique(place)

    def error(credit: "np.ndarray") -> float:
        gaps = [abs(float((credit - sure)[..., place == one].sum())) for one in used]
        return sum(gaps) / len(sure)

    random = np.random.default_rng(seed)
    by_chance = [error((random.random(len(sure)) < sure).astype(float)) for _ in range(DRAWS)]
    bins = tuple(
        Bin(
            low=int(one) / BINS,
            high=(int(one) + 1) / BINS,
            confidence=float(sure[place == one].mean()),
            accuracy=mean(credit[place == one].tolist(), seed=seed),
        )
        for one in used
    )
    return Calibration(
        error=round(error(credit), 12),
        chance_error=float(np.quantile(by_chance, 0.95)),
        confidence=float(sure.mean()),
        accuracy=float(credit.mean()),
        bins=bins,
    )


def probabilities(log_probs: Sequence[float]) -> list[float]:
    """The probabilities of candidates among each other, from their log-probabilities (softmax).

    >>> probabilities([-1.0, -1.0])
    [0.5, 0.5]
    """
    top = max(log_probs)
    shares = [exp(value - top) for value in log_probs]
    return [share / sum(shares) for share in shares]
