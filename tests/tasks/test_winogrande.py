"""WinoGrande: partial scoring, twins, scores, and what can be wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_tasks.winogrande import WinoGrande

ROW = {"qID": "AB-1", "sentence": "Ann met Bea but _ left.", "option1": "Ann", "option2": "Bea", "answer": "2"}


def at(root: Path, *rows: dict[str, Any]) -> WinoGrande:
    (root / "dev.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return WinoGrande(Source("data", root))


def test_the_text_after_the_blank_is_asked_for_after_each_option(tmp_path: Path) -> None:
    task = at(tmp_path, ROW)
    assert task.requests(task.samples()[0], []) == [
        LogLikelihood(Prompt("Ann met Bea but Ann"), (" left.",)),
        LogLikelihood(Prompt("Ann met Bea but Bea"), (" left.",)),
    ]


def test_the_one_shot_prompt_shows_a_filled_sentence_above(tmp_path: Path) -> None:
    task = at(tmp_path, ROW, {**ROW, "sentence": "_ ran", "answer": "1"})
    first, _ = task.requests(task.samples()[0], [task.samples()[1]])
    assert first.prompt == Prompt("Ann ran\n\nAnn met Bea but Ann")


def test_the_option_counts_after_which_the_rest_is_likelier(tmp_path: Path) -> None:
    task = at(tmp_path, ROW)
    outputs = [Likelihoods((-2.0,), (1,), (False,)), Likelihoods((-1.0,), (1,), (False,))]
    score = task.score(task.samples()[0], outputs)
    assert (dict(score.values), score.answer) == ({"acc": 1.0}, "Bea")
    assert task.score(task.samples()[0], outputs[::-1]).values == {"acc": 0.0}


def test_twins_are_a_group(tmp_path: Path) -> None:
    task = at(tmp_path, ROW, {**ROW, "qID": "AB-2"}, {**ROW, "qID": "AC-1"})
    assert [sample.group for sample in task.samples()] == ["AB", "AB", "AC"]


@pytest.mark.parametrize(
    ("broken", "problem"), [({"sentence": "no gap"}, "a sentence with a blank"), ({"answer": ""}, "one of '1', '2'")]
)
def test_a_malformed_row_is_named(tmp_path: Path, broken: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadData, match=rf"line 2 of .*dev\.jsonl has .*; expected {problem}"):
        at(tmp_path, ROW, ROW | broken).samples()


def test_real_sentences_agree_with_the_labels_beside_them(real_data: Path) -> None:
    task = WinoGrande(Source("data", real_data))
    labels = (real_data / "winogrande" / "dev-labels.lst").read_text().split()
    assert [str(sample.extra["label"] + 1) for sample in task.samples()] == labels
    assert (len(labels), len(task.examples())) == (1267, 160)
