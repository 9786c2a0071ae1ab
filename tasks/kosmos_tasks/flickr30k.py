"""Flickr30k captions: describe a photograph in one sentence, scored against five human captions (KOSMOS-1 section 4.1).

Prompt: the image, then ``An image of``; beam search of width 5. All is as in COCO captions.

Source: https://shannon.cs.illinois.edu/DenotationGraph (images on request, for research and education only) with the
split of Karpathy and Li, in any of its files (`kosmos_tasks.formats.flickr30k`). The paper's split is test: 1,000
images.
Hub: royokong/flickr30k_test (its card: test of 1,000 with image and text, its captions); lmms-lab/flickr30k calls all
31,783 images test, and is not that split.

Our defaults where the paper is silent are those of COCO captions. ``partial`` evaluates the images that are there,
where others are missing; the documents of CIDEr are still those of the whole split.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from kosmos_eval.errors import BadData
from kosmos_eval.registry import register
from kosmos_eval.source import Source
from kosmos_tasks.families import captioning
from kosmos_tasks.families.splits import Hub, Splits
from kosmos_tasks.families.suites import FEW_SHOT, KOSMOS1, SYNTHETIC, TRANSFER
from kosmos_tasks.formats import flickr30k as official
from kosmos_tasks.synthetic import scene_captions

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = Splits(
    "flickr30k",
    get="https://shannon.cs.illinois.edu/DenotationGraph: flickr30k-images/; "
    "https://cs.stanford.edu/people/karpathy/deepimagesent: dataset_flickr30k.json (dataset.json in flickr30k.zip) "
    "or nlphuji/flickr30k on the hub: flickr_annotations_30k.csv; all under flickr30k/",
    # Other scenes than those of COCO captions, drawn from another seed.
    synthetic=lambda split: scene_captions.captions(split, seed=30),
    files=official.FILES,
    hub=Hub("royokong/flickr30k_test", ("test",), adapt=lambda rows: rows.rename_column("text", "captions")),
)


@register("flickr30k")
@dataclass(frozen=True)
class Flickr30k(captioning.CaptionTask):
    """Captions of Flickr photographs.

    Args:
        source: where images and captions come from.
        max_tokens: the most tokens of a caption.
        length_penalty: beams compare by log-probability / tokens ** length_penalty.
        shown: which human caption a demonstration shows: the ``first``, or a ``random`` one, always the same.
        spice: also compute SPICE; where its programs are not installed, a line says so and how to get them.
        partial: evaluate only the images that are there.
    """

    source: Source = field(default_factory=Source)
    max_tokens: int = 32
    length_penalty: float = 1.0
    shown: captioning.Shown = "first"
    spice: bool = True
    partial: bool = False

    splits: ClassVar[Splits] = SPLITS
    info = SPLITS.info("CIDEr", suites=(KOSMOS1, FEW_SHOT, SYNTHETIC, TRANSFER))

    @property
    def notes(self) -> Sequence[str]:
        return ["only the images that are there"] if self.partial else []

    def rows(self, split: str) -> "Dataset":
        """Return the rows of a split whose images are there.

        Raises:
            BadData: if images are missing, unless the task is ``partial``.
        """
        found = super().rows(split)
        if self.source.kind != "data":
            return found
        folder, names = official.images_of(self.source), found["id"]
        there = [place for place, name in enumerate(names) if (folder / name).is_file()]
        missing = len(names) - len(there)
        if missing and not (self.partial and there):
            problem = f"{missing} of the {len(names)} images of {split} are not in {folder}; add them"
            part = ", or evaluate those that are there: --task-option flickr30k.partial=true"
            raise BadData(problem + (part if there else ""))
        return found.select(there)
