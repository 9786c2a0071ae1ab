"""Hateful Memes: is a picture with its text hate speech (KOSMOS-1 section 4.3).

Prompt: the image, then ``Question: does this picture contain real hate speech? Answer:``; ``yes`` and ``no`` are
compared by likelihood. No text of the picture is given.

Source: https://hatefulmemeschallenge.com (a form has to be accepted): ``img/`` and ``train.jsonl``, ``dev_seen.jsonl``,
``test_seen.jsonl`` and their like, or ``dev.jsonl`` of the first release, also 500 memes, and its ``test.jsonl``. The
paper's split is the validation set; a test file without labels cannot be marked. The hub's copies, such as
neuralcatcher/hateful_memes, load without their images: use --data.

Our defaults where the paper is silent: memes are ranked by log p(yes) - log p(no) for the area under the ROC curve.
Each answer is one word, so their sums compare. ``accuracy``, of the likelier answer, is reported beside it. Extension:
the paper is zero-shot here; demonstrations add the right answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kosmos_eval.errors import BadData
from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics import roc
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.registry import register
from kosmos_eval.request import Likelihoods, Request
from kosmos_eval.sample import Sample, Samples
from kosmos_eval.source import Source, existing, table
from kosmos_eval.task import Score, Task, TaskInfo, means
from kosmos_tasks.families.multiple_choice import asked, chosen
from kosmos_tasks.families.suites import KOSMOS1, SYNTHETIC
from kosmos_tasks.formats.paths import images_of
from kosmos_tasks.formats.records import Columns, columns, distinct, identity, json_lines, one_of, some, text

if TYPE_CHECKING:
    from datasets import Dataset

ANSWERS = ("no", "yes")
"""In the order of the labels."""
FILES = ("dev_seen", "dev", "dev_unseen", "test_seen", "test_unseen", "test", "train")
"""Splits, the default first; the test files of the first release have no labels."""
FOLDERS = ("hateful_memes/data", "hateful_memes", "hateful-memes/data", "hateful-memes", "hatefulmemes")


@register("hateful_memes")
@dataclass(frozen=True)
class HatefulMemes(Task):
    """Is a picture with its text hate speech.

    Args:
        source: where the memes come from.
    """

    source: Source = field(default_factory=Source)

    info: ClassVar[TaskInfo] = TaskInfo(
        metric="roc_auc",
        splits={"synthetic": ("test", "train"), "data": FILES},
        get="https://hatefulmemeschallenge.com: img/, dev_seen.jsonl and train.jsonl, under hateful_memes/",
        extension=True,
        suites=(KOSMOS1, SYNTHETIC),
    )

    @property
    def split(self) -> str:
        """The split that is evaluated."""
        return self.source.chosen(self._splits(), task="hateful_memes", folders=FOLDERS)

    @property
    def notes(self) -> Sequence[str]:
        """What memes are ranked by."""
        return ["ranked by log p(yes) - log p(no)"]

    def samples(self) -> Sequence[Sample]:
        """The memes of the split."""
        return Samples(rows(self.source, self.split), _sample)

    def examples(self) -> Sequence[Sample]:
        """Training memes; the evaluated ones where there are none."""
        return Samples(rows(self.source, "train" if "train" in self._splits() else self.split), _sample)

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        """Both answers."""
        return asked(few_shot(sample, shots), ANSWERS)

    def score(self, sample: Sample, outputs: Sequence[Likelihoods]) -> Score:
        """Whether the right answer is the likelier one, and by how much yes is."""
        answer, mark = chosen(ANSWERS, outputs, target=ANSWERS.index(sample.target))
        no, yes = outputs[0].logprobs
        return Score({"accuracy": mark}, answer, {"yes": yes - no})

    def aggregate(self, samples: Sequence[Sample], scores: Sequence[Score], *, seed: int) -> Mapping[str, Metric]:
        """The area under the ROC curve, then the accuracy."""
        if not samples:
            return {}
        ranks: dict[str, list[float]] = {answer: [] for answer in ANSWERS}
        for sample, score in zip(samples, scores, strict=True):
            ranks[sample.target].append(score.record["yes"])
        return {"roc_auc": roc.auc(ranks["yes"], ranks["no"], seed=seed), **means(samples, scores, seed=seed)}

    def _splits(self) -> Sequence[str]:
        if self.source.kind != "data":
            return self.info.splits.get(self.source.kind, ())
        folder = self.source.folder(*FOLDERS)
        return [split for split in FILES if (folder / f"{split}.jsonl").is_file()]


def _sample(row: Mapping[str, Any]) -> Sample:
    prompt = Prompt(Image.of(row["image"]), "Question: does this picture contain real hate speech? Answer:")
    return Sample(row["id"], prompt, target=ANSWERS[row["label"]], choices=ANSWERS, group=row["id"])


@lru_cache(maxsize=8)
def rows(source: Source, split: str) -> "Dataset":
    """The memes of a split: ``id``, ``image``, ``label`` (1 is hateful)."""
    if source.kind == "data":
        return table(_official(source.folder(*FOLDERS), split), images=["image"])
    from kosmos_tasks.synthetic import memes

    count = {"test": memes.TEST, "train": memes.TRAIN}[split]
    return table(memes.rows("test" if split == "test" else "train", count), images=["image"])


def _official(folder: Path, split: str) -> list[dict[str, Any]]:
    file = folder / f"{split}.jsonl"
    wanted: Columns = {"id": identity, "img": text, "label": one_of(0, 1)}
    read = list(json_lines(file))
    if split.startswith("test") and not any(isinstance(row, dict) and "label" in row for _, row in read):
        problem = f"{file} has no labels, as in the releases that keep them secret"
        raise BadData(f"{problem}; get the file with them, or evaluate another split, such as --split {FILES[0]}")
    rows = (columns(row, wanted, place=place) for place, row in read)
    found = some(distinct(rows, "id", named_by=file), named_by=file)
    images = images_of(folder / "img")
    names = [Path(row["img"]).name for row in found]
    existing(images, names, named_by=file)
    pairs = zip(names, found, strict=True)
    return [{"id": row["id"], "image": str(images / name), "label": row["label"]} for name, row in pairs]
