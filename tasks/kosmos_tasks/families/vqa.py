"""Visual question answering: the paper's prompt, a row with ten human answers, the VQA accuracy."""

from collections import Counter
from collections.abc import Sequence

from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics import vqa
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Generate, Request
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row
from kosmos_eval.task import Score
from kosmos_tasks.families.splits import SplitTask

PROMPT = "Question: {question} Answer:"
"""The paper's prompt."""


def sample_of(row: Row, prompt: str = PROMPT) -> Sample:
    """Return a question with its human answers, which are strings or, on the hub, ``{"answer": ...}``.

    The questions about one image are a group; their kind is the type of the answer.
    """
    answers = [answer if isinstance(answer, str) else answer["answer"] for answer in row["answers"] or ()]
    common = Counter(answers).most_common(1)
    return Sample(
        id=str(row["id"]),
        prompt=Prompt(Image.of(row["image"]), prompt.format(question=row["question"])),
        target=row.get("multiple_choice_answer") or (common[0][0] if common else ""),
        references=tuple(answers),
        group=str(row["image_id"]),
        kind=row["answer_type"] or "",
    )


class VQATask(SplitTask):
    """A task of questions about images; its answers end at a line break, scored by the official VQA accuracy."""

    max_tokens: int
    lenient: bool

    def sample(self, row: Row) -> Sample:
        return sample_of(row)

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        return [Generate(few_shot(sample, shots), max_tokens=self.max_tokens, stop=("\n",))]

    def score(self, sample: Sample, outputs: Sequence[Completion]) -> Score:
        """Score the answer; no value where the human answers are not public."""
        answer, values = outputs[0].text.strip(), {}
        if sample.references:
            values["vqa_accuracy"] = vqa.accuracy(answer, sample.references)
        if sample.references and self.lenient:
            values["vqa_accuracy_lenient"] = vqa.lenient_accuracy(answer, sample.references)
        return Score(values, answer)
