"""Commands that read finished runs: report, compare, export, leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval.cli.console import Folder, MovedData, Seed, TaskFile, console, load_files, path_option, split_names
from kosmos_eval.errors import KosmosEvalError


def report(
    folder: Folder,
    data: MovedData = None,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Compute the scores from the samples again; needs the data.")
    ] = False,
    task_file: TaskFile = None,
) -> None:
    """Print a run's scores again and rewrite its scores.csv and report.html."""
    from kosmos_eval.cli.run import finish, write_page

    load_files(task_file)
    saved = write_page(folder, data=data, rescore=rescore)
    finish(saved.report, html=False)


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of runs; with --html two or more.")],
    show_changed: Annotated[
        int, typer.Option("--show-changed", min=0, help="Samples to list, the largest change first.")
    ] = 3,
    out: Annotated[Path | None, path_option("--out", "FILE", "Also write it as .json, or the rows as .csv.")] = None,
    html: Annotated[Path | None, path_option("--html", "FILE", "Write the runs' answers side by side.")] = None,
    tasks: Annotated[str | None, typer.Option("--tasks", help="With --html: names, by commas; default: all.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="With --html: the most samples of each task.")] = 200,
    published: Annotated[
        str | None, typer.Option("--published", metavar="MODEL", help="Print the paper's difference from this model.")
    ] = None,
    seed: Seed = 0,
    task_file: TaskFile = None,
) -> None:
    """Compare two runs sample by sample: difference, interval, p-value, and which samples changed."""
    from kosmos_eval.analysis.compare import compare as compared
    from kosmos_eval.analysis.published import check_model, differences
    from kosmos_eval.analysis.saved_run import open_run
    from kosmos_eval.report import comparison, side_by_side

    if out is not None:
        comparison.check_name(out)
    if published is not None:
        check_model(published)
    names = split_names(tasks, "--tasks") if tasks is not None else []
    if len(runs) < 2 or (len(runs) > 2 and (html is None or out is not None or published is not None)):
        raise KosmosEvalError(f"expected two runs, or with --html alone two or more; found {len(runs)}")
    load_files(task_file)
    if html is not None:
        side_by_side.write_page([open_run(run) for run in runs], html, tasks=names, limit=limit)
        console.print(f"page: {html}")
    if len(runs) > 2:
        return
    found = compared(runs[0], runs[1], seed=seed)
    comparison.print_comparison(found, console, changes=show_changed)
    if published is not None:
        for line in differences(found.rows, before=published):
            console.print(line)
    if out is not None:
        comparison.write(found, out)


def export(
    folder: Folder,
    to: Annotated[str, typer.Option("--to", help="json (scores), parquet (samples) or lm-eval (its results file).")],
    out: Annotated[Path | None, path_option("--out", "DIR", "Where the files go; default: the run's folder.")] = None,
    task_file: TaskFile = None,
) -> None:
    """Write a run in a format that other tools read."""
    from kosmos_eval.analysis.export import export as exported

    load_files(task_file)
    for path in exported(folder, to, out=out):
        console.print(str(path))


def leaderboard(
    sources: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or others' scores.csv.")],
    out: Annotated[Path, path_option("--out", "FILE", "The merged file.")] = Path("results/leaderboard.csv"),
) -> None:
    """Merge runs into a leaderboard and its page, in which only comparable rows are ranked."""
    from kosmos_eval.analysis.leaderboard import update
    from kosmos_eval.report.console import print_leaderboard
    from kosmos_eval.report.leaderboard_page import write_page

    frame = update(out, sources)
    page = write_page(frame, out)
    print_leaderboard(frame, console)
    console.print(f"leaderboard: {out}, {page}")
