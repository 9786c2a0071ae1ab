"""The numbers of the paper: found by task, unverified where from memory, consistent with its text."""

from pathlib import Path

import pytest

from kosmos_eval.analysis.published import Reported, every, reported
from kosmos_eval.registry import named, names
from kosmos_eval.task import info


def score(task: str, metric: str, *, shots: int = 0, model: str = "KOSMOS-1") -> float:
    found = reported(task, shots, metric, model=model)
    assert found is not None
    return found.score


def test_a_number_is_found_by_task_shots_and_metric() -> None:
    found = reported("coco_caption", 0, "CIDEr")
    assert found is not None
    assert (found.table, found.score, found.value, found.unverified) == (2, 84.7, pytest.approx(0.847), False)
    assert reported("coco_caption", 16, "CIDEr") is None


def test_what_is_from_memory_is_unverified_and_other_initials_are_not() -> None:
    tags = {row.tag: row.unverified for row in every()}
    assert (tags["M"], tags["M~"], tags["MIO VG"], tags["P"]) == (True, True, False, False)


def test_every_row_is_whole() -> None:
    assert len({(row.table, row.model, row.task, row.shots, row.metric) for row in every()}) == len(every())
    for row in every():
        assert 0 < row.score < 200 and row.protocol and row.tag and row.unit in ("%", "x100"), row


def test_differences_that_the_paper_tells_in_words_hold() -> None:
    text, without = score("websrc", "EM"), score("websrc", "EM_without_text")
    assert text - without == pytest.approx(12.0)
    assert score("websrc", "F1") - score("websrc", "F1_without_text") == pytest.approx(20.7)
    assert score("rendered_sst2_cot", "accuracy") - score("rendered_sst2", "accuracy") == pytest.approx(5.8)
    for constrained, gain in (("accuracy_unconstrained", 2.1), ("accuracy_constrained", 4.6)):
        assert score("imagenet", constrained) - score("imagenet", constrained, model="GIT") == pytest.approx(gain)
    gains = {"relative_size": 1.5, "memory_color": 14.7, "color_terms": 9.7}
    for task, gain in gains.items():
        metric = "accuracy[larger first]" if task == "relative_size" else "accuracy"
        assert score(task, metric) - score(task, metric, model="LLM") == pytest.approx(gain)


@pytest.mark.parametrize("model", ["LLM", "KOSMOS-1"])
@pytest.mark.parametrize("shots", [0, 1, 4])
def test_the_means_of_the_language_tasks_are_those_of_their_rows(model: str, shots: int) -> None:
    rows = [row for row in every() if (row.table, row.model, row.shots) == (13, model, shots)]
    (mean,) = [row.score for row in rows if row.task == "kosmos1-language"]
    each = [row.score for row in rows if row.task != "kosmos1-language"]
    assert len(each) == 8
    assert sum(each) / 8 == pytest.approx(mean, abs=0.051)


def test_numbers_stand_beside_the_headline_of_their_task() -> None:
    known = set(names("task"))
    for task in {row.task for row in every()} & known:
        headline = info(named("task", task)).metric
        mine: list[Reported] = [row for row in every() if row.task == task]
        assert any(row.metric.partition("[")[0] == headline for row in mine), f"{task} has no {headline}"


def test_the_results_folder_shows_the_same_file() -> None:
    root = Path(__file__).resolve().parents[2]
    if (root / "results").is_dir():
        assert (root / "results" / "paper.csv").resolve() == (root / "kosmos_eval" / "analysis" / "paper.csv").resolve()
