"""The console of all commands, and the options that several of them share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.evaluation.launch import is_main_process
from kosmos_eval.registry import load_file
from kosmos_eval.source import Source

_plain = partial(Console, quiet=not is_main_process(), highlight=False, soft_wrap=True, markup=False, emoji=False)

console = _plain(width=None if sys.stdout.isatty() else 140)
"""Standard output: plain text, in which nothing of the user's is taken for markup."""

errors = _plain(stderr=True)
"""Standard error, likewise."""


def path_named(text: str) -> Path:
    """Return a path that an option names.

    Raises:
        KosmosEvalError: if it names none.
    """
    if not text.strip():
        raise KosmosEvalError("an option names an empty path; give a file or folder, or leave the option out")
    return Path(text)


def path_option(name: str, metavar: str, help: str) -> object:
    """Return an option that names a file or folder."""
    return typer.Option(name, parser=path_named, metavar=metavar, help=help)


Data = Annotated[Path | None, path_option("--data", "DIR", "Folder of official files; default: synthetic data.")]
MovedData = Annotated[Path | None, path_option("--data", "DIR", "The data's folder now, if it has moved.")]
Hub = Annotated[bool, typer.Option("--hub", help="Read data sets from the hub (with --data: from a mirror of it).")]
Revision = Annotated[str | None, typer.Option("--revision", help="The hub's revision; the resolved one is recorded.")]
AllowOutside = Annotated[
    bool, typer.Option("--allow-outside", help="Also read images that lie outside the data's folder.")
]
Split = Annotated[str | None, typer.Option("--split", help="A split for all tasks, or task=split,task=split.")]
TaskOption = Annotated[list[str] | None, typer.Option("--task-option", help="TASK.OPTION=VALUE, repeatable.")]
ModelOption = Annotated[list[str] | None, typer.Option("--model-option", help="OPTION=VALUE, repeatable.")]
TaskFile = Annotated[list[Path] | None, typer.Option("--task-file", help="A Python file that registers tasks.")]
ModelFile = Annotated[list[Path] | None, typer.Option("--model-file", help="A Python file that registers models.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, ...")]
Seed = Annotated[int, typer.Option("--seed", help="Decides demonstrations, the subset of --limit, the bootstrap.")]
ShotsFrom = Annotated[str, typer.Option("--shots-from", help="random, fixed, or by images: rices, rices:clip:PATH.")]
ImagesOption = Annotated[
    Literal["real", "blank", "shuffled", "none"],
    typer.Option("--images", help="Show grey images, those of other samples, or none in place of the real ones."),
]
Folder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Discard the run that the folder holds.")]


def load_files(*paths: Iterable[Path] | None) -> list[str]:
    """Import users' files, and return the names of the tasks that they register."""
    return [name for some in paths for path in some or () for name in load_file(path)]


def source_of(
    data: Path | None, hub: bool = False, revision: str | None = None, *, allow_outside: bool = False
) -> Source:
    """Return where samples come from, as the options say."""
    if revision is not None and not hub:
        raise KosmosEvalError("--revision is the hub's; give it with --hub")
    if data is not None and not data.is_dir():
        raise KosmosEvalError(f"--data {data} is not a folder; name the one that holds the official files")
    root = None if data is None else data.resolve()
    kind: Literal["hub", "data", "synthetic"] = "hub" if hub else "data" if data is not None else "synthetic"
    return Source(kind, root, None, revision, allow_outside)


def split_names(listed: str, option: str) -> list[str]:
    """Return the names of a list with commas, each once.

    Raises:
        KosmosEvalError: if there are none.
    """
    names = list(dict.fromkeys(name.strip() for name in listed.split(",") if name.strip()))
    if not names:
        raise KosmosEvalError(f"{option} {listed!r} names nothing; expected names separated by commas")
    return names
