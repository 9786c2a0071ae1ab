"""Winograd schemas: which of two things a pronoun means (KOSMOS-1 section 4.8).

Asked by partial evaluation, as in lm-evaluation-harness 0.4.13 (task wsc273, ``acc``) and in GPT-3: the text after the
pronoun continues the text before it with each option in the pronoun's place, and the option counts after which it is
the likelier. An option in place of a possessive gets ``'s``; inside a sentence its article is not capitalised. Text
after a pronoun keeps its space, which makes two in all, as there. The paper does not give its reading, nor how many
schemas: the usual 273 are the default, the collection has 285.

Source: https://cs.nyu.edu/~davise/papers/WinogradSchemas/WSCollection.xml, CC BY 4.0. Hub: lighteval/winograd_wsc, as
lm-evaluation-harness has it (configuration wsc273). There is no training split: demonstrations are
drawn leave-one-out, never from schemas about the same two things, of which a twin would give the answer away.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal
from xml.etree import ElementTree

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_eval.registry import register
from kosmos_eval.request import Likelihoods, Request
from kosmos_eval.sample import Sample
from kosmos_eval.source import Source
from kosmos_eval.task import About, Score
from kosmos_tasks.choices import asked_in_context, ranked_in_context
from kosmos_tasks.mini import everyday
from kosmos_tasks.text_rows import Row, TextRows

CAPITALISED = ("A", "An", "The", "She", "He", "It", "They", "My", "His", "Her", "Their")
POSSESSIVE = ("my", "his", "her", "our", "their")


def read(file: Path) -> Iterator[Row]:
    """All schemas of the official collection, white space made single."""
    try:
        schemas = ElementTree.parse(file).getroot().findall("schema")
    except ElementTree.ParseError as error:
        raise BadData(f"{file} is not complete XML ({error}); get the file again") from error
    for number, schema in enumerate(schemas, start=1):
        parts = {name: _single(schema.findtext(f"text/{name}")) for name in ("txt1", "pron", "txt2")}
        options = [_single(answer.text) for answer in schema.findall("answers/answer")]
        right = _single(schema.findtext("correctAnswer")).rstrip(".")
        if not parts["pron"] or len(options) != 2 or not all(options) or right not in ("A", "B"):
            raise BadData(f"schema {number} of {file} has no pronoun, two answers, and A or B as the correct one")
        yield {
            "text": " ".join(parts.values()).strip(),
            "pronoun": parts["pron"],
            "pronoun_loc": len(parts["txt1"]) + 1 if parts["txt1"] else 0,
            "options": options,
            "label": "AB".index(right),
        }


def _single(found: str | None) -> str:
    return " ".join((found or "").split())


def sample_of(row: Row) -> Sample:
    """A schema; as a demonstration it shows the right option in place of its pronoun."""
    text, at, label = row["text"].replace("  ", " "), row["pronoun_loc"], row["label"]
    options = tuple(_fitted(option, row["pronoun"], start=text[at - 2] == ".") for option in row["options"])
    contexts = tuple(text[:at] + option for option in options)
    return Sample(
        row["id"],
        Prompt(contexts[label]),
        target=text[at + len(row["pronoun"]) :],
        choices=options,
        group=" / ".join(sorted(option.lower() for option in options)),
        extra={"contexts": contexts, "label": label},
    )


ROWS = TextRows(
    task="winograd",
    get="https://cs.nyu.edu/~davise/papers/WinogradSchemas/WSCollection.xml, under winograd/",
    folders=("winograd",),
    files={"test": ("WSCollection.xml",)},
    read=read,
    sample=sample_of,
    mini=everyday.winograd,
    hub=("lighteval/winograd_wsc", "wsc273"),
    hub_splits=("test",),
)


@register("winograd")
@dataclass(frozen=True)
class Winograd:
    """Which of two things a pronoun means.

    Args:
        source: where the schemas come from.
        schemas: how many of the collection, from its first on.
    """

    source: Source = field(default_factory=Source)
    schemas: Literal[273, 285] = 273

    about: ClassVar[About] = ROWS.about("acc")

    @property
    def split(self) -> str:
        """The split that is evaluated."""
        return ROWS.split(self.source)

    def samples(self) -> Sequence[Sample]:
        """The schemas of the split."""
        return ROWS.samples(self.source)[: self.schemas]

    def examples(self) -> Sequence[Sample]:
        """The schemas themselves; the mini split has others."""
        return ROWS.examples(self.source)[: self.schemas]

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        """The end of the sentence after each option."""
        return asked_in_context(sample, shots)

    def score(self, sample: Sample, outputs: Sequence[Likelihoods]) -> Score:
        """Whether the end is likelier after the right option."""
        return ranked_in_context(sample, outputs)


def _fitted(option: str, pronoun: str, *, start: bool) -> str:
    """An option in the pronoun's place; ``start`` where a sentence begins there."""
    option += "'s" if pronoun.lower() in POSSESSIVE else ""
    first = option.split()[0]
    return option.replace(first, first.lower()) if not start and first in CAPITALISED else option
