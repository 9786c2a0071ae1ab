"""Demonstrations by what the bundled model sees."""

from pathlib import Path

import pytest

from kosmos_eval.evaluation.plan import plan
from kosmos_eval.evaluation.setup import load_shots, load_tasks
from kosmos_eval.fewshot.selection import RandomShots, Shots


def same_digit(shots: Shots) -> float:
    """How often a demonstration shows the digit that is asked for."""
    (setting,) = plan(load_tasks(["imagenet"]), shots=shots, limit=20)
    pairs = [(shot.target, sample.target) for sample in setting.samples for shot in setting.demonstrations(sample)]
    assert len(pairs) == 40
    return sum(one == other for one, other in pairs) / len(pairs)


def test_the_bundled_model_finds_pictures_of_the_same_digit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSMOS_EVAL_CACHE", str(tmp_path))
    nearest = load_shots([2], "rices", device="cpu")
    assert same_digit(Shots((2,), RandomShots())) < 0.3
    assert same_digit(nearest) > 0.8
