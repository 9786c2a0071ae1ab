"""VQAv2: open-ended questions about COCO images, ten human answers each (KOSMOS-1 section 4.1).

Prompt: the image, then ``Question: {question} Answer:``; greedy. A demonstration adds the most common human answer.
Other wordings (``prompt_variants``) are ours.

Source: https://visualqa.org/download.html, CC BY 4.0; images of COCO. The paper evaluates test-dev, whose answers only
the server has: for it a submission file is written. With ``--data`` the default is val2014, which is scored here.
Hub: lmms-lab/VQAv2 (its card: validation, testdev and test with question_type, multiple_choice_answer, answers,
image_id, answer_type, question_id, question, image). It has no training split: demonstrations come from validation.

Our defaults where the paper is silent: an answer ends at a line break, which is what separates demonstrations, or after
10 tokens, as nearly all human answers have at most three words.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from kosmos_eval.registry import register
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row, Source
from kosmos_eval.task import Score
from kosmos_tasks.families import vqa
from kosmos_tasks.families.splits import Hub, Splits
from kosmos_tasks.families.suites import FEW_SHOT, KOSMOS1, SYNTHETIC, TRANSFER
from kosmos_tasks.formats import vqa as official
from kosmos_tasks.formats.answers import results_json
from kosmos_tasks.synthetic import scene_questions

ANSWERED = {"synthetic": ("train", "test"), "data": official.ANSWERED, "hub": ("validation",)}
"""Splits whose answers are public, by source."""
SPLITS = Splits(
    "vqav2",
    get="https://visualqa.org/download.html: v2_OpenEnded_mscoco_SPLIT_questions.json, "
    "v2_mscoco_SPLIT_annotations.json and the images in train2014/, val2014/, test2015/, all under vqav2/",
    synthetic=scene_questions.questions,
    files=official.FILES,
    hub=Hub(
        "lmms-lab/VQAv2",
        ("validation", "testdev", "test"),
        shown="validation",
        adapt=lambda rows: rows.rename_column("question_id", "id"),
    ),
)


@register("vqav2")
@dataclass(frozen=True)
class VQAv2(vqa.VQATask):
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

    splits: ClassVar[Splits] = SPLITS
    info = SPLITS.info("vqa_accuracy", suites=("default", KOSMOS1, FEW_SHOT, SYNTHETIC, TRANSFER))
    prompt_variants: ClassVar[Mapping[str, str]] = {
        "paper": vqa.PROMPT,
        "short": "Q: {question} A:",
        "instruction": "Answer the question in one word or a few. Question: {question} Answer:",
    }

    @property
    def notes(self) -> Sequence[str]:
        hidden = self.split not in ANSWERED[self.source.kind]
        return ["answers are not public: the server's file lies in the run's folder"] if hidden else []

    def sample(self, row: Row) -> Sample:
        return vqa.sample_of(row, self.prompt_variants[self.prompt])

    def read_answers(self, file: Path) -> Mapping[str, str]:
        """Read VQA results json: ``[{"question_id", "answer"}]``."""
        known = {str(number) for number in self.rows(self.split)["id"]}
        return results_json(file, ("question_id", "answer"), known, split=self.split)

    def submission(self, samples: Sequence[Sample], scores: Sequence[Score]) -> tuple[str, str] | None:
        if not samples or samples[0].references:
            return None
        pairs = zip(samples, scores, strict=True)
        entries = [{"question_id": int(sample.id), "answer": score.answer} for sample, score in pairs]
        return f"v2_OpenEnded_mscoco_{self.split}_kosmos-eval_results.json", json.dumps(entries)
