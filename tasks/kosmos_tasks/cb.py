r"""CommitmentBank: whether a text entails a hypothesis, contradicts it, or neither (KOSMOS-1 section 4.8).

Prompt: ``{premise}\nQuestion: {hypothesis}. True, False, or Neither?\nAnswer:``, choices ``True``, ``False`` and
``Neither``: lm-evaluation-harness 0.4.13 (task cb, ``acc``), which is the default reading. The paper does not give its
prompt or rule. ``prompt="gpt3"`` is GPT-3's (its figure G.30): all but premise and hypothesis in lower case, the mean
over tokens (`kosmos_tasks.families.text_ranking`).

Source: https://super.gluebenchmark.com, licence not stated. Hub: aps/super_glue, cb, as lm-evaluation-harness has it.
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

LABELS = ("entailment", "contradiction", "neutral")
READINGS = {
    "lm-eval": Reading(
        "{premise}\nQuestion: {hypothesis}. True, False, or Neither?\nAnswer:", ("True", "False", "Neither")
    ),
    "gpt3": Reading(
        "{premise}\nquestion: {hypothesis}. true, false, or neither?\nanswer:",
        ("true", "false", "neither"),
        rule="mean per token",
    ),
}
"""Their answers stand in the order of SuperGLUE's labels."""


def read(file: Path) -> Iterator[Row]:
    """Yield the rows of SuperGLUE's file."""
    wanted = {"premise": text, "hypothesis": text, "label": one_of(*LABELS, labels=(0, 1, 2))}
    return (columns(row, wanted, place=place) for place, row in json_lines(file))


def sample_of(row: Row, reading: Reading) -> Sample:
    """Return a text with its hypothesis."""
    prompt, choices = Prompt(reading.wording.format(**row)), reading.answers
    return Sample(row["id"], prompt, target=choices[row["label"]], choices=choices)


ROWS = Splits(
    "cb",
    get="https://super.gluebenchmark.com/tasks: CB/{val,train}.jsonl, there or under superglue/",
    synthetic=everyday.cb,
    files=text_files(
        ("CB", "superglue/CB", "combined/CB", "superglue"), {"val": ("val*.jsonl",), "train": ("train*.jsonl",)}, read
    ),
    hub=Hub("aps/super_glue", ("validation", "train"), config="cb"),
)
CB = ranking(
    ROWS, "Whether a text entails a hypothesis, contradicts it, or neither.", sample=sample_of, readings=READINGS
)
