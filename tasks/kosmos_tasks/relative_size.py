"""RelativeSize: is one thing larger than another, asked in both orders (KOSMOS-1 section 4.9.2).

Prompt: ``Is {Item1} larger than {Item2}?``, text only; ``Yes`` and ``No`` are compared by likelihood. Every pair of the
official file has the larger thing first, so that asked as it stands, as in the paper, whoever always says yes is
always right. The headline asks both orders; the paper's number is the row ``accuracy[larger first]``.

Source: https://github.com/Victorwz/VaLM/blob/main/data/object_size/sizePairsFull.txt, licence not stated; 486 pairs of
41 things. Not on the hub.

Our default where the paper is silent: each answer is one word, so the sums of log-probabilities compare
(``rule="sum"``). Extension: the paper is zero-shot here; demonstrations are other pairs, drawn leave-one-out.
"""

from collections.abc import Iterator
from pathlib import Path

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row
from kosmos_tasks.families.splits import Splits
from kosmos_tasks.families.text_ranking import Reading, commonsense
from kosmos_tasks.formats.files import text_files
from kosmos_tasks.formats.records import lines
from kosmos_tasks.synthetic import appearance

ANSWERS = ("Yes", "No")
ORDERS = ("larger first", "smaller first")
READINGS = {
    "paper": Reading(
        "Is {first} larger than {second}?", ANSWERS, separator="\n", notes=(f"the paper asks {ORDERS[0]} only",)
    )
}


def read(file: Path) -> Iterator[Row]:
    """Yield each pair of the official file, in both orders."""
    for place, line in lines(file):
        pair = line.split()
        if len(pair) != 2:
            raise BadData(f"{place} is {line[:60]!r}; expected two things, the larger first, with a space between")
        yield from both({"larger": pair[0], "smaller": pair[1]})


def both(pair: Row) -> Iterator[Row]:
    """Yield the two orders in which a pair is asked about."""
    yield {"first": pair["larger"], "second": pair["smaller"], "order": 0}
    yield {"first": pair["smaller"], "second": pair["larger"], "order": 1}


def sample_of(row: Row, reading: Reading) -> Sample:
    """Return a question about a pair."""
    prompt = Prompt(reading.wording.format(**row))
    group = " / ".join(sorted((row["first"], row["second"])))
    order = row["order"]
    return Sample(row["id"], prompt, target=ANSWERS[order], choices=ANSWERS, group=group, kind=ORDERS[order])


ROWS = Splits(
    "relative_size",
    get="https://github.com/Victorwz/VaLM/tree/main/data/object_size: sizePairsFull.txt, under relative_size/",
    synthetic=lambda split: (row for pair in appearance.sizes(split) for row in both(pair)),
    files=text_files(
        ("visual_commonsense/relative_size", "relative_size", "object_size"), {"test": ("sizePairsFull.txt",)}, read
    ),
)
RelativeSize = commonsense(
    ROWS, "Is one thing larger than another, asked in both orders.", sample=sample_of, readings=READINGS
)
