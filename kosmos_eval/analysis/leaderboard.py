"""Runs side by side in one CSV file and its page, in which only what is comparable is ranked.

Rows of one task, number of shots, variant and metric are comparable where they asked the same prompts of the same
samples with the same task options. A row's rank is one more than the number of comparable rows that are surely better,
which is to say whose interval lies wholly above its own: rows whose intervals overlap tie.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import BadData, RunError
from kosmos_eval.evaluation import run_folder
from kosmos_eval.evaluation.results import OVER
from kosmos_eval.evaluation.variant import parted
from kosmos_eval.files import inert, restored
from kosmos_eval.report.leaderboard_page import page

if TYPE_CHECKING:
    from pandas import DataFrame

ADDED = ("added", "added_low", "added_high")
NUMBERS = ("shots", "score", "low", "high", "n", "failed", "chance", *ADDED)
ORIGIN = ("data", "options", "split", "limit", "seed", "version", "date", "model_fingerprint", "run")
"""Columns that say where a row comes from: ``data`` is a digest of ids and prompts, ``options`` one of the task's."""

PLACE = ("task", "shots", "variant", "metric")
"""Rows that agree in these stand in one table."""

SCORES = ("rank", "status", "model", *PLACE, "score", "low", "high", "unit", "n", "failed", "chance", *ADDED)
COLUMNS = (*SCORES, "headline", "note", *ORIGIN)
SAME = ("model", "model_fingerprint", *PLACE, "options", "split", "limit", "seed")
"""Rows that agree in these are one row made again: the later replaces the earlier."""


def update(board: Path, sources: Sequence[Path]) -> DataFrame:
    """Merge runs into a leaderboard; other processes that write to it wait for their turn.

    Args:
        board: the CSV file, made if need be and replaced as a whole, as is the page of the same name beside it.
        sources: folders of runs, or others' ``scores.csv`` files.

    Returns:
        The whole leaderboard, ranked and sorted.

    Raises:
        KosmosEvalError: if a source cannot be read, or the leaderboard not written.
    """
    import pandas
    from filelock import FileLock, Timeout

    if board.suffix != ".csv":
        raise RunError(f"--out {board} is no .csv file; name one, such as leaderboard.csv: its page is put beside it")
    added = [row for source in sources for row in rows(source)]
    try:
        board.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(board.with_name(f".{board.name}.lock"), timeout=60):
            there = _table(board) if board.exists() else []
            merged = {tuple(row[name] for name in SAME): row for row in [*there, *added]}
            frame = ranked(pandas.DataFrame(list(merged.values()), columns=list(COLUMNS)))
            _replace(board, neutral(frame).to_csv(index=False))
            _replace(board.with_suffix(".html"), page(frame))
    except Timeout as error:
        raise RunError(f"{board} is locked by another process for a minute; try again when it is done") from error
    except OSError as error:
        raise RunError(f"cannot write {board}: {error.strerror or error}; choose another --out") from error
    return frame


