"""HellaSwag: prompts, cleaning, scores, and what can be wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_tasks.hellaswag import HellaSwag

ROW = {
    "activity_label": "Clean windows",
    "ctx_a": "[header] How to clean windows [title] Get ready. [step] Take a cloth.",
    "ctx_b": "the Cloth",
    "endings": ["is wet  now.", "[substeps] sings a song.", "eats.", "flies."],
    "label": 0,
}
ASKED = "Clean windows: How to clean windows. Get ready. Take a cloth. The cloth"


def at(root: Path, *rows: dict[str, Any]) -> HellaSwag:
    root.joinpath("hellaswag_val.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return HellaSwag(Source("data", root))


def test_the_zero_shot_prompt_is_cleaned_as_in_lm_evaluation_harness(tmp_path: Path) -> None:
    task = at(tmp_path, ROW)
    choices = (" is wet now.", "  sings a song.", " eats.", " flies.")
    assert task.requests(task.samples()[0], []) == [LogLikelihood(Prompt(ASKED), choices)]


def test_labels_may_be_written_as_text(tmp_path: Path) -> None:
    assert [sample.target for sample in at(tmp_path, ROW | {"label": "2"}).samples()] == ["eats."]


def test_the_one_shot_prompt_shows_the_right_ending_above(tmp_path: Path) -> None:
    task = at(tmp_path, ROW, {**ROW, "ctx_a": "Look!", "label": 2})
    sample, shot = task.samples()
    (request,) = task.requests(sample, [shot])
    assert request.prompt == Prompt(f"Clean windows: Look! The cloth eats.\n\n{ASKED}")


def test_endings_compare_per_character_and_by_their_sums(tmp_path: Path) -> None:
    task = at(tmp_path, ROW)
    # Characters 11, 14, 4, 6: per character -0.45, -0.5, -1, -1; by sums "eats." is the likeliest.
    output = Likelihoods((-5.0, -7.0, -4.5, -6.0), (3, 4, 1, 1), (False,) * 4)
    score = task.score(task.samples()[0], [output])
    assert (dict(score.values), score.answer) == ({"acc_norm": 1.0, "acc": 0.0}, "is wet now.")


@pytest.mark.parametrize(
    ("broken", "problem"), [({"endings": ["one"]}, "a list of 4 texts"), ({"label": 4}, "one of 0, 1, 2, 3")]
)
def test_a_malformed_row_is_named(tmp_path: Path, broken: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadData, match=f"line 2 of .*hellaswag_val.jsonl has .*; expected {problem}"):
        at(tmp_path, ROW, ROW | broken).samples()


def test_real_rows_load(real_data: Path) -> None:
    task = HellaSwag(Source("data", real_data))
    first = task.samples()[0]
    assert (len(task.samples()), len(task.examples())) == (2, 2)
    assert first.prompt == Prompt("Roof shingle removal: A man is sitting on a roof. He")
    assert first.target == "starts pulling up roofing on a roof."
