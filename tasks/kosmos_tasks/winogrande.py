"""WinoGrande: which of two options fills the blank of a sentence (KOSMOS-1 section 4.8).

Asked by partial scoring (Trinh & Le), as in lm-evaluation-harness 0.4.13 (task winogrande, ``acc``) and in GPT-3: the
text after the blank continues ``{text before the blank}{option}``, and the option counts after which it is the
likelier. Both continuations are the same text, so no rule of length could change the choice. The paper does not give
its reading; ``prompt="gpt3"`` (GPT-3's figure G.14) is the same.

Source: https://winogrande.allenai.org, CC BY. Hub: allenai/winogrande, winogrande_xl, as lm-evaluation-harness has it.
The labels of the test split are not public. Twins, sentences that differ in a word and have the other answer, are a
group.
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

WORDING = "{before}{option}"
READINGS = {"lm-eval": Reading(WORDING, rule=None), "gpt3": Reading(WORDING, rule=None)}


def read(file: Path) -> Iterator[Row]:
    """Yield the rows of an official file."""
    wanted = {"qID": text, "sentence": blank, "option1": text, "option2": text, "answer": one_of("1", "2")}
    return (columns(row, wanted, place=place) for place, row in json_lines(file))


def blank(value: object) -> str:
    """Return a sentence with a blank."""
    if not isinstance(value, str) or "_" not in value:
        raise ValueError("a sentence with a blank, _")
    return value


def sample_of(row: Row, reading: Reading) -> Sample:
    """Return a sentence; as a demonstration it shows the right option in its blank."""
    before, _, after = row["sentence"].partition("_")
    options, label = (row["option1"], row["option2"]), int(row["answer"]) - 1
    contexts = tuple(reading.wording.format(before=before, option=option) for option in options)
    return Sample(
        row["id"],
        Prompt(contexts[label]),
        target=after.strip(),
        choices=options,
        group=row.get("qID", "").rpartition("-")[0],
        extra={"contexts": contexts, "label": label},
    )


ROWS = Splits(
    "winogrande",
    get="https://winogrande.allenai.org: dev.jsonl and one of train_{xs,s,m,l,xl}.jsonl, under winogrande/",
    synthetic=everyday.winogrande,
    files=text_files(
        ("winogrande/winogrande_1.1", "winogrande", "winogrande_1.1"),
        {"dev": ("dev.jsonl",), "train": ("train_*.jsonl",)},
        read,
    ),
    hub=Hub("allenai/winogrande", ("validation", "train"), config="winogrande_xl"),
)

WinoGrande = ranking(ROWS, "Which of two options fills the blank of a sentence.", sample=sample_of, readings=READINGS)
