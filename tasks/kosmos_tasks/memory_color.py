"""MemoryColor: which of eleven colors a thing usually has (KOSMOS-1 section 4.9.2).

Prompt: ``The color of {Object} is?``, text only; the eleven colors are compared by likelihood. The object is named with
its descriptor (``a sunflower``, ``the inside of a pineapple``), as VaLM does, whose data the paper uses; VaLM averages
the accuracies of nine prompts, where the paper names this one.

Source: https://github.com/Victorwz/VaLM/blob/main/data/object_color/memory_color_data.csv, licence not stated; 109
things. Without it ``memory_colors.jsonl`` of the authors, Norlund et al. 2021, is read, which differs in the color of
the pumpkin. Not on the hub.

Our default where the paper is silent: each color is one word, so the sums of log-probabilities compare
(``rule="sum"``). Extension: the paper is zero-shot here; demonstrations are other things, drawn leave-one-out.
"""

from collections.abc import Iterator
from pathlib import Path

from kosmos_eval.prompt import Prompt
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row
from kosmos_tasks.families.splits import Splits
from kosmos_tasks.families.text_ranking import Reading, commonsense
from kosmos_tasks.formats.files import text_files
from kosmos_tasks.formats.records import (
    columns,
    csv_rows,
    json_lines,
    one_of,
    string,
    text,
)
from kosmos_tasks.synthetic import appearance

COLORS = ("black", "blue", "brown", "green", "grey", "orange", "pink", "purple", "red", "white", "yellow")
"""The answers, here and for ColorTerms."""
READINGS = {"paper": Reading("The color of {object} is?", COLORS, separator="\n")}


def read(file: Path) -> Iterator[Row]:
    """Yield the things of either file."""
    if file.suffix == ".jsonl":
        found, names = json_lines(file), ("descriptor", "item", "label")
    else:
        found, names = csv_rows(file), ("Descriptor", "Item", "Color")
    descriptor, item, color = names
    for place, row in found:
        said = columns(row, {descriptor: string, item: text, color: one_of(*COLORS)}, place=place)
        yield {"object": f"{said[descriptor].strip()} {said[item].strip()}".strip(), "color": said[color]}


def sample_of(row: Row, reading: Reading) -> Sample:
    """Return a thing and its color."""
    return Sample(row["id"], Prompt(reading.wording.format(**row)), target=row["color"], choices=COLORS)


ROWS = Splits(
    "memory_color",
    get="https://github.com/Victorwz/VaLM/tree/main/data/object_color: memory_color_data.csv, under memory_color/",
    synthetic=appearance.colors,
    files=text_files(
        ("visual_commonsense/memory_color", "memory_color", "object_color"),
        {"test": ("memory_color_data.csv", "memory_colors.jsonl")},
        read,
    ),
)
MemoryColor = commonsense(ROWS, "Which of eleven colors a thing usually has.", sample=sample_of, readings=READINGS)
