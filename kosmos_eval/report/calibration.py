"""Calibration: confidences of closed-ended samples, and the reliability diagram."""

from collections.abc import Sequence
from dataclasses import dataclass

from kosmos_eval.analysis.saved_run import SavedSetting
from kosmos_eval.metrics.calibration import Bin, Calibration, calibration, probabilities
from kosmos_eval.report.charts import Chart, Point, Scale, Series
from kosmos_eval.request import Likelihoods, Output
from kosmos_eval.sample import Sample

FEWEST = 20
"""Samples below which a curve says nothing."""

EDGE, FAR = 30.0, 170.0
"""The ends of the diagram's axes."""


@dataclass(frozen=True)
class Reliability:
    """The calibration of a setting, and its drawing: accuracy by confidence, a larger point for more samples."""

    found: Calibration
    chart: Chart


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
    across, upward = Scale(0, 1, EDGE, FAR, steps=2), Scale(0, 1, FAR, EDGE, steps=2)
    curve = Series(tuple(_point(one, made.n) for one in made.bins)).placed(across.place, upward.place)
    note = f"error {made.error:.3f}; by chance up to {made.chance_error:.3f}"
    names = ("confidence", "accuracy")
    chart = Chart(setting.label, note, across, upward, names, across.ticks(), (curve,), (FAR, EDGE))
    return Reliability(made, chart)


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


def _point(one: Bin, n: int) -> Point:
    found = one.accuracy
    title = f"confidence {one.confidence:.2f}: accuracy {found.value:.2f}, n = {found.n}"
    return Point(one.confidence, found.value, found.low, found.high, title, 2 + 6 * (found.n / n) ** 0.5)
