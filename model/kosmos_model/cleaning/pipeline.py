"""The stages of cleaning on datatrove's executors: sift by rules, find near-duplicates by MinHash, write, sum up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, TypeAlias

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from datatrove.executor.base import PipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.writers import ParquetWriter

from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.files import Json
from kosmos_model.cleaning import steps
from kosmos_model.cleaning.plan import KINDS, Plan
from kosmos_model.cleaning.rules import Measures
from kosmos_model.cleaning.words import HASHING, WORDS

Step: TypeAlias = PipelineStep | Callable[..., object]
"""A block of datatrove's, or a function of data, rank and number of tasks."""

ROWS = {"text": 1000, "pairs": 100, "interleaved": 50}
"""Rows of a Parquet row group, the least that training reads at once."""


@dataclass(frozen=True)
class Stage:
    """One pipeline, which waits for those before it.

    Args:
        name: of its log folder.
        says: what it does, for the console.
        pipeline: datatrove's blocks and functions of ours.
        tasks: into how many it is cut.
    """

    name: str
    says: str
    pipeline: list[Step]
    tasks: int


def stages(plan: Plan, out: Path, *, evaluated: Path | None) -> Iterator[Stage]:
    """Every stage of a plan, in order.

    Captions are not looked through for near-duplicates: other images may share them.
    """
    work, measures = out / "work", Measures(plan, evaluated)
    for kind in KINDS:
        if not (corpora := plan.of(kind)):
            continue
        sift = steps.Sift(kind, corpora, measures, out)
        if kind == "pairs":
            yield Stage("sift-pairs", "sift image-caption pairs", [sift, _writer(out, kind)], plan.tasks)
        else:
            store = _writer(work / "sifted" / kind, "page")
            yield Stage(f"sift-{kind}", f"sift {kind} documents", [sift, store], plan.tasks)
            yield from _without_duplicates(kind, plan, out)
    deduplicated = {corpus.name: corpus.rules != "pairs" for corpus in plan.corpora}
    yield Stage("sum", "sum up", [steps.Sum(out, deduplicated)], 1)


def _without_duplicates(kind: str, plan: Plan, out: Path) -> Iterator[Stage]:
    """MinHash in datatrove's four steps: signatures, pairs that share one, clusters, all but one of each dropped."""
    config = MinhashConfig(hash_config=HASHING)
    sifted, found = out / "work" / "sifted" / kind, out / "work" / "duplicates" / kind
    signatures, pairs, drop = (str(found / name) for name in ("signatures", "pairs", "drop"))
    signing = [steps.Stored(sifted, False), MinhashDedupSignature(signatures, config, language=WORDS)]
    yield Stage(f"sign-{kind}", f"sign {kind} documents", signing, plan.tasks)
    matching = [MinhashDedupBuckets(signatures, pairs, config=config)]
    yield Stage(f"match-{kind}", "match signatures", matching, config.num_buckets)
    yield Stage(f"cluster-{kind}", "cluster near-duplicates", [MinhashDedupCluster(pairs, drop, config)], 1)
    counting = steps.Count(kind, out)
    writing = [steps.Stored(sifted, True), MinhashDedupFilter(drop), counting, _writer(out, kind)]
    yield Stage(f"write-{kind}", f"write {kind} documents", writing, plan.tasks)


def _writer(folder: Path, kind: str) -> ParquetWriter:
    import pyarrow as pa

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    page = [("id", pa.string()), ("corpus", pa.string()), ("images", pa.list_(image)), ("texts", pa.list_(pa.string()))]
    adapter: Callable[[object, Document], Json]
    adapter, fields = {
        "text": (steps.as_text, [("id", pa.string()), ("text", pa.string())]),
        "pairs": (steps.as_pair, [("id", pa.string()), ("image", image), ("caption", pa.string())]),
    }.get(kind, (steps.as_page, page))
    return ParquetWriter(
        str(folder),
        "${corpus}/${rank}.parquet",
        compression="zstd",
        adapter=adapter,
        batch_size=ROWS.get(kind, 50),
        schema=pa.schema(fields),
    )


def check_executor(plan: Plan) -> None:
    """Make sure that what runs a plan is there.

    Raises:
        KosmosEvalError: if Slurm or Ray is not.
    """
    if plan.executor == "ray" and find_spec("ray") is None:
        raise KosmosEvalError('executor = "ray" needs Ray; pip install "ray[default]"')
    if plan.executor == "slurm" and which("sbatch") is None:
        raise KosmosEvalError('executor = "slurm" needs sbatch, which is not in PATH; submit from a login node')


def executor(stage: Stage, plan: Plan, out: Path, *, after: Any) -> PipelineExecutor:
    """Return the executor that runs a stage where the plan says; ``after`` is that of the stage before."""
    logs = str(out / "work" / "logs" / stage.name)
    if plan.executor == "local":
        return LocalPipelineExecutor(stage.pipeline, stage.tasks, plan.workers, logs)
    if plan.executor == "ray":
        return RayPipelineExecutor(stage.pipeline, stage.tasks, plan.workers, logging_dir=logs, **plan.options)
    return SlurmPipelineExecutor(
        stage.pipeline,
        stage.tasks,
        **{"time": "20:00:00", "partition": "cpu", **plan.options},
        workers=plan.workers,
        job_name=f"clean-{stage.name}",
        logging_dir=logs,
        depends=after,
    )
