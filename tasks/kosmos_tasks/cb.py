r"""CommitmentBank: whether a text entails a hypothesis, contradicts it, or neither (KOSMOS-1 section 4.8).

Prompt: ``{premise}\nQuestion: {hypothesis}. True, False, or Neither?\nAnswer:``, choices ``True``, ``False`` and
``Neither``: lm-evaluation-harness 0.4.13 (task cb, ``acc``), which is the default reading. The paper does not give its
prompt or rule; ``rule="mean per token"`` is that of GPT-3, which METALM follows.

Source: https://super.gluebenchmark.com, licence not stated. Hub: aps/super_glue, cb, as lm-evaluation-harness has it.
"""

from collections.abc import Iterator
from pathlib import Path

from kosmos_eval.prompt import Prompt
from kosmos_eval.sample import Sample
from kosmos_tasks.mini import everyday
from kosmos_tasks.text_rows import Row, TextRows, columns, json_lines, one_of, text
from kosmos_tasks.text_task import ranking

ANSWERS = ("True", "False", "Neither")
"""In the order of SuperGLUE's labels: entailment, contradiction, neutral."""


def read(file: Path) -> Iterator[Row]:
    """The rows of SuperGLUE's file."""
    label = one_of("entailment", "contradiction", "neutral", labels=(0, 1, 2))
    wanted = {"premise": text, "hypothesis": text, "label": label}
    return (columns(row, wanted, place=place) for place, row in json_lines(file))


def sample_of(row: Row) -> Sample:
    """A text with its hypothesis."""
    prompt = Prompt(f"{row['premise']}\nQuestion: {row['hypothesis']}. True, False, or Neither?\nAnswer:")
    return Sample(row["id"], prompt, target=ANSWERS[row["label"]], choices=ANSWERS)


ROWS = TextRows(
    task="cb",
    get="https://super.gluebenchmark.com/tasks: CB/{val,train}.jsonl, there or under superglue/",
    folders=("CB", "superglue/CB", "cb"),
    files={"val": ("val*.jsonl",), "train": ("train*.jsonl",)},
    read=read,
    sample=sample_of,
    mini=everyday.cb,
    hub=("aps/super_glue", "cb"),
    hub_splits=("validation", "train"),
)
CB = ranking(ROWS, "Whether a text entails a hypothesis, contradicts it, or neither.")
