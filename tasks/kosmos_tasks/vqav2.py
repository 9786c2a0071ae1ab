"""VQAv2: open-ended questions about COCO images, ten human answers each (KOSMOS-1 section 4.1).

Prompt: the image, then ``Question: {question} Answer:``; greedy. A demonstration adds the most common human answer.
Other wordings (``prompt_variants``) are ours.

Source: https://visualqa.org/download.html, CC BY 4.0; images of COCO. The paper evaluates test-dev, whose answers only
the server has: for it a submission file is written. With ``--data`` the default is val2014, which is marked here.
Hub: lmms-lab/VQAv2 (its card: validation, testdev and test with question_type, multiple_choice_answer, answers,
image_id, answer_type, question_id, question, image). It has no training split: demonstrations come from validation.

Our defaults where the paper is silent: an answer ends at a line break, which is what separates demonstrations, or after
10 tokens, as nearly all human answers have at most three words.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics import vqa
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.registry import register
from kosmos_eval.request import Completion, Generate, Request
from kosmos_eval.sample import Sample, Samples
from kosmos_eval.source import Source, from_hub, table
from kosmos_eval.task import Score, Task, TaskInfo
from kosmos_tasks.families.suites import FEW_SHOT, KOSMOS1, SYNTHETIC, TRANSFER
from kosmos_tasks.formats import vqa as vqa_files
from kosmos_tasks.formats.answers import results_json

if TYPE_CHECKING:
    from datasets import Dataset


PROMPT = "Question: {question} Answer:"
"""What the paper asks with."""

ANSWERED = {"synthetic": ("train", "test"), "data": vqa_files.ANSWERED, "hub": ("validation",)}
"""Splits whose answers are public, by source, those for demonstrations first."""


@register("vqav2")
@dataclass(frozen=True)
class VQAv2(Task):
    """Open-ended questions about COCO images.

    Args:
        source: where the questions come from.
        max_tokens: the most tokens of an answer.
        prompt: which of ``prompt_variants`` asks the question.
        lenient: also give ``vqa_accuracy_lenient``, which always normalises (not the challenge's figure).
    """

    source: Source = field(default_factory=Source)
    max_tokens: int = 10
    prompt: Literal["paper", "short", "instruction"] = "paper"
    lenient: bool = False

    prompt_variants: ClassVar[Mapping[str, str]] = {
        "paper": PROMPT,
        "short": "Q: {question} A:",
        "instruction": "Answer the question in one word or a few. Question: {question} Answer:",
    }
    info: ClassVar[TaskInfo] = TaskInfo(
        metric="vqa_accuracy",
        splits={
            "synthetic": ("test", "train"),
            "data": tuple(vqa_files.IMAGES),
            "hub": ("validation", "testdev", "test"),
        },
        hub="lmms-lab/VQAv2",
        get="https://visualqa.org/download.html: v2_OpenEnded_mscoco_SPLIT_questions.json, "
        "v2_mscoco_SPLIT_annotations.json and the images in train2014/, val2014/, test2015/, all under vqav2/",
        suites=("default", KOSMOS1, FEW_SHOT, SYNTHETIC, TRANSFER),
    )

    @property
    def split(self) -> str:
        """The split that is evaluated."""
        return self.source.chosen(self._splits(), task="vqav2", folders=vqa_files.FOLDERS)

    @property
    def notes(self) -> Sequence[str]:
        """Where the answers go that are not marked here."""
        hidden = self.split not in ANSWERED[self.source.kind]
        return ["answers are not public: the server's file lies in the run's folder"] if hidden else []

    def samples(self) -> Sequence[Sample]:
        """The questions of the split; those of one image are a group, kinds are the answer types."""
        return Samples(rows(self.source, self.split), self._sample)

    def examples(self) -> Sequence[Sample]:
        """Training questions; where only one split has answers, its own; none where no split has."""
        if self.source.kind == "data":
            there = vqa_files.shown(self.source)
        else:
            there = [split for split in ANSWERED[self.source.kind] if split in self._splits()]
        pool = [split for split in there if split != self.split] or there
        return Samples(rows(self.source, pool[0]), self._sample) if pool else []

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        """One greedy answer."""
        return [Generate(few_shot(sample, shots), max_tokens=self.max_tokens, stop=("\n",))]

    def score(self, sample: Sample, outputs: Sequence[Completion]) -> Score:
        """The official VQA accuracy; no mark where the answers are not public."""
        return self.score_answer(sample, outputs[0].text.strip())

    def score_answer(self, sample: Sample, answer: str) -> Score:
        """Mark one answer."""
        return marked(sample, answer, lenient=self.lenient)

    def read_answers(self, file: Path) -> Mapping[str, str]:
        """Question id to answer, from VQA results json: ``[{"question_id", "answer"}]``."""
        known = {str(number) for number in rows(self.source, self.split)["question_id"]}
        return results_json(file, ("question_id", "answer"), known, split=self.split)

    def submission(self, samples: Sequence[Sample], scores: Sequence[Score]) -> tuple[str, str] | None:
        """Results json for the challenge's server, where the answers are not public."""
        if not samples or samples[0].references:
            return None
        pairs = zip(samples, scores, strict=True)
        entries = [{"question_id": int(sample.id), "answer": score.answer} for sample, score in pairs]
        return f"v2_OpenEnded_mscoco_{self.split}_kosmos-eval_results.json", json.dumps(entries)

    def _sample(self, row: Mapping[str, Any]) -> Sample:
        return sample_of(row, self.prompt_variants[self.prompt])

    def _splits(self) -> Sequence[str]:
        return vqa_files.splits(self.source) if self.source.kind == "data" else self.info.splits[self.source.kind]


@lru_cache(maxsize=8)
def rows(source: Source, split: str) -> "Dataset":
    """The questions of a split, a row each."""
    if source.kind == "data":
        return vqa_files.rows(source, split)
    if source.kind == "hub":
        return from_hub(VQAv2.info.hub, source=source, split=split, images=["image"])
    from kosmos_tasks.synthetic import scene_questions

    sizes = {"test": scene_questions.TEST, "train": scene_questions.TRAIN}
    found = table(scene_questions.questions("test" if split == "test" else "train", sizes[split]), images=["image"])
    return found.rename_column("id", "question_id")


def sample_of(row: Mapping[str, Any], prompt: str = PROMPT) -> Sample:
    """A question with its human answers, which are strings or, on the hub, ``{"answer": ...}``."""
    answers = [answer if isinstance(answer, str) else answer["answer"] for answer in row["answers"] or ()]
    common = Counter(answers).most_common(1)
    return Sample(
        id=str(row["question_id"]),
        prompt=Prompt(Image.of(row["image"]), prompt.format(question=row["question"])),
        target=row.get("multiple_choice_answer") or (common[0][0] if common else ""),
        references=tuple(answers),
        group=str(row["image_id"]),
        kind=row["answer_type"] or "",
    )


def marked(sample: Sample, answer: str, *, lenient: bool = False) -> Score:
    """The official VQA accuracy of an answer; no mark where the human answers are not public."""
    if not sample.references:
        return Score(answer=answer)
    marks = {"vqa_accuracy": vqa.accuracy(answer, sample.references)}
    if lenient:
        marks["vqa_accuracy_lenient"] = vqa.lenient_accuracy(answer, sample.references)
    return Score(marks, answer)
