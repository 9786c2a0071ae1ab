"""HellaSwag: which of four sentences continues a description (KOSMOS-1 section 4.8).

Prompt: ``{activity}: {beginning}``, cleaned as in lm-evaluation-harness 0.4.13 (task hellaswag), which is the default
reading: metrics ``acc_norm``, the headline, and ``acc``. The paper does not give its prompt or rule. ``prompt="gpt3"``
is GPT-3's (its figure G.9): the same prompt, and the mean over tokens (`kosmos_tasks.families.text_ranking`).

Source: https://github.com/rowanz/hellaswag/tree/master/data, MIT. Hub: Rowan/hellaswag, as lm-evaluation-harness
has it. The labels of its test split are not public.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from kosmos_eval.prompt import Prompt
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row
from kosmos_tasks.families.splits import Hub, Splits
from kosmos_tasks.families.text_ranking import Reading, ranking
from kosmos_tasks.formats.files import text_files
from kosmos_tasks.formats.records import (
    Columns,
    columns,
    json_lines,
    one_of,
    string,
    text,
    texts,
)
from kosmos_tasks.synthetic import everyday

WORDING = "{activity_label}: {ctx_a} {ctx_b}"
READINGS = {
    "lm-eval": Reading(WORDING, rule="mean per character", also=("mean per character", "sum")),
    "gpt3": Reading(WORDING, rule="mean per token"),
}


def read(file: Path) -> Iterator[Row]:
    """Yield the rows of an official file; ``ctx_b`` may be empty, and the hub's copies write labels as text."""
    wanted: Columns = {"activity_label": text, "ctx_a": text, "ctx_b": string, "endings": texts(4)}
    wanted = {**wanted, "label": one_of(*range(4), *"0123", labels=(*range(4), *range(4)))}
    return (columns(row, wanted, place=place) for place, row in json_lines(file))


def sample_of(row: Row, reading: Reading) -> Sample:
    """Return a description with its four endings."""
    prompt = Prompt(cleaned(reading.wording.format(**row | {"ctx_b": row["ctx_b"].capitalize()})))
    choices = tuple(cleaned(ending) for ending in row["endings"])
    return Sample(row["id"], prompt, target=choices[int(row["label"])], choices=choices)


def cleaned(passage: str) -> str:
    """Return a passage without the tags in brackets of its WikiHow part.

    >>> cleaned("Clean: [header] How to clean [title] Sweep.")
    'Clean: How to clean. Sweep.'
    """
    passage = passage.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", passage).replace("  ", " ")


ROWS = Splits(
    "hellaswag",
    get="https://github.com/rowanz/hellaswag/tree/master/data: hellaswag_{val,train}.jsonl, under hellaswag/",
    synthetic=everyday.hellaswag,
    files=text_files(
        ("hellaswag/data", "hellaswag"), {"val": ("hellaswag_val.jsonl",), "train": ("hellaswag_train.jsonl",)}, read
    ),
    hub=Hub("Rowan/hellaswag", ("validation", "train")),
)
HellaSwag = ranking(ROWS, "Which of four sentences continues a description.", sample=sample_of, readings=READINGS)
