"""Runs side by side in one CSV file, in which only what is comparable is ranked.

Rows of one task, number of shots, variant and metric are comparable where they asked the same prompts of the same
samples with the same task options. A row's rank is one more than the number of comparable rows that are surely better,
which is to say whose interval lies wholly above its own: rows whose intervals overlap tie.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import BadData, RunError
from kosmos_eval.evaluation.run_config import Manifest
from kosmos_eval.evaluation.run_folder import SCORES, RunFolder, load_folder
from kosmos_eval.evaluation.variant import SettingKey, Variant
from kosmos_eval.files import Json, inert, restored, write_text

if TYPE_CHECKING:
    from pandas import DataFrame

GAIN = ("image_gain", "image_gain_low", "image_gain_high")
NUMBERS = ("shots", "score", "low", "high", "n", "failed", "chance", *GAIN)
ORIGIN = ("data", "options", "split", "limit", "seed", "version", "date", "model_fingerprint", "run")
"""Columns that say where a row comes from: ``data`` is a digest of ids and prompts, ``options`` one of the task's."""

PLACE = ("task", "shots", "variant", "metric")
"""Rows that agree in these stand in one table."""

COLUMNS = (
    *("rank", "status", "model", *PLACE, "score", "low", "high", "unit", "n", "failed", "chance", *GAIN),
    *("headline", "note", *ORIGIN),
)
SAME = ("model", "model_fingerprint", *PLACE, "options", "split", "limit", "seed")
"""Rows that agree in these are one row made again: the later replaces the earlier."""


def update(board: Path, sources: Sequence[Path]) -> DataFrame:
    """Merge runs into a leaderboard; other processes that write to it wait for their turn.

    Args:
        board: the CSV file, made if need be and replaced as a whole.
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
            write_text(board, neutral(frame).to_csv(index=False))
    except Timeout as error:
        raise RunError(f"{board} is locked by another process for a minute; try again when it is done") from error
    except OSError as error:
        raise RunError(f"cannot write {board}: {error.strerror or error}; choose another --out") from error
    return frame


def rows(source: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's folder, with where they come from; of a lone CSV file that much is unknown.

    Raises:
        KosmosEvalError: if there are no scores to read.
    """
    if source.is_dir():
        manifest, run = load_folder(source)
        scores = source / SCORES
        if not scores.exists():
            raise RunError(f"{source} has no scores.csv yet; finish the run with the command that began it")
        found = _table(scores)
        for row in found:
            row |= {**_origin(manifest, run, row)} | {"run": source.resolve().name}
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
    """Return digests of the data and options that most rows of known origin share, or else the most samples."""
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


def _origin(manifest: Manifest, run: RunFolder, row: Json) -> Json:
    """Return where a row of a run comes from."""
    config = manifest.config
    options = dict(config.tasks.get(row["task"], {}))
    source = dict(options.pop("source", None) or {})
    key = SettingKey(row["task"], int(row["shots"]), Variant.parse(row["variant"]))
    return {
        "status": "" if manifest.finished else "unfinished",
        "model": manifest.model_name,
        "data": prompt_digest(manifest, run, key),
        "options": sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:16],
        "split": " ".join(
            str(part) for part in (source.get("kind"), source.get("split"), source.get("revision")) if part
        ),
        "limit": "" if config.limit is None else str(config.limit),
        "seed": str(config.seed),
        "version": manifest.environment.versions.get("kosmos-eval", ""),
        "date": manifest.finished or manifest.started,
        "model_fingerprint": config.model_fingerprint[:16],
    }


def prompt_digest(manifest: Manifest, run: RunFolder, key: SettingKey) -> str:
    """Return 16 hex digits over the ids and prompts of a row; none where prompts were not recorded.

    A mean over prompts or draws has those of all that it is the mean of. The prompts of external answers are unknown:
    they compare with each other, by their ids, and with no run.
    """
    external, mean = manifest.config.kind == "answers", key.variant
    wanted = replace(mean, prompts=None, seeds=None)
    lines = []
    for other, records in run.records.items():
        variant = other.variant
        if mean.prompts is not None:
            variant = variant.without("prompt")
        if mean.seeds is not None:
            variant = variant.without("seed")
        if (other.task, other.shots, variant) != (key.task, key.shots, wanted):
            continue
        prefix = f"{other.variant} " if mean.prompts is not None or mean.seeds is not None else ""
        lines += [f"{prefix}{record.id} {'external' if external else record.prompt}" for record in records.values()]
    if not lines or all(line.endswith(" ") for line in lines):
        return ""
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


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
    if "added" in frame or ("split" in frame and any(cell.split(" ")[0] == "mini" for cell in frame["split"])):
        raise BadData(f"{path} was written by an earlier version of this program; make it again from its runs")
    missing = [name for name in ("task", "shots", "metric", "score", "n") if name not in frame]
    if missing:
        raise BadData(f"{path} has no column {missing[0]!r}; expected the columns of a scores.csv")
    frame = frame.reindex(columns=list(COLUMNS), fill_value="").replace({"failed": {"": "0"}})
    for name in COLUMNS:
        if name in ("shots", "n") and "" in list(frame[name]):
            raise BadData(f"{path}: column {name!r} has an empty cell; expected a whole number")
        try:
            frame[name] = [float(cell or "nan") if name in NUMBERS else restored(cell) for cell in frame[name]]
        except ValueError as error:
            raise BadData(f"{path}: column {name!r} holds text where a number belongs ({error})") from error
    whole = frame.astype(dict.fromkeys(("shots", "n", "failed"), int))
    return [{str(name): value for name, value in row.items()} for row in whole.to_dict("records")]
