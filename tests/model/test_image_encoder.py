"""Demonstrations by what the bundled model sees."""

from pathlib import Path

import pytest

from kosmos_eval import Source
from kosmos_eval.evaluation.plan import cells, demonstrations
from kosmos_eval.evaluation.setup import build_shots, build_tasks
from kosmos_eval.fewshot.selection import RandomShots, Shots


def same_digit(shots: Shots) -> float:
    """How often a demonstration shows the digit that is asked for."""
    (cell,) = cells(build_tasks(["imagenet"], Source()), shots=shots, limit=20, seed=0)
    pairs = [(shot.target, sample.target) for sample in cell.samples for shot in demonstrations(cell, sample)]
    assert len(pairs) == 40
    return sum(one == other for one, other in pairs) / len(pairs)


def test_the_bundled_model_finds_pictures_of_the_same_digit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSMOS_EVAL_CACHE", str(tmp_path))
    nearest = build_shots([2], "rices", device="cpu")
    assert same_digit(Shots((2,), RandomShots())) < 0.3
    assert same_digit(nearest) > 0.8
