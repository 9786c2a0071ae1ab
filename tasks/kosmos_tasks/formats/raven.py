"""The files of Raven IQ as a table: the IQ50 folders of the paper, and the RAVEN release of Zhang et al.

Layout, under ``raven/`` or the root itself:

- IQ50: ``exp-N/query-1.png .. query-K.png`` and ``exp-N/answer-a.png .. answer-f.png``, there or in ``iq50/`` or the
  like. Where the release keeps its key could not be confirmed; we read ``exp-N/answer.txt``, one letter, or
  ``answers.json`` beside the folders, ``{"exp-N": "c"}``.
- RAVEN: ``CONFIGURATION/RAVEN_N_SPLIT.npz``, there or in the archive's ``RAVEN-10000/``, of which only ``image`` (16 x
  160 x 160 bytes, or of another size: 8 panels and 8 candidates) and ``target`` (0-based) are read, and nothing is ever
  unpickled; I-RAVEN and RAVEN-FAIR have the same files. A file that is broken fails its own puzzle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

from kosmos_eval.errors import BadData
from kosmos_eval.files import regular
from kosmos_eval.prompt import Image
from kosmos_eval.source import Batch, Row, Source, from_hub, read_json, table
from kosmos_tasks.formats.files import Files
from kosmos_tasks.formats.records import content

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = ("iq50", "test", "val", "train")
"""All splits, in the order in which one is chosen where none is asked for; the first is the paper's."""
PANELS = 8
LETTERS = "abcdefgh"
CONFIGURATIONS = (
    "center_single",
    "distribute_four",
    "distribute_nine",
    "in_center_single_out_center_single",
    "in_distribute_four_out_center_single",
    "left_center_single_right_center_single",
    "up_center_single_down_center_single",
)
HUB = "HuggingFaceM4/RAVEN"
IMAGES = ("context", "candidates")
FOLDERS = ("raven", "raven_iq", "raven-10000", "i-raven")


def shown(source: Source, split: str) -> str:
    """Return the split that demonstrations come from: the training one, for the paper's puzzles themselves."""
    return split if split == "iq50" or "train" not in splits(source) else "train"


def splits(source: Source) -> tuple[str, ...]:
    """Return the splits of which a puzzle lies in the source's folder."""
    folder = source.folder(*FOLDERS)
    return tuple(split for split in SPLITS if next(iter(_found(folder, split)), None) is not None)


def rows(source: Source, split: str, configuration: str = "") -> Dataset:
    """Return one row per puzzle: ``id, context, candidates, target, configuration``; RAVEN is read when looked at.

    Raises:
        BadData: if a puzzle is incomplete or has no key.
    """
    folder = source.folder(*FOLDERS)
    if split == "iq50":
        return table(_iq50(_found(folder, split)), images=IMAGES)
    files = [file for file in _found(folder, split) if configuration in ("", file.parent.name)]
    if not files:
        raise BadData(f"{folder} has no configuration {configuration!r} with puzzles of split {split!r}")
    files.sort(key=lambda file: (file.parent.name, _number(file)))
    found = (
        {"id": f"{file.parent.name}/{file.stem}", "file": str(file), "configuration": file.parent.name}
        for file in files
    )
    return table(found).with_transform(_read)


def hub_rows(source: Source, split: str, *, configuration: str) -> Dataset:
    """Return the same columns from the hub, of one configuration or of all."""
    import datasets

    parts = []
    for name in (configuration,) if configuration else CONFIGURATIONS:
        part = from_hub(HUB, source=source, split=split, config=name)
        ids = [f"{name}/{number}" for number in part["id"]]
        part = part.select_columns(["panels", "choices", "target"]).add_column("id", ids)
        parts.append(part.add_column("configuration", [name] * len(part)))
    found = datasets.concatenate_datasets(parts).rename_columns({"panels": "context", "choices": "candidates"})
    for column in IMAGES:
        found = found.cast_column(column, datasets.List(datasets.Image(decode=False)))
    return found


