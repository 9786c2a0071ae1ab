"""StoryCloze: which of two sentences ends a story of four (KOSMOS-1 section 4.8).

Prompt: the four sentences, with spaces between: lm-evaluation-harness 0.4.13 (task storycloze_2016, ``acc``), which is
the default reading. The paper does not give its prompt or rule. ``prompt="gpt3"`` is GPT-3's (its figure G.17): the
same prompt, and the mean over tokens (`kosmos_tasks.families.text_ranking`).

Source: https://cs.rochester.edu/nlp/rocstories, given on request; demonstrations are from the validation stories, as
the training stories have one ending only. The hub's LSDSem/story_cloze has a script without the stories: use --data.
"""

from collections.abc import Iterator
from pathlib import Path

from kosmos_eval.prompt import Prompt
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row
from kosmos_tasks.families.splits import Splits
from kosmos_tasks.families.text_ranking import Reading, ranking
from kosmos_tasks.formats.files import text_files
from kosmos_tasks.formats.records import columns, csv_rows, one_of, text
from kosmos_tasks.synthetic import everyday

COLUMNS = {
    **{f"InputSentence{place}": f"input_sentence_{place}" for place in range(1, 5)},
    "RandomFifthSentenceQuiz1": "sentence_quiz1",
    "RandomFifthSentenceQuiz2": "sentence_quiz2",
    "AnswerRightEnding": "answer_right_ending",
}
"""The official header and the names of the columns on the hub."""
WORDING = " ".join(f"{{input_sentence_{place}}}" for place in range(1, 5))
READINGS = {"lm-eval": Reading(WORDING), "gpt3": Reading(WORDING, rule="mean per token")}


def read(file: Path) -> Iterator[Row]:
    """Yield the rows of an official file, under the names that the hub gives its columns."""
    convert = dict.fromkeys(COLUMNS, text) | {"AnswerRightEnding": one_of("1", "2", labels=(1, 2))}
    for place, row in csv_rows(file):
        said = columns(row, convert, place=place)
        yield {COLUMNS[name]: said[name] for name in COLUMNS}


def sample_of(row: Row, reading: Reading) -> Sample:
    """Return a story with its two endings."""
    prompt, choices = Prompt(reading.wording.format(**row)), (row["sentence_quiz1"], row["sentence_quiz2"])
    return Sample(row["id"], prompt, target=choices[row["answer_right_ending"] - 1], choices=choices)


ROWS = Splits(
    "storycloze",
    get=(
        "https://cs.rochester.edu/nlp/rocstories, on request: cloze_test_{test,val}__spring2016*.csv, under storycloze/"
    ),
    synthetic=everyday.storycloze,
    files=text_files(
        ("storycloze", "story_cloze", "rocstories"),
        {
            "test": ("cloze_test_test__spring2016*.csv",),
            "val": ("cloze_test_val__spring2016*.csv",),
            "val2018": ("cloze_test_val__winter2018*.csv",),
        },
        read,
        examples=("train", "val"),
    ),
)
StoryCloze = ranking(ROWS, "Which of two sentences ends a story of four.", sample=sample_of, readings=READINGS)
