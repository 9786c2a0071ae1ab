"""PIQA: prompts, labels in a file of their own, scores, and what can be wrong."""

import json
from pathlib import Path

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_tasks.piqa import PIQA

GOALS = [
    {"goal": "dresser", "sol1": "replace drawer ", "sol2": "finish"},
    {"goal": "How to cut?", "sol1": "a spoon", "sol2": "a knife"},
]


def at(root: Path, labels: str = "0\n1\n") -> PIQA:
    (root / "valid.jsonl").write_text("".join(json.dumps(goal) + "\n" for goal in GOALS))
    (root / "valid-labels.lst").write_text(labels)
    return PIQA(Source("data", root))


def test_the_zero_shot_prompt_is_that_of_lm_evaluation_harness(tmp_path: Path) -> None:
    task = at(tmp_path)
    (request,) = task.requests(task.samples()[0], [])
    assert request == LogLikelihood(Prompt("Question: dresser\nAnswer:"), (" replace drawer ", " finish"))


def test_the_one_shot_prompt_shows_the_right_way_above(tmp_path: Path) -> None:
    task = at(tmp_path)
    sample, shot = task.samples()
    (request,) = task.requests(sample, [shot])
    assert request.prompt == Prompt("Question: How to cut?\nAnswer: a knife\n\nQuestion: dresser\nAnswer:")


def test_ways_compare_per_character_and_by_their_sums(tmp_path: Path) -> None:
    task = at(tmp_path)
    # Per character -8/15 and -4/6; by sums the second.
    score = task.score(task.samples()[0], [Likelihoods((-8.0, -4.0), (4, 1), (False, False))])
    assert dict(score.values) == {"acc_norm": 1.0, "acc": 0.0}


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ("0\n", r"valid-labels\.lst has 1 labels for the 2 goals of valid\.jsonl"),
        ("0\n2\n", r"line 2 of .*valid-labels\.lst has 'label' '2'; expected one of '0', '1'"),
    ],
)
def test_malformed_labels_are_named(tmp_path: Path, labels: str, problem: str) -> None:
    with pytest.raises(BadData, match=problem):
        at(tmp_path, labels).samples()


def test_missing_labels_are_named(tmp_path: Path) -> None:
    task = at(tmp_path)
    (tmp_path / "valid-labels.lst").unlink()
    with pytest.raises(BadData, match=r"valid\.jsonl is there without its labels; add valid-labels\.lst beside it"):
        task.samples()


def test_real_goals_load_with_their_labels(real_data: Path) -> None:
    samples = list(PIQA(Source("data", real_data)).samples())
    assert len(samples) == 1838
    assert samples[1].target == "finish, woodgrain with  bobby pin "
