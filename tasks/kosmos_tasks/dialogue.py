"""Dialogue: turns of text and images, each asked after the model's own answers before it (KOSMOS-1 figures 2 to 4).

Prompt: each turn on a line of its own, ``Question: ... Answer:`` with its images before it, after the turns before with
what the model answered to them. Greedy, up to a line break.

Source: a sheet of one's own, ``dialogues.json``, with its images beside it::

    [{"id": "cat", "turns": [{"say": "@cat.jpg What is it?", "expect": ["cat", "kitten"]}, {"say": "Where is it?"}]}]

or scenes that we draw, with questions about them. The paper shows a few dialogues and measures none; this task is ours.
Its metric is the share of turns that are answered at all; turns that say what they ``expect`` are also scored by
whether one of these words or phrases occurs in the answer (``expected``). It is for reading: ``kosmos-eval beside``
puts the answers of several models next to each other.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from kosmos_eval import dialogue
from kosmos_eval.dialogue import Form, Turn
from kosmos_eval.errors import BadData, KosmosEvalError
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.registry import register
from kosmos_eval.request import Completion, Request
from kosmos_eval.sample import Sample, Samples
from kosmos_eval.source import Row, Source, read_json
from kosmos_eval.task import Score, Task, TaskInfo
from kosmos_tasks.families.splits import Splits
from kosmos_tasks.families.suites import SYNTHETIC
from kosmos_tasks.synthetic import dialogues

SHEET = "dialogues.json"
TURNS = 3
"""Turns of a generated dialogue."""
GET = f"a sheet of your own: {SHEET} with its images beside it, as the task's docstring shows"
GENERATED = Splits(
    "dialogue",
    get=GET,
    synthetic=lambda split: dialogues.dialogues(split, turns=TURNS),
    sizes={"test": 100},
)


@register("dialogue")
@dataclass(frozen=True)
class Dialogue(Task):
    """Scripted dialogues.

    Args:
        source: where the sheet is.
        form: ``question`` writes turns as the paper does, ``plain`` leaves them as they are.
        max_tokens: the longest answer.
    """

    source: Source = field(default_factory=Source)
    form: Form = "question"
    max_tokens: int = 64

    info: ClassVar[TaskInfo] = TaskInfo(
        metric="answered",
        splits={"synthetic": ("test",), "data": ("test",)},
        get=GET,
        extension=True,
        suites=(SYNTHETIC,),
    )

    def __post_init__(self) -> None:
        if self.form not in ("question", "plain"):
            raise KosmosEvalError(f"dialogue: the form {self.form!r} is not known; expected question or plain")

    def samples(self) -> Sequence[Sample]:
        """Return the dialogues; their prompts hold all turns, ``extra`` has them one by one."""
        if self.source.kind == "data":
            return _read(self.source.folder())
        return Samples(GENERATED.rows(self.source, "test"), _generated)

    def examples(self) -> Sequence[Sample]:
        """Return none: what a model has said in one dialogue does not demonstrate another."""
        return ()

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        return self.follow_up(sample, shots, ())

    def follow_up(self, sample: Sample, shots: Sequence[Sample], outputs: Sequence[Completion]) -> Sequence[Request]:
        said: Sequence[Prompt] = sample.extra["said"]
        if len(outputs) == len(said):
            return ()
        before = [Turn(turn, output.text.strip()) for turn, output in zip(said, outputs, strict=False)]
        return [dialogue.asked(before, said[len(outputs)], form=self.form, max_tokens=self.max_tokens)]

    def score(self, sample: Sample, outputs: Sequence[Completion]) -> Score:
        """Return the share of turns that are answered, and of those with expectations the share that meets them."""
        answers = [output.text.strip() for output in outputs]
        pairs = zip(answers, sample.extra["expected"], strict=True)
        right = [any(_occurs(phrase, answer) for phrase in phrases) for answer, phrases in pairs if phrases]
        values = {"answered": sum(map(bool, answers)) / len(answers)}
        if right:
            values["expected"] = sum(right) / len(right)
        return Score(values, "\n".join(answers))


def _occurs(phrase: str, answer: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", answer, re.IGNORECASE) is not None


def _sample(id: str, said: Sequence[Prompt], expected: Sequence[Sequence[str]]) -> Sample:
    known = "\n".join(" or ".join(phrases) or "–" for phrases in expected)
    extra = {"said": tuple(said), "expected": tuple(map(tuple, expected))}
    return Sample(id, Prompt.join(said, separator="\n"), target=known, group=id, extra=extra)


def _read(folder: Path) -> list[Sample]:
    """Return the dialogues of a sheet.

    Raises:
        BadData: naming the dialogue that is not as expected.
    """
    path = folder / SHEET
    listed = read_json(path)
    if not isinstance(listed, list) or not listed:
        raise BadData(f"{path} is no list of dialogues; expected [{{'id': ..., 'turns': [{{'say': ...}}]}}]")
    samples = [_checked(entry, place, path) for place, entry in enumerate(listed, 1)]
    if len({sample.id for sample in samples}) < len(samples):
        raise BadData(f"{path} has an id twice; give each dialogue its own")
    return samples


def _checked(entry: object, place: int, path: Path) -> Sample:
    wanted = f"{path}: dialogue {place} is not {{'id': ..., 'turns': [{{'say': TEXT, 'expect': [TEXT]}}]}}"
    if not isinstance(entry, Mapping) or not isinstance(entry.get("turns"), list) or not entry["turns"]:
        raise BadData(wanted)
    for turn in entry["turns"]:
        expect = turn.get("expect", []) if isinstance(turn, Mapping) else None
        if not isinstance(expect, list) or not all(isinstance(text, str) for text in (turn.get("say"), *expect)):
            raise BadData(wanted)
    try:
        said = [dialogue.spoken(turn["say"], path.parent) for turn in entry["turns"]]
    except KosmosEvalError as error:
        raise BadData(f"{path}: dialogue {place}: {error}") from error
    return _sample(str(entry.get("id", place)), said, [turn.get("expect", []) for turn in entry["turns"]])


def _generated(row: Row) -> Sample:
    first, *others = row["questions"]
    said = [Prompt(Image.of(row["image"]), first), *map(Prompt, others)]
    return _sample(row["id"], said, [[answer] for answer in row["answers"]])
