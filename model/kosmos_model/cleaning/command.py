"""``kosmos-eval clean``: make training data of what was crawled and downloaded."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from kosmos_eval.errors import KosmosEvalError, RunError
from kosmos_eval.files import Json, clear_made, mark_made, output_folder, refuse_foreign, writing

if TYPE_CHECKING:
    from kosmos_model.cleaning.plan import Plan

COUNTS = "counts.json"
MADE_BY = "kosmos-eval clean"


def clean(
    plan: Annotated[Path, typer.Argument(help="A TOML file that names corpora and measures.")],
    out: Annotated[
        Path,
        typer.Option("--out", parser=output_folder, metavar="FOLDER", help="For the cleaned corpora, one folder each."),
    ],
    tasks: Annotated[int | None, typer.Option("--tasks", min=1, help="Into how many the work is cut.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="How many tasks run at once.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start over, and replace what cleaning has made in the folder.")
    ] = False,
) -> None:
    """Clean training data by the paper's rules; the same command again goes on where it was interrupted."""
    try:
        import datatrove  # noqa: F401
    except ImportError as error:
        raise KosmosEvalError("cleaning needs datatrove; pip install 'kosmos-eval[train]'") from error
    from kosmos_model.cleaning import plan as plans

    read = plans.read(plan)
    read = replace(read, tasks=tasks or read.tasks, workers=workers or read.workers)
    cleaned(read, out, overwrite=overwrite, console=Console(width=None if sys.stdout.isatty() else 120))


def cleaned(plan: Plan, out: Path, *, overwrite: bool = False, console: Console) -> Json | None:
    """Run every stage of a plan, or submit them to Slurm, and print what each rule dropped.

    Args:
        plan: what is cleaned.
        out: gets a folder of Parquet for each corpus, ``counts.json`` and, for what is under way, ``work``.
        overwrite: start over, and replace what cleaning has made in the folder before.
        console: where the table goes.

    Returns:
        The counts by corpus, or None while Slurm has yet to do it.

    Raises:
        KosmosEvalError: if the folder holds another plan, or evaluation data cannot be read.
    """
    from kosmos_model.cleaning import evaluated
    from kosmos_model.cleaning.counts import print_counts
    from kosmos_model.cleaning.pipeline import check_executor, executor, stages
    from kosmos_model.cleaning.plan import OWN

    work, names = out / "work", [*OWN, *(corpus.name for corpus in plan.corpora)]
    asked = work / "evaluated" if plan.against else None
    refuse_foreign(out, MADE_BY, names)
    check_executor(plan)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".evaluated.", dir=out) as place:
        found = Path(place) / "evaluated"
        if asked is not None and (overwrite or not (asked / evaluated.PICTURES).exists()):
            with console.status("read what evaluation asks"):
                evaluated.write(plan.against, found, data=plan.data, ngram=plan.ngram)
        if overwrite:  # all that can fail before the first stage has not
            clear_made(out, MADE_BY)
        mark_made(out, MADE_BY, names)
        _same(plan, work)
        if asked is not None and found.exists():
            shutil.rmtree(asked, ignore_errors=True)
            found.rename(asked)
    last = None
    for stage in stages(plan, out, evaluated=asked):
        with console.status(stage.says), _quiet(work / "console.log"):
            last = executor(stage, plan, out, after=last)
            last.run()
    if not (out / COUNTS).exists():
        console.print(f"submitted; the same command prints the counts once they are in {out / COUNTS}")
        return None
    shutil.rmtree(work / "sifted", ignore_errors=True)
    counts: Json = json.loads((out / COUNTS).read_text())
    print_counts(counts, console)
    if plan.language_model is None and any(corpus.rules != "pairs" for corpus in plan.corpora):
        console.print("the plan names no language_model: no other language was looked for")
    if not plan.against:
        console.print("the plan names no tasks in against: evaluation data was not looked for")
    if any(one["skipped"] for one in counts.values()):
        console.print(f"what was skipped is named in {out / 'skipped'}", highlight=False, soft_wrap=True)
    return counts


def _same(plan: Plan, work: Path) -> None:
    """Make sure that a folder is of this plan, whose workers and executor may change."""
    from dataclasses import asdict

    path = work / "plan.json"
    changing = ("workers", "executor", "options")
    mine = json.loads(json.dumps({k: v for k, v in asdict(plan).items() if k not in changing}, default=str))
    try:
        if path.exists():
            theirs = json.loads(path.read_text())
            for name in mine:
                if theirs.get(name) != mine[name]:
                    raise RunError(
                        f"{work.parent} was begun with {name} {theirs.get(name)}, but now it is {mine[name]}; "
                        "clean with --overwrite or another --out"
                    )
        work.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(mine, indent=1) + "\n")
    except OSError as error:
        raise RunError(f"cannot write to {work}: {error.strerror or error}; choose another --out") from error


@contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """Send what this process and those that it starts say on standard error to a file."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
