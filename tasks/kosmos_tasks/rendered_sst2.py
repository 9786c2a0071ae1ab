"""Rendered SST-2: the sentiment of a film review's sentence that is drawn as a picture (KOSMOS-1 section 4.3).

Prompt: the image, then ``Question: what is the sentiment of the opinion? Answer:``; the answers ``positive`` and
``negative`` are compared by likelihood. Other wordings (``prompt_variants``) are ours.

Source: https://github.com/openai/CLIP/blob/main/data/rendered-sst2.md (folders of images), or the sentence-level files
of SST-2 (sentence, tab, 0 or 1), whose sentences we draw black on white in 224 x 224 pixels; licence of neither stated.
Both have the same 1,821 test sentences. Hub: nateraw/rendered-sst2 (its card: train 6,920, validation 872, test 1,821;
image, and label with the classes negative and positive).

Our default where the paper is silent: the two answers compete as wholes, by the sum of their tokens' log-probabilities
(``rule="sum"``). Each is one word, so a longer one owes its length to the tokeniser alone. ``mean per token`` is what
the authors' code for another benchmark does, ``difference`` subtracts what the answers get after ``Answer:`` alone.

Extension: the paper is zero-shot here; demonstrations add the right answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from kosmos_eval.errors import BadData, BadImage
from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics.choice import Rule
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.registry import register
from kosmos_eval.request import Likelihoods, Request
from kosmos_eval.sample import Sample, Samples
from kosmos_eval.source import Source, from_hub, images_in, table
from kosmos_eval.task import Score, Task, TaskInfo
from kosmos_tasks.families.multiple_choice import asked, chosen
from kosmos_tasks.families.suites import KOSMOS1, SYNTHETIC
from kosmos_tasks.formats.answers import label_lines
from kosmos_tasks.formats.records import content

if TYPE_CHECKING:
    from datasets import Dataset

HEADER, UNLABELLED = "sentence\tlabel", b"index\tsentence"
"""What GLUE's copies begin with, those of training and development sentences and that of test sentences."""
LABELS = ("negative", "positive")
SENTENCES = {"test": "test.tsv", "valid": "dev.tsv", "train": "train*.tsv"}
"""Split to its sentence-level file; one that holds a part of the training sentences will do for demonstrations."""
SIDE = 224
FOLDERS = ("rendered-sst2/rendered-sst2", "rendered-sst2", "rendered_sst2", "sst2/sentence_level", "sst-2")


@register("rendered_sst2")
@dataclass(frozen=True)
class RenderedSST2(Task):
    """Sentiment of rendered sentences.

    Args:
        source: where the images come from.
        rule: how the likelihoods of the two answers are compared.
        prompt: which of ``prompt_variants`` asks for the sentiment.
    """

    source: Source = field(default_factory=Source)
    rule: Rule = "sum"
    prompt: Literal["paper", "short", "instruction"] = "paper"

    prompt_variants: ClassVar[Mapping[str, str]] = {
        "paper": "Question: what is the sentiment of the opinion? Answer:",
        "short": "Sentiment:",
        "instruction": "Read the opinion. Is its sentiment positive or negative? Answer:",
    }
    info: ClassVar[TaskInfo] = TaskInfo(
        metric="accuracy",
        splits={"synthetic": ("test", "train"), "data": tuple(SENTENCES), "hub": ("test", "validation", "train")},
        hub="nateraw/rendered-sst2",
        get="https://openaipublic.azureedge.net/clip/data/rendered-sst2.tgz: {test,valid,train}/{negative,positive}/ "
        "under rendered-sst2/; or {test,dev,train}.tsv (a sentence, a tab, 0 or 1) under sst2/sentence_level/",
        extension=True,
        suites=("default", KOSMOS1, SYNTHETIC),
    )

    @property
    def split(self) -> str:
        """The split that is evaluated."""
        return self.source.chosen(self._splits(), task="rendered_sst2", folders=FOLDERS)

    @property
    def notes(self) -> Sequence[str]:
        """The rule that chooses the answer."""
        return [f"by {self.rule} of log-probabilities"]

    def samples(self) -> Sequence[Sample]:
        """The sentences of the split."""
        return Samples(rows(self.source, self.split), self._sample)

    def examples(self) -> Sequence[Sample]:
        """Training sentences; the evaluated ones where there are none."""
        return Samples(rows(self.source, "train" if "train" in self._splits() else self.split), self._sample)

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        """Both answers; for ``difference`` also what they get without the prompt."""
        return asked(few_shot(sample, shots), LABELS, rule=self.rule)

    def score(self, sample: Sample, outputs: Sequence[Likelihoods]) -> Score:
        """Whether the right answer is the likelier one; a tie is half right."""
        answer, mark = chosen(LABELS, outputs, target=LABELS.index(sample.target), rule=self.rule)
        return Score({"accuracy": mark}, answer)

    def read_answers(self, file: Path) -> Mapping[str, str]:
        """Sample id to answer, from ``positive`` or ``negative`` a line, in the order of the split."""
        return label_lines(file, self.samples())

    def score_answer(self, sample: Sample, answer: str) -> Score:
        """Mark one answer."""
        return Score({"accuracy": float(answer == sample.target)}, answer)

    def _sample(self, row: Mapping[str, Any]) -> Sample:
        prompt = Prompt(Image.of(row["image"]), self.prompt_variants[self.prompt])
        return Sample(row["id"], prompt, target=LABELS[row["label"]], choices=LABELS, group=row["id"])

    def _splits(self) -> Sequence[str]:
        known = self.info.splits[self.source.kind]
        if self.source.kind != "data":
            return known
        folder = self.source.folder(*FOLDERS)
        return [split for split in known if (folder / split).is_dir() or _labelled(folder, split)]


