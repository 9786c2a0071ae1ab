"""VizWiz: questions that blind people asked about photographs they took, ten human answers each (KOSMOS-1 section 4.1).

Prompt: the image, then ``Question: {question} Answer:``; greedy. A demonstration adds the most common human answer.
Questions that cannot be answered stay: most of their answers are ``unanswerable``, and they are scored like others.

Source: https://vizwiz.org/tasks-and-datasets/vqa, CC BY 4.0: ``{train,val,test}.json`` and the folders of images, or
the same in the format of VQA (``val_questions_vqa_format.json``, ``val_annotations_vqa_format.json``). The paper has
test-dev, whose answers only the server has: for it a submission file is written. With ``--data`` the default is val.
Hub: lmms-lab/VizWiz-VQA (its card: val of 4,319 and test of 8,000, with question_id, image, question, answers,
category). It has no training split: demonstrations come from val.

Our defaults where the paper is silent are those of VQAv2. The score is the VQA accuracy, each answer left out by its
place: these files have no ``answer_id``, without which the official program drops equal answers together. Their
``multiple_choice_answer`` is the first answer, not the most common one, and is not used.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from kosmos_eval.registry import register
from kosmos_eval.sample import Sample
from kosmos_eval.source import Source
from kosmos_eval.task import Score
from kosmos_tasks.families.splits import Hub, Splits
from kosmos_tasks.families.suites import FEW_SHOT, KOSMOS1, SYNTHETIC, TRANSFER
from kosmos_tasks.families.vqa import VQATask
from kosmos_tasks.formats import vizwiz as official
from kosmos_tasks.synthetic import unanswerable

if TYPE_CHECKING:
    from datasets import Dataset


def of_hub(rows: "Dataset") -> "Dataset":
    """Return the hub's rows in the columns of VQAv2."""
    rows = rows.rename_columns({"question_id": "id", "category": "answer_type"})
    return rows.add_column("image_id", [f"{number}.jpg" for number in rows["id"]])


SPLITS = Splits(
    "vizwiz",
    get="https://vizwiz.org/tasks-and-datasets/vqa: {train,val,test}.json, there or in Annotations/, and the "
    "images in train/, val/, test/, all under vizwiz/",
    synthetic=unanswerable.rows,
    sizes={"test": 100, "train": 100},
    files=official.FILES,
    hub=Hub("lmms-lab/VizWiz-VQA", ("val", "test"), shown="val", adapt=of_hub),
)


@register("vizwiz")
@dataclass(frozen=True)
class VizWiz(VQATask):
    """Questions of blind people about their photographs.

    Args:
        source: where the questions come from.
        max_tokens: the most tokens of an answer.
        lenient: also give ``vqa_accuracy_lenient``, which always normalises (not the challenge's figure).
    """

    source: Source = field(default_factory=Source)
    max_tokens: int = 10
    lenient: bool = False

    splits: ClassVar[Splits] = SPLITS
    info = SPLITS.info("vqa_accuracy", suites=(KOSMOS1, FEW_SHOT, SYNTHETIC, TRANSFER))

    def submission(self, samples: Sequence[Sample], scores: Sequence[Score]) -> tuple[str, str] | None:
        if not samples or samples[0].references:
            return None
        pairs = zip(samples, scores, strict=True)
        entries = [{"image": sample.group, "answer": score.answer} for sample, score in pairs]
        return f"vizwiz_{self.split}_kosmos-eval_results.json", json.dumps(entries)
