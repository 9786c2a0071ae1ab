"""COCO captions: describe a photograph in one sentence, scored against five human captions (KOSMOS-1 section 4.1).

Prompt: the image, then ``An image of``; beam search of width 5. The caption is the text after the prompt, as in the
paper. A demonstration adds a human caption as it is written, a whole sentence; what it looks like is not in the paper.
Other wordings (``prompt_variants``) are ours.

Source: https://cocodataset.org/#download, annotations CC BY 4.0, images under the licences that the json names. The
paper's split is Karpathy and Li's test of 5,000 images (``dataset_coco.json``); without that file it is val2017.
Hub: lmms-lab/COCO-Caption2017 (its card: val of 5,000 images, with question_id, the image's file name, image, and
answer, its captions). It has no training split: demonstrations are drawn leave-one-out.

Our defaults where the paper is silent: a caption ends at a line break, which is what separates demonstrations, or after
32 tokens, three times the usual length of a human one; beams compare by mean log-probability per token. CIDEr counts
documents over all references of the split, so that a part of the split is scored on the same scale as the whole; the
official tool counts those of the answered images alone. Metrics have the official tool's names and scales.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from kosmos_eval.registry import register
from kosmos_eval.source import Source
from kosmos_tasks.families import captioning
from kosmos_tasks.families.splits import Hub, Splits
from kosmos_tasks.families.suites import FEW_SHOT, KOSMOS1, SYNTHETIC, TRANSFER
from kosmos_tasks.formats import coco
from kosmos_tasks.formats.answers import results_json
from kosmos_tasks.synthetic import scene_captions

if TYPE_CHECKING:
    from datasets import Dataset


def of_hub(rows: "Dataset") -> "Dataset":
    """Return the hub's rows in our columns; ``id`` is the official image id."""
    ids = [str(int(Path(name).stem.split("_")[-1])) for name in rows["question_id"]]
    return rows.select_columns(["image", "answer"]).rename_column("answer", "captions").add_column("id", ids)


SPLITS = Splits(
    "coco_caption",
    get="https://cocodataset.org/#download: annotations/captions_{train,val}{2014,2017}.json and the folders of "
    "images; https://cs.stanford.edu/people/karpathy/deepimagesent: dataset_coco.json (dataset.json in coco.zip); "
    "all under coco/",
    synthetic=scene_captions.captions,
    files=coco.FILES,
    hub=Hub("lmms-lab/COCO-Caption2017", ("val",), adapt=of_hub),
)


@register("coco_caption")
@dataclass(frozen=True)
class CocoCaption(captioning.CaptionTask):
    """Captions of COCO photographs.

    Args:
        source: where images and captions come from.
        max_tokens: the most tokens of a caption.
        length_penalty: beams compare by log-probability / tokens ** length_penalty.
        shown: which human caption a demonstration shows: the ``first``, or a ``random`` one, always the same.
        prompt: which of ``prompt_variants`` asks for the caption.
        document_frequencies: CIDEr's, from the references of the whole ``split`` or of the ``answered`` images.
        spice: also compute SPICE; where its programs are not installed, a line says so and how to get them.
    """

    source: Source = field(default_factory=Source)
    max_tokens: int = 32
    length_penalty: float = 1.0
    shown: captioning.Shown = "first"
    prompt: Literal["paper", "short", "instruction"] = "paper"
    document_frequencies: Literal["split", "answered"] = "split"
    spice: bool = True

    splits: ClassVar[Splits] = SPLITS
    info = SPLITS.info("CIDEr", suites=("default", KOSMOS1, FEW_SHOT, SYNTHETIC, TRANSFER))
    prompt_variants: ClassVar[Mapping[str, str]] = {
        "paper": captioning.PROMPT,
        "short": "Caption:",
        "instruction": "Describe the image in one sentence:",
    }

    @property
    def notes(self) -> Sequence[str]:
        return [f"CIDEr IDF from {'this split' if self.document_frequencies == 'split' else 'the answered images'}"]

    @property
    def wording(self) -> str:
        return self.prompt_variants[self.prompt]

    def counted(self) -> Mapping[str, Sequence[str]]:
        return super().counted() if self.document_frequencies == "split" else {}

    def read_answers(self, file: Path) -> Mapping[str, str]:
        """Read COCO results json: ``[{"image_id", "caption"}]``."""
        return results_json(file, ("image_id", "caption"), set(self.rows(self.split)["id"]), split=self.split)

    def official(self) -> Self:
        """Return the task with the official tool's CIDEr IDF, which is that of the answered images."""
        return replace(self, document_frequencies="answered")
