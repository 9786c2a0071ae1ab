"""From the marks of samples to the metrics of a benchmark."""

from collections.abc import Sequence
from dataclasses import replace

from kosmos_eval.errors import PlugInError
from kosmos_eval.metrics import statistics
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.sample import Sample
from kosmos_eval.task import Score


def means(
    samples: Sequence[Sample], scores: Sequence[Score], *, seed: int = 0, chance: float | None = None
) -> dict[str, Metric]:
    """The mean of every mark, and of the first mark by kind where the samples are of several kinds.

    Intervals are clustered by the samples' group. Where every sample has choices, the chance level of the first
    mark is the mean of 1 / number of choices, unless ``chance`` names another.

    Raises:
        PlugInError: if not all samples have the same marks.
    """
    if not scores:
        return {}
    if chance is None and all(sample.choices for sample in samples):
        chance = sum(1 / len(sample.choices) for sample in samples) / len(samples)
    names = list(scores[0].marks)
    pairs = list(zip(samples, scores, strict=True))
    for sample, score in pairs:
        if score.marks.keys() != scores[0].marks.keys():
            other = f"sample {sample.id} has {sorted(score.marks)}, sample {samples[0].id} {sorted(names)}"
            raise PlugInError(f"marks differ: {other}; give every sample the same, or the task an aggregate()")
    found = {name: _mean(pairs, name, seed=seed, chance=chance if name == names[0] else None) for name in names}
    kinds = sorted({sample.kind for sample in samples})
    if names and len(kinds) > 1:
        for kind in kinds:
            of_kind = [(sample, score) for sample, score in pairs if sample.kind == kind]
            found[f"{names[0]}[{kind}]"] = _mean(of_kind, names[0], seed=seed, chance=chance)
    return found


def _mean(pairs: Sequence[tuple[Sample, Score]], name: str, *, seed: int, chance: float | None) -> Metric:
    marks = [score.marks[name] for _, score in pairs]
    groups = [sample.group or sample.id for sample, _ in pairs]
    metric = statistics.mean(marks, groups=groups, seed=seed, chance=chance)
    return metric if all(0 <= mark <= 1 for mark in marks) else replace(metric, unit="")
