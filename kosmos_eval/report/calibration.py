"""Calibration: confidences of closed-ended samples, and the coordinates of the reliability diagram."""

from collections.abc import Sequence
from dataclasses import dataclass

from kosmos_eval.analysis.saved_run import SavedSetting
from kosmos_eval.metrics.calibration import Bin, Calibration, calibration, probabilities
from kosmos_eval.request import Likelihoods, Output
from kosmos_eval.sample import Sample

FEWEST = 20
"""Samples below which a curve says nothing."""

SIDE, EDGE = 200.0, 30.0


@dataclass(frozen=True)
class Reliability:
    """The calibration of a setting, with the coordinates of its drawing: a square of `SIDE`, confidence to the right.

    Args:
        label: task, shots and variant.
        found: the calibration.
        points: for each bin its place, the ends of its interval, and its radius, by how many samples it holds.
    """

    label: str
    found: Calibration
    points: tuple[tuple[float, float, float, float, float, Bin], ...]

    @property
    def line(self) -> str:
        """The curve, for a polyline."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y, *_ in self.points)


def reliability(setting: SavedSetting) -> Reliability | None:
    """Return the calibration of a setting; None where its samples are not closed-ended, or too few."""
    pairs: list[tuple[float, float]] = []
    for record in setting.records:
        own = list(setting.values.get(record.id, {}).values())
        if record.score is None or not own or not 0 <= own[0] <= 1:
            continue
        sure = confidence(record.sample, record.outputs, record.score.answer)
        if sure is not None:
            pairs.append((sure, own[0]))
    if len(pairs) < FEWEST:
        return None
    made = calibration([sure for sure, _ in pairs], [value for _, value in pairs], seed=setting.seed)
    return Reliability(setting.label, made, tuple(_point(one, made.n) for one in made.bins))


def confidence(sample: Sample, outputs: Sequence[Output], answer: str) -> float | None:
    """The probability of the choice among the sample's candidates, by the summed log-probabilities that are stored.

    Candidates are the continuations of one prompt, or one continuation of a prompt each. None where the outputs do not
    hold one log-probability for each, or the answer is none of them. A task may choose by another rule, such as the
    mean per character; then the choice need not be the most probable candidate.
    """
    log_probs = _log_probs(outputs, len(sample.choices))
    if len(log_probs) < 2:
        return None
    chosen = answer.split("=")[0].strip()
    shares = [
        share
        for share, choice in zip(probabilities(log_probs), sample.choices, strict=True)
        if choice.strip() == chosen
    ]
    return max(shares, default=None)


def _log_probs(outputs: Sequence[Output], count: int) -> Sequence[float]:
    """One log-probability for each candidate; none where the outputs are of another form."""
    asked = [output.logprobs for output in outputs if isinstance(output, Likelihoods)]
    if asked and len(asked[0]) == count:
        return asked[0]
    return [logprobs[0] for logprobs in asked] if len(asked) == count else []


def _point(one: Bin, n: int) -> tuple[float, float, float, float, float, Bin]:
    def y(value: float | None) -> float:
        return EDGE + (SIDE - 2 * EDGE) * (1 - (one.accuracy.value if value is None else value))

    x = EDGE + (SIDE - 2 * EDGE) * one.confidence
    radius = 2 + 6 * (one.accuracy.n / n) ** 0.5
    return x, y(one.accuracy.value), y(one.accuracy.low), y(one.accuracy.high), radius, one
