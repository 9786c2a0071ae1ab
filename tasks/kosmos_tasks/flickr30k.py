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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from kosmos_eval.errors import BadData
from kosmos_eval.metrics.caption import CaptionScores
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.registry import register
from kosmos_eval.request import Completion, Request
from kosmos_eval.sample import Sample, Samples
from kosmos_eval.source import Source, from_hub, table
from kosmos_eval.task import Score, Task, TaskInfo
from kosmos_tasks.families import captioning
from kosmos_tasks.families.suites import FEW_SHOT, KOSMOS1, SYNTHETIC, TRANSFER
from kosmos_tasks.formats import flickr30k

if TYPE_CHECKING:
    from datasets import Dataset


@register("flickr30k")
@dataclass(frozen=True)
class Flickr30k(Task):
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

    info: ClassVar[TaskInfo] = TaskInfo(
        metric="CIDEr",
        splits={"synthetic": ("test", "train"), "data": flickr30k.SPLITS, "hub": ("test",)},
        hub="royokong/flickr30k_test",
        get="https://shannon.cs.illinois.edu/DenotationGraph: flickr30k-images/; "
        "https://cs.stanford.edu/people/karpathy/deepimagesent: dataset_flickr30k.json (dataset.json in flickr30k.zip) "
        "or nlphuji/flickr30k on the hub: flickr_annotations_30k.csv; all under flickr30k/",
        suites=(KOSMOS1, FEW_SHOT, SYNTHETIC, TRANSFER),
    )

    @property
    def split(self) -> str:
        """The split that is evaluated."""
        return self.source.chosen(self._splits(), task="flickr30k")

    @property
    def notes(self) -> Sequence[str]:
        """Whether images were left out."""
        return ["only the images that are there"] if self.partial else []

    def samples(self) -> Sequence[Sample]:
        """The images of the split."""
        return self._samples(self.split)

    def examples(self) -> Sequence[Sample]:
        """Training images, or those of the validation split; the evaluated ones where neither is there."""
        others = [split for split in ("train", "validation") if split in self._splits() and split != self.split]
        return self._samples(others[0] if others else self.split)

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        """One caption by beam search."""
        return captioning.asked(sample, shots, max_tokens=self.max_tokens, length_penalty=self.length_penalty)

    def score(self, sample: Sample, outputs: Sequence[Completion]) -> Score:
        """The caption itself; only the corpus has marks."""
        return captioning.marked(outputs[0].text.strip())

    def aggregate(self, samples: Sequence[Sample], scores: Sequence[Score], *, seed: int) -> Mapping[str, Metric]:
        """CIDEr, then the other metrics of the COCO evaluation; intervals by resampling images."""
        return captioning.metrics(self._scored(samples, scores), seed=seed) if samples else {}

    def sample_metrics(self, samples: Sequence[Sample], scores: Sequence[Score]) -> Mapping[str, Mapping[str, float]]:
        """Every metric of each image by itself."""
        return captioning.by_image(self._scored(samples, scores)) if samples else {}

    def _splits(self) -> Sequence[str]:
        return flickr30k.splits(self.source) if self.source.kind == "data" else self.info.splits[self.source.kind]

    def _samples(self, split: str) -> Samples:
        found = rows(self.source, split)
        if self.source.kind == "data":
            found = found.select(self._there(found["id"], split))
        return Samples(found, lambda row: captioning.sample_of(row, self.shown))

    def _there(self, names: Sequence[str], split: str) -> list[int]:
        """The places of the images that are there."""
        folder = flickr30k.images_of(self.source)
        there = [place for place, name in enumerate(names) if (folder / name).is_file()]
        missing = len(names) - len(there)
        if missing and not (self.partial and there):
            problem = f"{missing} of the {len(names)} images of {split} are not in {folder}; add them"
            part = ", or evaluate those that are there: --task-option flickr30k.partial=true"
            raise BadData(problem + (part if there else ""))
        return there

    def _scored(self, samples: Sequence[Sample], scores: Sequence[Score]) -> CaptionScores:
        split = rows(self.source, self.split)
        counted = dict(zip(split["id"], split["captions"], strict=True))
        return captioning.scored(samples, scores, counted=counted, spice=self.spice)


@lru_cache(maxsize=8)
def rows(source: Source, split: str) -> "Dataset":
    """The images of a split, a row each: ``id`` (the file's name), ``image``, ``captions``."""
    if source.kind == "data":
        return flickr30k.rows(source, split)
    if source.kind == "hub":
        found = from_hub(Flickr30k.info.hub, source=source, split=split, images=["image"])
        ids = [f"{split}/{place}" for place in range(len(found))]
        return found.rename_column("text", "captions").add_column("id", ids)
    from kosmos_tasks.synthetic import scene_text

    sizes = {"test": scene_text.TEST, "train": scene_text.TRAIN}
    # Other scenes than those of COCO captions, drawn from another seed.
    found = scene_text.captions("test" if split == "test" else "train", sizes[split], seed=30)
    return table(found, images=["image"])
