r"""BoolQ: yes-no questions that a passage answers (KOSMOS-1 section 4.8).

Prompt: ``{passage}\nQuestion: {question}?\nAnswer:``, choices ``no`` and ``yes``: lm-evaluation-harness 0.4.13 (task
boolq, ``acc``), which is the default reading. The paper does not give its prompt or rule. ``prompt="gpt3"`` is GPT-3's
(its figure G.29): ``question:`` and ``answer:`` in lower case, the mean over tokens
(`kosmos_tasks.families.text_ranking`).

Source: https://super.gluebenchmark.com, or the original release (https://github.com/google-research-datasets/
boolean-questions), which keeps the title apart that SuperGLUE has before the passage; CC BY-SA 3.0. Hub:
aps/super_glue, boolq, as lm-evaluation-harness has it.
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

ANSWERS = ("no", "yes")
READINGS = {
    "lm-eval": Reading("{passage}\nQuestion: {question}?\nAnswer:", ANSWERS),
    "gpt3": Reading("{passage}\nquestion: {question}?\nanswer:", ANSWERS, rule="mean per token"),
}


def read(file: Path) -> Iterator[Row]:
    """Yield the rows of SuperGLUE's file, or of the original with its titles before its passages as in SuperGLUE."""
    whether = one_of(False, True, labels=(0, 1))
    for place, row in json_lines(file):
        if not isinstance(row, dict) or "title" not in row:
            yield columns(row, {"passage": text, "question": text, "label": whether}, place=place)
            continue
        said = columns(row, {"title": text, "passage": text, "question": text, "answer": whether}, place=place)
        passage = f"{said['title']} -- {said['passage']}"
        yield {"passage": passage, "question": said["question"], "label": said["answer"]}


def sample_of(row: Row, reading: Reading) -> Sample:
    """Return a passage with its question."""
    prompt = Prompt(reading.wording.format(**row))
    return Sample(row["id"], prompt, target=ANSWERS[row["label"]], choices=ANSWERS)


ROWS = Splits(
    "boolq",
    get="https://super.gluebenchmark.com/tasks: BoolQ/{val,train}.jsonl, there or under superglue/",
    synthetic=everyday.boolq,
    files=text_files(
        ("BoolQ", "superglue/BoolQ", "combined/BoolQ", "boolq_original", "superglue"),
        {"val": ("val*.jsonl", "dev.jsonl"), "train": ("train*.jsonl",)},
        read,
    ),
    hub=Hub("aps/super_glue", ("validation", "train"), config="boolq"),
)
BoolQ = ranking(ROWS, "Yes-no questions that a passage answers.", sample=sample_of, readings=READINGS)
