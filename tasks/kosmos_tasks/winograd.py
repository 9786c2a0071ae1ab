"""Winograd schemas: which of two things a pronoun means (KOSMOS-1 section 4.8).

Asked by partial scoring (Trinh & Le), as in lm-evaluation-harness 0.4.13 (task wsc273, ``acc``) and in GPT-3: the text
after the pronoun continues the text before it with each option in the pronoun's place, and the option counts after
which it is the likelier. An option in place of a possessive gets ``'s``; inside a sentence its article is not
capitalised. Text after a pronoun keeps its space, which makes two in all, as there; with ``prompt="gpt3"`` (GPT-3's
figure G.13) it is one. The paper does not give its reading, nor how many schemas: the usual 273 are the default, all
285 of the collection are the split ``all``.

Source: https://cs.nyu.edu/~davise/papers/WinogradSchemas/WSCollection.xml, CC BY 4.0. Hub: lighteval/winograd_wsc, as
lm-evaluation-harness has it (configuration wsc273). There is no training split: demonstrations are
drawn leave-one-out, never from schemas about the same two things, of which a twin would give the answer away.
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row
from kosmos_tasks.families.splits import Hub, Splits
from kosmos_tasks.families.text_ranking import Reading, ranking
from kosmos_tasks.formats.files import text_files
from kosmos_tasks.synthetic import everyday

CAPITALISED = ("A", "An", "The", "She", "He", "It", "They", "My", "His", "Her", "Their")
POSSESSIVE = ("my", "his", "her", "our", "their")
WORDING = "{before}{option}"
READINGS = {"lm-eval": Reading(WORDING, gap=" ", rule=None), "gpt3": Reading(WORDING, rule=None)}


def read(file: Path) -> Iterator[Row]:
    """Yield all schemas of the official collection, white space made single."""
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


def sample_of(row: Row, reading: Reading) -> Sample:
    """Return a schema; as a demonstration it shows the right option in place of its pronoun."""
    text, at, label = row["text"].replace("  ", " "), row["pronoun_loc"], row["label"]
    options = tuple(_fitted(option, row["pronoun"], start=text[at - 2] == ".") for option in row["options"])
    contexts = tuple(reading.wording.format(before=text[:at], option=option) for option in options)
    ending = text[at + len(row["pronoun"]) :]
    return Sample(
        row["id"],
        Prompt(contexts[label]),
        target=ending if reading.gap else ending.strip(),
        choices=options,
        group=" / ".join(sorted(option.lower() for option in options)),
        extra={"contexts": contexts, "label": label},
    )


def _fitted(option: str, pronoun: str, *, start: bool) -> str:
    """Return an option in the pronoun's place; ``start`` where a sentence begins there."""
    option += "'s" if pronoun.lower() in POSSESSIVE else ""
    first = option.split()[0]
    return option.replace(first, first.lower()) if not start and first in CAPITALISED else option


ROWS = Splits(
    "winograd",
    get="https://cs.nyu.edu/~davise/papers/WinogradSchemas/WSCollection.xml, under winograd/",
    synthetic=everyday.winograd,
    files=text_files(
        ("winograd", "wsc273"), dict.fromkeys(("test", "all"), ("WSCollection.xml",)), read, first={"test": 273}
    ),
    hub=Hub("lighteval/winograd_wsc", ("test",), config="wsc273"),
)
Winograd = ranking(ROWS, "Which of two things a pronoun means.", sample=sample_of, readings=READINGS)
