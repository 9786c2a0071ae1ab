from importlib.util import find_spec

import pytest

from kosmos_eval import KosmosEvalError, Metric
from kosmos_eval.evaluation.results import Report, rows
from kosmos_eval.evaluation.run_config import Environment, Manifest, RunConfig
from kosmos_eval.evaluation.variant import SettingKey, Variant
from kosmos_eval.report import trackers
from kosmos_eval.report.trackers import Tracker, scalars

BLANK = SettingKey("t", 4, Variant(images="blank"))
MANIFEST = Manifest(RunConfig("m", shots=(0, 4)), "m", Environment(), started="")


def report():
    few = rows(SettingKey("t"), {"acc[a]": Metric(0.5, 0.25, 0.75, 8)}, shown=0, failed=0, notes=[])
    many = rows(BLANK, {"acc[a]": Metric(0.75, None, None, 8)}, shown=4, failed=0, notes=[])
    lost = rows(SettingKey("lost"), {}, shown=0, failed=3, notes=[])
    return Report("m", (*few, *many, *lost))


def installed(name):
    return pytest.mark.skipif(
        any(find_spec(module) is None for module in trackers.PACKAGES[name]), reason=f"{name} is not installed"
    )


def test_scores_and_interval_ends_are_logged_by_shots_and_rows_without_a_score_are_not():
    assert list(scalars(report())) == [
        ("t/acc[a]", 50.0, 0),
        ("t/acc[a]/low", 25.0, 0),
        ("t/acc[a]/high", 75.0, 0),
        ("t/acc[a]/images=blank", 75.0, 4),
    ]


def test_a_tracker_that_is_unknown_or_not_installed_is_one_line(monkeypatch):
    with pytest.raises(KosmosEvalError, match="--tracker neptune is not known; expected tensorboard, wandb, mlflow"):
        Tracker.named("neptune")
    monkeypatch.setitem(trackers.PACKAGES, "wandb", ("no_such_module",))
    with pytest.raises(
        KosmosEvalError, match=r"needs the package no_such_module; pip install 'kosmos-eval\[loggers\]'"
    ):
        Tracker.named("wandb:here")


def test_a_tracker_writes_beside_the_run_or_where_it_is_told(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setitem(trackers.WRITERS, "wandb", lambda *given: seen.append(given[-1]))
    monkeypatch.setitem(trackers.PACKAGES, "wandb", ())
    (tmp_path / "run").mkdir()
    assert Tracker.named("wandb").log(report(), MANIFEST, tmp_path / "run") == tmp_path / "run" / "wandb"
    assert Tracker.named(f"wandb:{tmp_path / 'there'}").log(report(), MANIFEST, tmp_path / "run") == tmp_path / "there"
    assert seen == [tmp_path / "run" / "wandb", tmp_path / "there"] and seen[0].is_dir()


@installed("tensorboard")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_what_was_logged(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    where = Tracker.named("tensorboard").log(report(), MANIFEST, tmp_path)
    events = EventAccumulator(str(where / tmp_path.name))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("t/acc[a]")] == [(0, 50.0)]
    assert [event.step for event in events.Scalars("t/acc[a]/images=blank")] == [4]


@installed("mlflow")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_what_was_logged(tmp_path):
    from mlflow import MlflowClient

    (tmp_path / "scores.csv").write_text("task\n")
    where = Tracker.named("mlflow").log(report(), MANIFEST, tmp_path)
    client = MlflowClient(f"sqlite:///{where / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("kosmos-eval")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["t/acc_a_"] == 50.0 and run.data.params["seed"] == "0"
    assert client.get_metric_history(run.info.run_id, "t/acc_a_/images_blank")[0].step == 4
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["scores.csv"]


@installed("wandb")
@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_its_run_offline(tmp_path):
    import wandb

    where = Tracker.named("wandb").log(report(), MANIFEST, tmp_path)
    wandb.teardown()
    (kept,) = where.glob("wandb/offline-run-*/*.wandb")
    assert b"images=blank" in kept.read_bytes()
