"""CommitmentBank: prompts, the order of labels, scores, and what can be wrong."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_tasks.cb import CB

ROW = {"premise": "I know it rains.", "hypothesis": "it rains", "label": "entailment", "idx": 0}
ASKED = "I know it rains.\nQuestion: it rains. True, False, or Neither?\nAnswer:"


def at(root: Path, *rows: dict[str, Any]) -> CB:
    (root / "val.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return CB(Source("data", root))


def test_the_zero_shot_prompt_is_that_of_lm_evaluation_harness(tmp_path: Path) -> None:
    task = at(tmp_path, ROW)
    (request,) = task.requests(task.samples()[0], [])
    assert request == LogLikelihood(Prompt(ASKED), (" True", " False", " Neither"))


def test_the_one_shot_prompt_shows_an_answered_text_above(tmp_path: Path) -> None:
    task = at(tmp_path, ROW, {**ROW, "premise": "Does it?", "label": "neutral"})
    sample, shot = task.samples()
    (request,) = task.requests(sample, [shot])
    shown = "Does it?\nQuestion: it rains. True, False, or Neither?\nAnswer: Neither"
    assert request.prompt == Prompt(f"{shown}\n\n{ASKED}")


@pytest.mark.parametrize(("label", "mark"), [("entailment", 0.0), ("contradiction", 1.0), ("neutral", 0.0)])
def test_the_likeliest_answer_counts(tmp_path: Path, label: str, mark: float) -> None:
    task = at(tmp_path, {**ROW, "label": label})
    output = Likelihoods((-2.0, -1.0, -3.0), (1, 1, 1), (False, True, False))
    assert task.score(task.samples()[0], [output]).values == {"acc": mark}


@pytest.mark.parametrize("broken", [{"label": 0}, {"label": "true"}, {"hypothesis": None}])
def test_a_malformed_row_is_named(tmp_path: Path, broken: dict[str, Any]) -> None:
    with pytest.raises(BadData, match=r"line 2 of .*val\.jsonl has '(label|hypothesis)' .*; expected "):
        at(tmp_path, ROW, ROW | broken).samples()


def test_real_texts_load_with_their_labels(real_data: Path) -> None:
    task = CB(Source("data", real_data))
    assert Counter(sample.target for sample in task.samples()) == {"True": 23, "False": 28, "Neither": 5}
    assert len(task.examples()) == 32