@lru_cache(maxsize=8)
def rows(source: Source, split: str) -> "Dataset":
    """The sentences of a split: ``id``, ``image``, ``label`` (1 is positive)."""
    if source.kind == "data":
        folder = source.folder(*FOLDERS)
        if (folder / split).is_dir():
            return table(_pictures(folder / split), images=["image"])
        return table(_sentences(folder, split)).with_transform(_drawn)
    if source.kind == "hub":
        found = from_hub(RenderedSST2.info.hub, source=source, split=split, images=["image"])
        return found.add_column("id", [f"{split}/{place}" for place in range(len(found))])
    from kosmos_tasks.synthetic import opinions

    sizes = {"test": opinions.TEST, "train": opinions.TRAIN}
    return table(opinions.rows("test" if split == "test" else "train", sizes[split]), images=["image"])


def _pictures(folder: Path) -> Iterator[dict[str, Any]]:
    for label, name in enumerate(LABELS):
        files = images_in(folder / name)
        if not files:
            raise BadData(f"{folder / name} has no png images; expected those of the official archive")
        for file in files:
            yield {"id": f"{folder.name}/{name}/{file.stem}", "image": str(file), "label": label}


def _labelled(folder: Path, split: str) -> Path | None:
    """The file of a split's sentences with their labels, if it is there; GLUE's test file has none."""
    files = sorted(folder.glob(SENTENCES[split]), key=lambda found: len(found.name))
    return next((file for file in files if UNLABELLED not in _beginning(file)), None)


def _beginning(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(24)


def _sentences(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    file = _labelled(folder, split)
    for number, line in enumerate(content(file).rstrip("\n").split("\n") if file else (), start=1):
        if number == 1 and line == HEADER:
            continue
        text, _, label = line.rpartition("\t")
        if not text.strip() or label.strip() not in ("0", "1"):
            raise BadData(f"line {number} of {file} is {line[:60]!r}; expected a sentence, a tab and 0 or 1")
        yield {"id": f"{split}/{number}", "text": text.strip(), "label": int(label)}


def _drawn(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The rows with their sentences drawn, as cells of PNG bytes."""
    return {**batch, "image": [{"bytes": _png(text), "path": None} for text in batch["text"]]}


@lru_cache(maxsize=4096)
def _png(text: str) -> bytes:
    """A drawn sentence; kept, because every number of shots looks at the whole split again."""
    from kosmos_tasks.synthetic.opinions import render

    try:
        return Image.drawn(render(text, size=SIDE)).encoded()
    except ValueError as error:
        raise BadImage(f"a sentence cannot be drawn: {error}") from error
