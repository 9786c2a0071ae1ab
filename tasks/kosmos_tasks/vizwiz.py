"""VizWiz: questions that blind people asked about photographs they took, ten human answers each (KOSMOS-1 section 4.1).

Prompt: the image, then ``Question: {question} Answer:``; greedy. A demonstration adds the most common human answer.
Questions that cannot be answered stay: most of their answers are ``unanswerable``, and they are marked like others.

Source: https://vizwiz.org/tasks-and-datasets/vqa, CC BY 4.0: ``{train,val,test}.json`` and the folders of images, or
the same in the format of VQA (``val_questions_vqa_format.json``, ``val_annotations_vqa_format.json``). The paper has
test-dev, whose answers only the server has: for it a submission file is written. With ``--data`` the default is val.
Hub: lmms-lab/VizWiz-VQA (its card: val of 4,319 and test of 8,000, with question_id, image, question, answers,
category). It has no training split: demonstrations come from val.

Our defaults where the paper is silent are those of VQAv2. The marks are the VQA accuracy, each answer left out by its
place: these files have no ``answer_id``, without which the official program drops equal answers together. Their
``multiple_choice_answer`` is the first answer, not the most common one, and is not used.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.registry import register
from kosmos_eval.request import Completion, Generate, Request
from kosmos_eval.sample import Sample, Samples
from kosmos_eval.source import Source, from_hub, table
from kosmos_eval.task import Score, Task, TaskInfo
from kosmos_tasks.families.suites import FEW_SHOT, KOSMOS1, SYNTHETIC, TRANSFER
from kosmos_tasks.formats import vizwiz
from kosmos_tasks.vqav2 import marked, sample_of

if TYPE_CHECKING:
    from datasets import Dataset


@register("vizwiz")
@dataclass(frozen=True)
class VizWiz(Task):
    """Questions of blind people about their photographs.

    Args:
        source: where the questions come from.
        max_tokens: the most tokens of an answer.
        lenient: also give ``vqa_accuracy_lenient``, which always normalises (not the challenge's figure).
    """

    source: Source = field(default_factory=Source)
    max_tokens: int = 10
    lenient: bool = False

    info: ClassVar[TaskInfo] = TaskInfo(
        metric="vqa_accuracy",
        splits={"synthetic": ("test", "train"), "data": vizwiz.SPLITS, "hub": ("val", "test")},
        hub="lmms-lab/VizWiz-VQA",
        get="https://vizwiz.org/tasks-and-datasets/vqa: {train,val,test}.json, there or in Annotations/, and the "
        "images in train/, val/, test/, all under vizwiz/",
        suites=(KOSMOS1, FEW_SHOT, SYNTHETIC, TRANSFER),
    )

    @property
    def split(self) -> str:
        """The split that is evaluated."""
        return self.source.chosen(self._splits(), task="vizwiz", folders=vizwiz.FOLDERS)

    def samples(self) -> Sequence[Sample]:
        """The questions of the split; kinds are the answer types, one of them unanswerable."""
        return Samples(rows(self.source, self.split), sample_of)

    def examples(self) -> Sequence[Sample]:
        """Training questions, or those of another split with answers; none where there are none."""
        if self.source.kind == "data":
            there = vizwiz.shown(self.source)
        else:
            there = [split for split in ("train", "val") if split in self._splits()]
        pool = [split for split in there if split != self.split] or there
        return Samples(rows(self.source, pool[0]), sample_of) if pool else []

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        """One greedy answer."""
        return [Generate(few_shot(sample, shots), max_tokens=self.max_tokens, stop=("\n",))]

    def score(self, sample: Sample, outputs: Sequence[Completion]) -> Score:
        """The official VQA accuracy; no mark where the answers are not public."""
        return marked(sample, outputs[0].text.strip(), lenient=self.lenient)

    def submission(self, samples: Sequence[Sample], scores: Sequence[Score]) -> tuple[str, str] | None:
        """Results json for the challenge's server, where the answers are not public."""
        if not samples or samples[0].references:
            return None
        pairs = zip(samples, scores, strict=True)
        entries = [{"image": sample.group, "answer": score.answer} for sample, score in pairs]
        return f"vizwiz_{self.split}_kosmos-eval_results.json", json.dumps(entries)

    def _splits(self) -> Sequence[str]:
        return vizwiz.splits(self.source) if self.source.kind == "data" else self.info.splits[self.source.kind]


@lru_cache(maxsize=8)
def rows(source: Source, split: str) -> "Dataset":
    """The questions of a split, a row each, in the columns of VQAv2."""
    if source.kind == "data":
        return vizwiz.rows(source, split)
    if source.kind == "hub":
        found = from_hub(VizWiz.info.hub, source=source, split=split, images=["image"])
        found = found.rename_column("category", "answer_type")
        return found.add_column("image_id", [f"{number}.jpg" for number in found["question_id"]])
    from kosmos_tasks.synthetic import unclear

    count = {"test": unclear.TEST, "train": unclear.TRAIN}[split]
    found = table(unclear.rows("test" if split == "test" else "train", count), images=["image"])
    return found.rename_column("id", "question_id")
