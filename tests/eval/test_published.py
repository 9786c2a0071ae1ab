"""The numbers of the paper: found by task, unverified where from memory, consistent with its text."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kosmos_eval import KosmosEvalError, evaluate, load_tasks
from kosmos_eval.analysis.compare import Compared
from kosmos_eval.analysis.published import Reported, differences, every, published, reported
from kosmos_eval.analysis.saved_run import SavedRun, SavedSetting
from kosmos_eval.cli.app import app
from kosmos_eval.evaluation import suites
from kosmos_eval.evaluation.results import Row
from kosmos_eval.evaluation.run_config import Environment, Manifest, RunConfig, SettingSummary, TaskSummary
from kosmos_eval.evaluation.run_folder import RunFolder
from kosmos_eval.evaluation.variant import SettingKey, Variant
from kosmos_eval.metrics.paired import paired
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


ROW = Row("coco_caption", 0, "CIDEr", 1.0, 0.9, 1.1, "", 3, 0, None, None, 0, "")


def saved(
    row: Row = ROW,
    *,
    source: str = "data",
    split: str = "test",
    default_options: bool = True,
    samples: int = 3,
    kind: Any = "model",
) -> SavedRun:
    """Return the run of a row: of 3 samples, as the paper asks."""
    summary = SettingSummary(samples, of=3, data="", scores="")
    config = RunConfig(tasks={row.task: {"source": {"kind": source}}}, kind=kind)
    tasks = {row.task: TaskSummary(row.metric, split, default_options)}
    setting = SavedSetting(row.key, (), {}, frozenset(), 0, summary)
    manifest = Manifest(config, "m", Environment(), started="", tasks=tasks)
    return SavedRun(Path("run"), manifest, RunFolder(), (setting,))


def test_the_papers_number_stands_beside_a_run_of_its_protocol_on_the_rows_own_scale() -> None:
    found = published(ROW, saved())
    assert found is not None
    assert (found.value, found.unverified) == (0.847, False)


def test_a_number_from_memory_is_unverified() -> None:
    row = replace(ROW, shots=4, effective_shots=4)
    found = published(row, saved(row))
    assert found is not None and found.unverified


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        (ROW, {"source": "synthetic"}),
        (ROW, {"split": "val2017"}),
        (ROW, {"default_options": False}),
        (ROW, {"samples": 2}),
        (ROW, {"kind": "answers"}),
        (replace(ROW, failed=1), {}),
        (replace(ROW, variant="images=blank"), {}),
        (replace(ROW, shots=4, effective_shots=3.5), {}),
        (replace(ROW, metric="Bleu_1"), {}),
    ],
    ids=["synthetic", "split", "option", "subset", "external", "failed", "blind", "fewer shots", "metric"],
)
def test_another_protocol_has_no_number_of_the_paper(row: Row, asked: dict[str, Any]) -> None:
    assert published(row, saved(row, **asked)) is None


@pytest.mark.parametrize(
    ("task", "metric", "split", "n", "shown"),
    [
        ("vqav2", "vqa_accuracy", "test-dev2015", 9, True),
        ("vqav2", "vqa_accuracy", "test2015", 9, False),
        ("hateful_memes", "roc_auc", "dev_seen", 9, True),
        ("hateful_memes", "roc_auc", "test_seen", 9, False),
        ("imagenet", "accuracy_constrained", "val", 50_000, True),
        ("imagenet", "accuracy_constrained", "val", 84, False),
        ("raven_iq", "accuracy", "iq50", 50, True),
        ("raven_iq", "accuracy", "test", 50, False),
        ("piqa", "acc_norm", "valid", 9, True),
    ],
)
def test_splits_are_matched_by_the_names_that_benchmarks_give_them(
    task: str, metric: str, split: str, n: int, shown: bool
) -> None:
    row = replace(ROW, task=task, metric=metric, n=n)
    assert (published(row, saved(row, split=split)) is not None) == shown


@pytest.mark.parametrize(
    ("task", "variant", "default_options", "shown"),
    [
        ("piqa", "prompt=gpt3", True, 72.9),
        ("piqa", "prompt=gpt3,seed=1", True, None),
        ("piqa", "prompt=gpt3", False, None),
        ("coco_caption", "prompt=short", True, None),
    ],
)
def test_another_prompt_has_the_papers_number_only_where_the_paper_states_none(
    task: str, variant: str, default_options: bool, shown: float | None
) -> None:
    row = replace(ROW, task=task, metric="acc_per_token", variant=variant)
    found = published(row, saved(row, split="valid", default_options=default_options))
    assert (found and found.value) == shown


UNTUNED = "KOSMOS-1 without LOIT"


def compared(
    task: str, metric: str, first: Sequence[float], second: Sequence[float], *, unit: str = "", images: Any = "real"
) -> Compared:
    difference = paired(first, second, groups=list(map(str, range(len(first)))), seed=0)
    means = sum(first) / len(first), sum(second) / len(second)
    key = SettingKey(task, 0, Variant(images=images))
    return Compared(key, metric, unit, len(first), 0, 0, *means, difference, 1.0, ())


def test_differences_stand_beside_the_papers_in_its_units() -> None:
    half, more = [0.0, 1.0] * 10, [1.0, 1.0, 0.0, 1.0] * 5
    captions, questions = differences(
        (
            compared("flickr30k", "CIDEr", half, more),
            compared("vqav2", "vqa_accuracy", half, more, unit="%"),
            compared("vqav2", "vqa_accuracy", half, more, unit="%", images="blank"),
            compared("new_words", "accuracy", half, more, unit="%"),
        ),
        before=UNTUNED,
    )
    assert captions.startswith(
        "flickr30k, 0 shots, CIDEr: here +25.0; in the paper +1.9, KOSMOS-1 without LOIT 65.2 to 67.1"
    )
    assert questions.startswith("vqav2, 0 shots, vqa_accuracy: here +25.0; in the paper +4.3, ")


def test_where_the_paper_has_no_differences_that_is_said() -> None:
    rows = (compared("new_words", "accuracy", [0.0, 1.0], [1.0, 1.0]),)
    assert differences(rows, before="LLM") == ["the paper has no numbers of both models for these tasks"]


def test_the_transfer_suite_is_what_the_paper_compares() -> None:
    assert suites.members("kosmos1-transfer")[1] == ["coco_caption", "flickr30k", "raven_iq", "vizwiz", "vqav2"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Runs of two models on what the paper compares, captions left out: METEOR takes its time to start."""
    folders = [tmp_path_factory.mktemp(says) for says in ("yes", "no")]
    tasks = load_tasks(suites.members("kosmos1-transfer")[1], without=("coco_caption", "flickr30k"))
    for folder in folders:
        evaluate(f"scripted:{folder.name.rstrip('0')}", tasks, limit=4, out=folder)
    return list(map(str, folders))


def test_two_models_are_compared_beside_the_papers_pair(pair: list[str]) -> None:
    found = CliRunner().invoke(app, ["compare", *pair, "--published", UNTUNED])
    assert found.exception is None
    assert "A: scripted:yes" in found.output
    assert "vqav2, 0 shots, vqa_accuracy: here " in found.output
    assert found.output.count("in the paper") == 3


def test_a_model_that_the_paper_does_not_have_is_refused_before_anything_is_compared(pair: list[str]) -> None:
    found = CliRunner().invoke(app, ["compare", *pair, "--published", "GPT-9"])
    assert isinstance(found.exception, KosmosEvalError)
    assert "no model of the paper is called 'GPT-9'" in str(found.exception)
    assert not found.output
