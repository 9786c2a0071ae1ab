"""BoolQ: prompts, SuperGLUE's file and the original one, scores, and what can be wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_tasks.boolq import BoolQ

ROW = {"question": "is snow white", "passage": "Snow -- Snow is white.", "idx": 0, "label": True}
ORIGINAL = {"question": "is snow white", "title": "Snow", "answer": True, "passage": "Snow is white."}
ASKED = "Snow -- Snow is white.\nQuestion: is snow white?\nAnswer:"


def at(root: Path, name: str, *rows: dict[str, Any]) -> BoolQ:
    (root / name).write_text("\n".join(json.dumps(row) for row in rows))
    return BoolQ(Source("data", root))


@pytest.mark.parametrize(("name", "row"), [("val.jsonl", ROW), ("dev.jsonl", ORIGINAL)])
def test_both_releases_give_the_prompt_of_lm_evaluation_harness(tmp_path: Path, name: str, row: dict[str, Any]) -> None:
    task = at(tmp_path, name, row)
    (sample,) = task.samples()
    assert task.requests(sample, []) == [LogLikelihood(Prompt(ASKED), (" no", " yes"))]
    assert sample.target == "yes"


def test_the_one_shot_prompt_shows_an_answered_question_above(tmp_path: Path) -> None:
    task = at(tmp_path, "val.jsonl", ROW, {**ROW, "passage": "P.", "label": False})
    sample, shot = task.samples()
    (request,) = task.requests(sample, [shot])
    assert request.prompt == Prompt(f"P.\nQuestion: is snow white?\nAnswer: no\n\n{ASKED}")


def test_the_likelier_answer_counts(tmp_path: Path) -> None:
    task = at(tmp_path, "val.jsonl", ROW)
    assert task.score(task.samples()[0], [Likelihoods((-2.0, -1.0), (1, 1), (False, True))]).values == {"acc": 1.0}
    assert task.score(task.samples()[0], [Likelihoods((-1.0, -2.0), (1, 1), (True, False))]).answer == "no"


@pytest.mark.parametrize("broken", [{"label": 1}, {"label": "true"}, {"passage": ""}])
def test_a_malformed_row_is_named(tmp_path: Path, broken: dict[str, Any]) -> None:
    with pytest.raises(BadData, match=r"line 2 of .*val\.jsonl has '(label|passage)' .*; expected "):
        at(tmp_path, "val.jsonl", ROW, ROW | broken).samples()


def test_the_original_file_gives_the_prompt_of_superglue(real_data: Path) -> None:
    (original,) = BoolQ(Source("data", real_data / "boolq_original")).samples()
    superglue = BoolQ(Source("data", real_data)).samples()
    assert len(superglue) == 400
    assert (original.prompt, original.target) == (superglue[0].prompt, superglue[0].target)
