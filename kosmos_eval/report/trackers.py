"""The scores of a run in an experiment tracker: TensorBoard, Weights & Biases or MLflow, each local and offline.

A metric is logged under ``TASK/METRIC``, with the way of asking where it is not the usual one; the step is the number
of shots, so that trackers draw few-shot curves. The ends of the 95 % interval stand beside it as ``.../low`` and
``.../high``. The options of the run go along, and where the tracker keeps files, so does ``scores.csv``.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import isnan
from pathlib import Path
from typing import Any

from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.evaluation.results import Report
from kosmos_eval.evaluation.run_config import Manifest, to_json
from kosmos_eval.files import Json

PACKAGES = {"tensorboard": ("tensorboard",), "wandb": ("wandb",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}
"""Tracker to the modules that it needs."""


@dataclass(frozen=True)
class Tracker:
    """A tracker that is there: its name, and the folder that it writes to, beside the run's files by default."""

    name: str
    where: Path | None = None

    @classmethod
    def named(cls, spec: str) -> "Tracker":
        """The tracker of ``NAME`` or ``NAME:FOLDER``.

        Raises:
            KosmosEvalError: if there is no such tracker, or it is not installed.
        """
        name, _, where = spec.partition(":")
        if name not in PACKAGES:
            raise KosmosEvalError(
                f"--tracker {spec} is not known; expected {', '.join(PACKAGES)}, each with :FOLDER or not"
            )
        missing = [module for module in PACKAGES[name] if find_spec(module) is None]
        if missing:
            raise KosmosEvalError(
                f"--tracker {name} needs the package {missing[0]}; pip install 'kosmos-eval[loggers]'"
            )
        return cls(name, Path(where) if where else None)

    def log(self, report: Report, manifest: Manifest, folder: Path) -> Path:
        """Log a run.

        Args:
            report: its scores.
            manifest: its ``run.json``.
            folder: the run's, which names it.

        Returns:
            Where the tracker's files are.
        """
        where = (self.where or folder / self.name).resolve()
        where.mkdir(parents=True, exist_ok=True)
        WRITERS[self.name](report, to_json(manifest), folder, where)
        return where


def scalars(report: Report) -> Iterator[tuple[str, float, int]]:
    """Name, value and step of everything that is logged; rows without a score are left out."""
    for row in report.rows:
        name = "/".join(filter(None, (row.task, row.metric, row.variant)))
        ends = {"": row.score, "/low": row.low, "/high": row.high}
        yield from (
            (name + end, value, row.shots) for end, value in ends.items() if value is not None and not isnan(value)
        )


def _tensorboard(report: Report, config: Json, folder: Path, where: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(where / folder.name)) as writer:
        for name, value, step in scalars(report):
            writer.add_scalar(name, value, step)
        writer.add_text("run", f"```json\n{json.dumps(config, indent=2)}\n```")


def _wandb(report: Report, config: Json, folder: Path, where: Path) -> None:
    wandb: Any = import_module("wandb")
    steps: dict[int, dict[str, float]] = {}
    for name, value, step in scalars(report):
        steps.setdefault(step, {})[name] = value
    settings = wandb.Settings(mode="offline", silent=True, console="off", x_disable_stats=True, x_disable_meta=True)
    with wandb.init(project="kosmos-eval", name=folder.name, dir=where, config=dict(config), settings=settings) as run:
        for step, values in sorted(steps.items()):
            run.log({**values, "shots": step}, step=step)


def _mlflow(report: Report, config: Json, folder: Path, where: Path) -> None:
    mlflow, entities = import_module("mlflow"), import_module("mlflow.entities")
    client: Any = mlflow.MlflowClient(f"sqlite:///{where / 'mlflow.db'}")
    found = client.get_experiment_by_name("kosmos-eval")
    files = (where / "artifacts").as_uri()
    experiment = found.experiment_id if found else client.create_experiment("kosmos-eval", artifact_location=files)
    run = client.create_run(experiment, run_name=folder.name).info.run_id
    metrics = [entities.Metric(_plain(name), value, 0, step) for name, value, step in scalars(report)]
    options = config["config"]
    params = [entities.Param(name, json.dumps(value)[:500]) for name, value in options.items()]
    for place in range(0, max(len(metrics), 1), 500):
        client.log_batch(run, metrics=metrics[place : place + 500], params=params if place == 0 else ())
    if (folder / "scores.csv").exists():
        client.log_artifact(run, str(folder / "scores.csv"))
    client.set_terminated(run)


def _plain(name: str) -> str:
    """A name in the letters that MLflow allows."""
    return re.sub(r"[^\w\-. /:]", "_", name)


WRITERS: Mapping[str, Callable[[Report, Json, Path, Path], None]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}
