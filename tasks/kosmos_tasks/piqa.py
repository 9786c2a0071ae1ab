r"""PIQA: which of two ways reaches a goal of everyday life (KOSMOS-1 section 4.8).

Prompt: ``Question: {goal}\nAnswer:``, that of lm-evaluation-harness 0.4.13 (task piqa), which is the default reading:
metrics ``acc_norm``, the headline, and ``acc``. The paper does not give its prompt or rule. ``prompt="gpt3"`` is
GPT-3's (its figure G.4): the goal alone, and the mean over tokens (`kosmos_tasks.families.text_ranking`).

Source: https://yonatanbisk.com/piqa, licence AFL-3.0. Hub: baber/piqa, as lm-evaluation-harness has it. The labels of
the test split are not public.
"""

from collections.abc import Iterator
from pathlib import Path

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row
from kosmos_tasks.families.splits import Hub, Splits
from kosmos_tasks.families.text_ranking import Reading, ranking
from kosmos_tasks.formats.files import text_files
from kosmos_tasks.formats.records import columns, json_lines, lines, one_of, text
from kosmos_tasks.synthetic import everyday

READINGS = {
    "lm-eval": Reading("Question: {goal}\nAnswer:", rule="mean per character", also=("mean per character", "sum")),
    "gpt3": Reading("{goal}", rule="mean per token"),
}


def read(file: Path) -> Iterator[Row]:
    """Yield the rows of an official file, whose labels stand in a file of their own."""
    aside = file.with_name(f"{file.stem}-labels.lst")
    if not aside.is_file():
        raise BadData(f"{file} is there without its labels; add {aside.name} beside it")
    goals, labels = list(json_lines(file)), list(lines(aside))
    if len(goals) != len(labels):
        raise BadData(f"{aside} has {len(labels)} labels for the {len(goals)} goals of {file.name}; get both again")
    for (place, goal), (line, label) in zip(goals, labels, strict=True):
        said = columns(goal, {"goal": text, "sol1": text, "sol2": text}, place=place)
        yield said | columns({"label": label.strip()}, {"label": one_of("0", "1", labels=(0, 1))}, place=line)


def sample_of(row: Row, reading: Reading) -> Sample:
    """Return a goal with its two ways."""
    prompt, choices = Prompt(reading.wording.format(**row)), (row["sol1"], row["sol2"])
    return Sample(row["id"], prompt, target=choices[row["label"]], choices=choices)


ROWS = Splits(
    "piqa",
    get="https://yonatanbisk.com/piqa/data: {valid,train}.jsonl and {valid,train}-labels.lst, under piqa/",
    synthetic=everyday.piqa,
    files=text_files(
        ("piqa/physicaliqa-train-dev", "piqa", "physicaliqa-train-dev"),
        {"valid": ("valid.jsonl", "dev.jsonl"), "train": ("train.jsonl",)},
        read,
    ),
    hub=Hub("baber/piqa", ("validation", "train")),
)
PIQA = ranking(ROWS, "Which of two ways reaches a goal.", sample=sample_of, readings=READINGS)
