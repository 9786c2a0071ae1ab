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
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from kosmos_eval.metrics.caption import CaptionScores
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.registry import register
from kosmos_eval.request import Completion, Request
from kosmos_eval.sample import Sample, Samples
from kosmos_eval.source import Source, from_hub, table
from kosmos_eval.task import Score, Task, TaskInfo
from kosmos_tasks.families import captioning
from kosmos_tasks.families.suites import FEW_SHOT, KOSMOS1, SYNTHETIC, TRANSFER
from kosmos_tasks.formats import coco
from kosmos_tasks.formats.answers import results_json

if TYPE_CHECKING:
    from datasets import Dataset


@register("coco_caption")
@dataclass(frozen=True)
class CocoCaption(Task):
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

    prompt_variants: ClassVar[Mapping[str, str]] = {
        "paper": captioning.PROMPT,
        "short": "Caption:",
        "instruction": "Describe the image in one sentence:",
    }
    info: ClassVar[TaskInfo] = TaskInfo(
        metric="CIDEr",
        splits={"synthetic": ("test", "train"), "data": coco.SPLITS, "hub": ("val",)},
        hub="lmms-lab/COCO-Caption2017",
        get="https://cocodataset.org/#download: annotations/captions_{train,val}{2014,2017}.json and the folders of "
        "images; https://cs.stanford.edu/people/karpathy/deepimagesent: dataset_coco.json (dataset.json in coco.zip); "
        "all under coco/",
        suites=("default", KOSMOS1, FEW_SHOT, SYNTHETIC, TRANSFER),
    )

    @property
    def split(self) -> str:
        """The split that is evaluated."""
        return self.source.chosen(self._splits(), task="coco_caption", folders=coco.FOLDERS)

    @property
    def notes(self) -> Sequence[str]:
        """Where CIDEr counts documents."""
        return [f"CIDEr's document frequencies: {self.document_frequencies}"]

    def samples(self) -> Sequence[Sample]:
        """The images of the split."""
        return Samples(rows(self.source, self.split), self._sample)

    def examples(self) -> Sequence[Sample]:
        """The matching training images; the evaluated ones where there are none."""
        if self.source.kind == "data":
            return Samples(rows(self.source, coco.shown(self.source, self.split)), self._sample)
        pool = "train" if self.split == "test" and "train" in self._splits() else self.split
        return Samples(rows(self.source, pool), self._sample)

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        """One caption by beam search."""
        return captioning.asked(sample, shots, max_tokens=self.max_tokens, length_penalty=self.length_penalty)

    def score(self, sample: Sample, outputs: Sequence[Completion]) -> Score:
        """The caption itself; only the corpus has marks."""
        return self.score_answer(sample, outputs[0].text.strip())

    def score_answer(self, sample: Sample, answer: str) -> Score:
        """The caption itself; only the corpus has marks."""
        return captioning.marked(answer)

    def aggregate(self, samples: Sequence[Sample], scores: Sequence[Score], *, seed: int) -> Mapping[str, Metric]:
        """CIDEr, then the other metrics of the COCO evaluation; intervals by resampling images."""
        return captioning.metrics(self._scored(samples, scores), seed=seed) if samples else {}

    def sample_metrics(self, samples: Sequence[Sample], scores: Sequence[Score]) -> Mapping[str, Mapping[str, float]]:
        """Every metric of each image by itself."""
        return captioning.by_image(self._scored(samples, scores)) if samples else {}

    def read_answers(self, file: Path) -> Mapping[str, str]:
        """Image id to caption, from COCO results json: ``[{"image_id", "caption"}]``."""
        return results_json(file, ("image_id", "caption"), set(rows(self.source, self.split)["id"]), split=self.split)

    def official(self) -> Self:
        """The rule of the official tool: CIDEr's document frequencies from the answered images."""
        return replace(self, document_frequencies="answered")

    def _splits(self) -> Sequence[str]:
        return coco.splits(self.source) if self.source.kind == "data" else self.info.splits[self.source.kind]

    def _sample(self, row: Mapping[str, Any]) -> Sample:
        return captioning.sample_of(row, self.shown, self.prompt_variants[self.prompt])

    def _scored(self, samples: Sequence[Sample], scores: Sequence[Score]) -> CaptionScores:
        split = rows(self.source, self.split) if self.document_frequencies == "split" else {"id": [], "captions": []}
        counted = dict(zip(split["id"], split["captions"], strict=True))
        return captioning.scored(samples, scores, counted=counted, spice=self.spice)


@lru_cache(maxsize=8)
def rows(source: Source, split: str) -> "Dataset":
    """The images of a split, a row each: ``id`` (the official image id), ``image``, ``captions``."""
    if source.kind == "data":
        return coco.rows(source, split)
    if source.kind == "hub":
        found = from_hub(CocoCaption.info.hub, source=source, split=split, images=["image"])
        ids = [str(int(Path(name).stem.split("_")[-1])) for name in found["question_id"]]
        return found.select_columns(["image", "answer"]).rename_column("answer", "captions").add_column("id", ids)
    from kosmos_tasks.synthetic import scene_text

    sizes = {"test": scene_text.TEST, "train": scene_text.TRAIN}
    return table(scene_text.captions("test" if split == "test" else "train", sizes[split]), images=["image"])
