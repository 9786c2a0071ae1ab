"""COPA: which of two sentences is the cause or the effect of another (KOSMOS-1 section 4.8).

Prompt: the sentence without its full stop, then ``because`` or ``therefore``; the choices begin in lower case. This is
lm-evaluation-harness 0.4.13 (task copa, ``acc``), which is the default reading, to the character: it has two spaces
before a choice. The paper does not give its prompt or rule. ``prompt="gpt3"`` is GPT-3's (its figure G.5): one space,
and the mean over tokens (`kosmos_tasks.families.text_ranking`).

Source: https://super.gluebenchmark.com, BSD 2-clause. Hub: aps/super_glue, copa, as lm-evaluation-harness has it.
"""

from collections.abc import Iterator
from pathlib import Path

from kosmos_eval.prompt import Prompt
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row
from kosmos_tasks.families.splits import Hub, Splits
from kosmos_tasks.families.text_ranking import Reading, ranking
from kosmos_tasks.formats.files import text_files
from kosmos_tasks.formats.records import columns, json_lines, one_of, text
from kosmos_tasks.synthetic import everyday

CONNECTORS = {"cause": "because", "effect": "therefore"}
READINGS = {
    "lm-eval": Reading("{premise} {connector}", gap=" "),
    "gpt3": Reading("{premise} {connector}", rule="mean per token"),
}


def read(file: Path) -> Iterator[Row]:
    """Yield the rows of SuperGLUE's file."""
    wanted = {"premise": text, "choice1": text, "choice2": text, "question": one_of(*CONNECTORS), "label": one_of(0, 1)}
    return (columns(row, wanted, place=place) for place, row in json_lines(file))


def sample_of(row: Row, reading: Reading) -> Sample:
    """Return a sentence with two others."""
    asked = reading.wording.format(premise=row["premise"].strip()[:-1], connector=CONNECTORS[row["question"]])
    choices = tuple(f"{reading.gap}{choice[0].lower()}{choice[1:]}" for choice in (row["choice1"], row["choice2"]))
    return Sample(row["id"], Prompt(asked), target=choices[row["label"]], choices=choices)


ROWS = Splits(
    "copa",
    get="https://super.gluebenchmark.com/tasks: COPA/{val,train}.jsonl, there or under superglue/",
    synthetic=everyday.copa,
    files=text_files(
        ("COPA", "superglue/COPA", "combined/COPA", "superglue"),
        {"val": ("val*.jsonl",), "train": ("train*.jsonl",)},
        read,
    ),
    hub=Hub("aps/super_glue", ("validation", "train"), config="copa"),
)
COPA = ranking(
    ROWS, "Which of two sentences is the cause or the effect of another.", sample=sample_of, readings=READINGS
)