def _found(folder: Path, split: str) -> Iterator[Path]:
    """Yield the files or folders of puzzles, by the first pattern that anything matches."""
    name = "exp-*/" if split == "iq50" else f"*/RAVEN_*_{split}.npz"
    outer = ("", "*[iI][qQ]*/") if split == "iq50" else ("", "*RAVEN*/", "*RAVEN*/*RAVEN*/")
    for each in outer:
        if (first := next(found := folder.glob(each + name), None)) is not None:
            return chain([first], found)
    return iter(())


def _number(path: Path) -> int:
    digits = re.search(r"\d+", path.name)
    return int(digits[0]) if digits else 0


def _iq50(folders: Iterable[Path]) -> Iterator[Row]:
    for folder in sorted(folders, key=_number):
        queries = sorted(folder.glob("query-*.png"), key=_number)
        candidates = sorted(folder.glob("answer-?.png"))
        complete = [_number(query) for query in queries] == list(range(1, len(queries) + 1))
        letters = [candidate.stem[-1] for candidate in candidates]
        if not queries or not complete or len(letters) < 2 or letters != list(LETTERS[: len(letters)]):
            wanted = "query-1.png, query-2.png ... and answer-a.png, answer-b.png ..., none left out"
            raise BadData(f"{folder} is not a whole puzzle; expected {wanted}")
        key = _key(folder)
        if key not in letters:
            raise BadData(f"the key of {folder} is {key!r}; expected one of {', '.join(letters)}")
        yield {
            "id": folder.name,
            "context": [str(query) for query in queries],
            "candidates": [str(candidate) for candidate in candidates],
            "target": letters.index(key),
            "configuration": f"{len(queries)} images",
        }


def _key(folder: Path) -> str:
    """Return the letter of the right candidate."""
    own, common = folder / "answer.txt", folder.parent / "answers.json"
    if own.is_file():
        return content(own).strip().lower()
    if not common.is_file():
        wanted = f"the right letter in {own}, or {common} with {{{folder.name!r}: letter, ...}}"
        raise BadData(f"{folder} has no key that says which candidate is right; expected {wanted}")
    return str(read_json(common, keys=[folder.name])[folder.name]).strip().lower()


def _read(batch: Batch) -> Batch:
    """Return the rows with images and targets of their files; a broken file stands in every place of its images."""
    found: Batch = {"context": [], "candidates": [], "target": []}
    for file in batch.pop("file", ()):
        try:
            cells, target = _puzzle(Path(file))
        except (BadZipFile, KeyError, ValueError, EOFError, OSError, MemoryError):
            cells, target = [{"bytes": None, "path": file}] * 2 * PANELS, 0
        found["context"].append(cells[:PANELS])
        found["candidates"].append(cells[PANELS:])
        found["target"].append(target)
    return {**batch, **found} if found["target"] else batch


def _puzzle(file: Path) -> tuple[list[Row], int]:
    """Return the images of an npz file as cells of PNG bytes, and its target; pickled objects are refused."""
    import PIL.Image
    from numpy.lib.format import read_array

    regular(file)
    with ZipFile(file) as members:
        arrays = {}
        for name in ("image", "target"):
            with members.open(f"{name}.npy") as member:
                arrays[name] = read_array(member, allow_pickle=False)
    target = int(arrays["target"])
    if not 0 <= target < PANELS:
        raise ValueError(f"target {target}")
    pixels = arrays["image"]
    count, height, width = pixels.shape
    if count != 2 * PANELS or height != width or pixels.dtype != "uint8":
        raise ValueError(f"images of shape {pixels.shape} and type {pixels.dtype}")
    cells = [{"bytes": Image.drawn(PIL.Image.fromarray(panel)).encoded(), "path": None} for panel in pixels]
    return cells, target


FILES = Files(FOLDERS, SPLITS, splits, rows, shown)
