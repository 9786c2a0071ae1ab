"""The questions of `benchmarks.shapes` as a task of the harness, from the table that its peers read."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.shapes import prompt
from kosmos_eval import Generate, Sample, Score, Source, register
from kosmos_eval.request import Completion
from kosmos_eval.task import Task


@register("shapes")
@dataclass(frozen=True)
class Shapes(Task):
    """What colour a shape has; demonstrations are part of the question."""

    source: Source = Source()
    shown: int = 4

    def samples(self) -> Sequence[Sample]:
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(self.source.folder() / f"shapes_{self.shown}.parquet")
        rows = [row | {"pictures": [cell["bytes"] for cell in row["pictures"]]} for row in table.to_pylist()]
        return [Sample(row["id"], prompt(row), row["answer"]) for row in rows]

    def examples(self) -> Sequence[Sample]:
        return ()

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> list[Generate]:
        return [Generate(sample.prompt, max_tokens=10, stop=("\n",))]

    def score(self, sample: Sample, outputs: Sequence[Completion]) -> Score:
        answer = outputs[0].text.strip()
        return Score({"accuracy": float(answer == sample.target)}, answer)