def _replace(path: Path, content: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(content, encoding="utf-8", newline="")
    part.replace(path)


def rows(source: Path) -> list[dict[str, Any]]:
    """The rows of a run's folder, with where they come from; of a lone CSV file that much is unknown.

    Raises:
        KosmosEvalError: if there are no scores to read.
    """
    if source.is_dir():
        config, run = run_folder.load(source)
        scores = source / "scores.csv"
        if not scores.exists():
            raise RunError(f"{source} has no scores.csv yet; finish the run with the command that began it")
        found = _table(scores)
        asked = _asked(config, run)
        for row in found:
            row |= _origin(config, row, asked) | {"run": source.name}
    else:
        found = _table(source)
        for row in found:
            row["model"] = row["model"] or source.resolve().parent.name
            row["status"] = "data unknown"
    firsts: set[tuple[Any, ...]] = set()
    for row in found:
        place = (row["task"], row["shots"], row["variant"])
        row["headline"] = row["headline"] or ("" if place in firsts else "yes")
        firsts.add(place)
    return found


def ranked(frame: DataFrame) -> DataFrame:
    """The rows with ranks among what is comparable, and for all others why they have none."""
    frame = frame.reset_index(drop=True)
    frame["rank"] = ""
    for _, same in frame.groupby(list(PLACE), sort=False):
        usual = _usual(same)
        frame.loc[same.index, "status"] = [_status(row, usual) for row in same.to_dict("records")]
        compared = frame.loc[same.index][frame.loc[same.index, "status"] == ""]
        ranks = [str(1 + int((compared["low"] > high).sum())) for high in compared["high"]]
        frame.loc[compared.index, "rank"] = ranks
    frame["place"] = [int(rank) if rank else len(frame) + 1 for rank in frame["rank"]]
    order = ["task", "shots", "variant", "headline", "metric", "place", "score", "model"]
    upward = [True, True, True, False, True, True, False, True]
    return frame.sort_values(order, ascending=upward, kind="stable").drop(columns="place").reset_index(drop=True)


def neutral(frame: DataFrame) -> DataFrame:
    """The rows as a spreadsheet may open them, without formulas (`kosmos_eval.files`)."""
    frame = frame.copy()
    for name in set(COLUMNS) - set(NUMBERS):
        frame[name] = [inert(str(cell)) for cell in frame[name]]
    return frame


def _usual(same: DataFrame) -> tuple[str, str]:
    """What most rows of known origin asked, by digests of data and options; of equally many, the most samples."""
    sets: dict[tuple[str, str], list[int]] = {}
    for row in same.to_dict("records"):
        if row["data"]:
            sets.setdefault((row["data"], row["options"]), []).append(row["n"])
    return max(sets, key=lambda key: (len(sets[key]), max(sets[key]), key), default=("", ""))


def _status(row: Mapping[Any, Any], usual: tuple[str, str]) -> str:
    """Why a row has no rank; empty for one that has."""
    from pandas import isna

    if row["status"] in ("unfinished", "data unknown"):
        return str(row["status"])
    if row["failed"]:
        return "incomplete"
    if not row["data"]:
        return "data unknown"
    if row["data"] != usual[0]:
        return "other data or prompts"
    if row["options"] != usual[1]:
        return "other options"
    return "no interval" if isna(row["low"]) or isna(row["high"]) else ""


def _origin(
    config: Mapping[str, Any], row: Mapping[str, Any], asked: Mapping[tuple[str, int, str], list[str]]
) -> dict[str, Any]:
    options = config.get("options", {})
    task = options.get("tasks", {}).get(row["task"], options.get("options", {}))
    source = task.get("source", {})
    rest = {name: value for name, value in task.items() if name != "source"}
    limit = options.get("limit")
    return {
        "status": "" if "finished" in config or "answers" in options else "unfinished",
        "model": str(config["model_name"]),
        "data": _digest(asked, row["task"], int(row["shots"]), row["variant"]),
        "options": sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:16],
        "split": " ".join(
            str(part) for part in (source.get("kind"), source.get("split"), source.get("revision")) if part
        ),
        "limit": "" if limit is None else str(limit),
        "seed": str(options.get("seed", "")),
        "version": str(config.get("versions", {}).get("kosmos-eval", "")),
        "date": str(config.get("finished") or config.get("started", "")),
        "model_fingerprint": str(options.get("model_fingerprint", ""))[:16],
    }


def _asked(config: Mapping[str, Any], run: run_folder.Run) -> dict[tuple[str, int, str], list[str]]:
    """Task, shots and variant to what was asked: ids with the digests of their prompts.

    Of answers made elsewhere nobody knows the prompts: they compare with each other, by their ids, and with no run.
    """
    elsewhere = "answers" in config.get("options", {})
    asked: dict[tuple[str, int, str], list[str]] = {}
    for record in run.records.values():
        lines = asked.setdefault((record.task, record.shots, record.variant), [])
        lines.append(f"{record.id} {'elsewhere' if elsewhere else record.prompt}")
    return asked


def _digest(asked: Mapping[tuple[str, int, str], Sequence[str]], task: str, shots: int, variant: str) -> str:
    """16 hex digits over the ids and prompts of a row; none where prompts were not recorded.

    A mean over wordings or draws has those of all that it is the mean of.
    """
    summed = [part for part, over in OVER.items() if over in parted(variant)]
    rest = {name: value for name, value in parted(variant).items() if name not in OVER.values()}
    lines = [
        line if not summed else f"{other} {line}"
        for (name, count, other), own in asked.items()
        if (name, count) == (task, shots)
        and rest == {part: value for part, value in parted(other).items() if part not in summed}
        for line in own
    ]
    known = lines and not all(line.endswith(" ") for line in lines)
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16] if known else ""


def _table(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file with every column of the leaderboard, numbers as numbers.

    Raises:
        BadData: if it is no CSV file, lacks a column, or has text where a number belongs.
    """
    import pandas

    try:
        frame = pandas.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise BadData(
            f"{path} is no readable CSV file ({str(error).splitlines()[0]}); expected a scores.csv"
        ) from error
    missing = [name for name in ("task", "shots", "metric", "score", "n") if name not in frame]
    if missing:
        raise BadData(f"{path} has no column {missing[0]!r}; expected the columns of a scores.csv")
    for name in COLUMNS:
        cells = frame[name] if name in frame else pandas.Series([""] * len(frame))
        if name in NUMBERS:
            try:
                frame[name] = [float(cell or ("0" if name == "failed" else "nan")) for cell in cells]
            except ValueError as error:
                raise BadData(f"{path}: column {name!r} holds text where a number belongs ({error})") from error
        else:
            frame[name] = [restored(cell) for cell in cells]
    for name in ("shots", "n"):
        if frame[name].isna().any():
            raise BadData(f"{path}: column {name!r} has an empty cell; expected a whole number")
    frame[["shots", "n", "failed"]] = frame[["shots", "n", "failed"]].astype(int)
    return [{str(name): value for name, value in row.items()} for row in frame[list(COLUMNS)].to_dict("records")]
