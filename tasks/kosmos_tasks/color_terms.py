"""ColorTerms: which of eleven colors a concrete thing typically has (KOSMOS-1 section 4.9.2).

Prompt, colors and rule are those of MemoryColor; things have no descriptors (``The color of banana is?``). The paper
says eleven colors, of which no thing here is purple.

Source: https://github.com/Victorwz/VaLM/blob/main/data/object_color/color-concrete-objects.csv, licence not stated; 52
things. Not on the hub. Extension: the paper is zero-shot here; demonstrations are other things, drawn leave-one-out.
"""

from collections.abc import Iterator
from pathlib import Path

from kosmos_eval.source import Row
from kosmos_tasks.families.splits import Splits
from kosmos_tasks.families.text_ranking import commonsense
from kosmos_tasks.formats.files import text_files
from kosmos_tasks.formats.records import Columns, columns, csv_rows, one_of, text
from kosmos_tasks.memory_color import COLORS, READINGS, sample_of
from kosmos_tasks.synthetic import appearance


def read(file: Path) -> Iterator[Row]:
    """Yield the things of the official file."""
    wanted: Columns = {"object": text, "color": one_of(*COLORS)}
    return (columns(row, wanted, place=place) for place, row in csv_rows(file))


ROWS = Splits(
    "color_terms",
    get=(
        "https://github.com/Victorwz/VaLM/tree/main/data/object_color: color-concrete-objects.csv, under color_terms/"
    ),
    synthetic=lambda split: (
        row | {"object": row["object"].removeprefix("an ").removeprefix("a ")} for row in appearance.colors(split)
    ),
    files=text_files(
        ("visual_commonsense/color_terms", "color_terms", "object_color"),
        {"test": ("color-concrete-objects.csv",)},
        read,
    ),
)
ColorTerms = commonsense(
    ROWS, "Which of eleven colors a concrete thing typically has.", sample=sample_of, readings=READINGS
)
