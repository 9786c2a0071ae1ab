"""ImageNet: name what a photograph shows, freely and among 1,000 names (KOSMOS-1 section 4.6).

Prompt: the image, then ``The photo of the``; beam search of width 2. The answer is right if it is the class's name,
exactly. It is asked for twice: free, and constrained to the names of all classes. Other wordings (``prompt_variants``)
are ours.

Source: https://image-net.org (ILSVRC 2012, validation 50,000 images), for non-commercial research. Hub:
ILSVRC/imagenet-1k (its validation split has image and label, in the order of the sorted wnids; accept its terms first).

Our defaults where the paper is silent: the names are CLIP's, carried in ``data/`` (MIT). Two names belong to two
classes each, "missile" and "sunglasses"; who says one of these is half right, so that chance is 1/1,000 for every
class. All 1,000 names compete, whatever classes the images at hand are of. The end of the text belongs to a name, or
"pig" would always win over "piggy bank". ``constrained_by="likelihood"`` compares the likelihoods of all names in place
of the beam search, which can lose the best one on its way; ``"best"`` gives the same answer, but asks only for the
likeliest name, which a model may find without scoring the others.

Extension: the paper is zero-shot here; demonstrations add the name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics.match import exact
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.registry import register
from kosmos_eval.request import Completion, Generate, Likelihoods, LogLikelihood, Output, Request
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row, Source
from kosmos_eval.task import Score
from kosmos_tasks.families.multiple_choice import RULES, chosen
from kosmos_tasks.families.splits import Hub, Splits, SplitTask
from kosmos_tasks.families.suites import KOSMOS1, SYNTHETIC
from kosmos_tasks.formats import imagenet
from kosmos_tasks.formats.answers import label_lines
from kosmos_tasks.synthetic import digits

SPLITS = Splits(
    "imagenet",
    get="https://image-net.org: val/WNID/*.JPEG (and train/ for demonstrations), or ILSVRC2012_val_*.JPEG with a "
    f"ground truth ({', '.join(imagenet.TRUTHS)} and meta.mat), all under imagenet/",
    synthetic=digits.rows,
    files=imagenet.FILES,
    hub=Hub("ILSVRC/imagenet-1k", ("validation",)),
)


@register("imagenet")
@dataclass(frozen=True)
class ImageNet(SplitTask):
    """Names of what photographs show.

    Args:
        source: where the images come from; the synthetic split is of handwritten digits.
        constrained_by: ``beam`` searches the trie of names (the paper), ``likelihood`` compares all of them, ``best``
            asks for the likeliest alone.
        rule: how likelihoods are compared.
        max_tokens: the most tokens of an answer.
        prompt: which of ``prompt_variants`` asks for the name.
    """

    source: Source = field(default_factory=Source)
    constrained_by: Literal["beam", "likelihood", "best"] = "beam"
    rule: Literal["sum", "mean per token", "mean per character"] = "sum"
    max_tokens: int = 32
    prompt: Literal["paper", "short", "instruction"] = "paper"

    prompt_variants: ClassVar[Mapping[str, str]] = {
        "paper": "The photo of the",
        "short": "A photo of a",
        "instruction": "Question: what does the photo show? Answer:",
    }
    splits: ClassVar[Splits] = SPLITS
    info = SPLITS.info("accuracy_constrained", suites=("default", KOSMOS1, SYNTHETIC), extension=True)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every class, in the order of the labels."""
        return digits.NAMES if self.source.kind == "synthetic" else imagenet.names()

    @property
    def notes(self) -> Sequence[str]:
        if self.constrained_by == "beam":
            return ["constrained beam search over the class names"]
        return [f"class names {RULES[self.rule]}"]

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        prompt = few_shot(sample, shots)
        words = tuple(f" {name}" for name in sample.choices)
        constrained: Request = Generate(prompt, self.max_tokens, beams=2, choices=tuple(dict.fromkeys(words)))
        if self.constrained_by != "beam":
            best = 1 if self.constrained_by == "best" else None
            constrained = LogLikelihood(prompt, words, terminated=True, best=best, by=self.rule)
        return [constrained, Generate(prompt, self.max_tokens, stop=("\n",), beams=2)]

    def score(self, sample: Sample, outputs: Sequence[Output]) -> Score:
        constrained, free = outputs
        assert isinstance(free, Completion)
        if isinstance(constrained, Likelihoods):
            answer, value = chosen(sample.choices, [constrained], target=sample.extra["label"], rule=self.rule)
        else:
            answer, value = constrained.text.strip(), _share(sample, constrained.text)
        values = {"accuracy_constrained": value, "accuracy_unconstrained": _share(sample, free.text)}
        return Score(values, answer, {"unconstrained": free.text.strip()})

    def read_answers(self, file: Path) -> Mapping[str, str]:
        """Read a name a line, in the order of the split."""
        return label_lines(file, self.samples(), closed=False)

    def score_answer(self, sample: Sample, answer: str) -> Score:
        """Score an answer as a free one, because how it was made is not known."""
        return Score({"accuracy_unconstrained": _share(sample, answer)}, answer)

    def sample(self, row: Row) -> Sample:
        prompt = Prompt(Image.of(row["image"]), self.prompt_variants[self.prompt])
        label, names = row["label"], self.names
        return Sample(row["id"], prompt, target=names[label], choices=names, group=row["id"], extra={"label": label})


def _share(sample: Sample, text: str) -> float:
    """Return full credit for the exact name, shared where several classes bear it."""
    return exact(text, sample.target) / sample.choices.count(sample.target)
