"""COPA: connectives, the two spaces of lm-evaluation-harness, scores, and what can be wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_tasks.copa import COPA

ROW = {"premise": "It rained.", "choice1": "We ran.", "choice2": "I sang.", "question": "effect", "label": 1}


def at(root: Path, *rows: dict[str, Any]) -> COPA:
    (root / "val.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return COPA(Source("data", root))


@pytest.mark.parametrize(("question", "connective"), [("effect", "therefore"), ("cause", "because")])
def test_the_zero_shot_prompt_is_that_of_lm_evaluation_harness(tmp_path: Path, question: str, connective: str) -> None:
    task = at(tmp_path, {**ROW, "question": question})
    (request,) = task.requests(task.samples()[0], [])
    assert request == LogLikelihood(Prompt(f"It rained {connective}"), ("  we ran.", "  i sang."))


def test_the_one_shot_prompt_shows_the_right_sentence_above(tmp_path: Path) -> None:
    task = at(tmp_path, ROW, {**ROW, "premise": "He fell.", "label": 0})
    sample, shot = task.samples()
    (request,) = task.requests(sample, [shot])
    assert request.prompt == Prompt("He fell therefore  we ran.\n\nIt rained therefore")


def test_the_likelier_sentence_counts(tmp_path: Path) -> None:
    task = at(tmp_path, ROW)
    score = task.score(task.samples()[0], [Likelihoods((-2.0, -1.0), (1, 1), (False, True))])
    assert (dict(score.values), score.answer) == ({"acc": 1.0}, "i sang.")


@pytest.mark.parametrize("broken", [{"label": 2}, {"question": "why"}, {"choice2": ""}])
def test_a_malformed_row_is_named(tmp_path: Path, broken: dict[str, Any]) -> None:
    with pytest.raises(BadData, match=r"line 2 of .*val\.jsonl has '(label|question|choice2)' .*; expected "):
        at(tmp_path, ROW, ROW | broken).samples()


def test_real_sentences_load_with_their_labels(real_data: Path) -> None:
    task = COPA(Source("data", real_data))
    assert (len(task.samples()), len(task.examples())) == (100, 32)
    assert sum(sample.choices.index(sample.target) for sample in task.samples()) == 45
