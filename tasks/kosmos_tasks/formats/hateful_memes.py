"""The official files of Hateful Memes as a table.

Layout, under ``hateful_memes/`` or the root itself, there or in ``data/``: ``img/``, and a file of JSON lines for each
split. The test files of the first release have no labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadData
from kosmos_eval.source import Source, existing, table
from kosmos_tasks.formats.files import Files
from kosmos_tasks.formats.paths import images_of
from kosmos_tasks.formats.records import Columns, columns, distinct, identity, json_lines, one_of, text

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = ("dev_seen", "dev", "dev_unseen", "test_seen", "test_unseen", "test", "train")
"""The default one first."""
FOLDERS = ("hateful_memes/data", "hateful_memes", "hateful-memes/data", "hateful-memes", "hatefulmemes")


def splits(source: Source) -> list[str]:
    """Return the splits whose files lie in the source's folder."""
    folder = source.folder(*FOLDERS)
    return [split for split in SPLITS if (folder / f"{split}.jsonl").is_file()]


def rows(source: Source, split: str) -> Dataset:
    """Return a row per meme: ``id``, ``image``, ``label`` (1 is hateful).

    Raises:
        BadData: if labels or images are missing, or a row is not in the official format.
    """
    folder = source.folder(*FOLDERS)
    file, images = folder / f"{split}.jsonl", images_of(folder / "img")
    wanted: Columns = {"id": identity, "img": text, "label": one_of(0, 1)}
    read = list(json_lines(file))
    if split.startswith("test") and not any(isinstance(row, dict) and "label" in row for _, row in read):
        problem = f"{file} has no labels, as in the releases that keep them secret"
        raise BadData(f"{problem}; get the file with them, or evaluate another split, such as --split {SPLITS[0]}")
    rows = (columns(row, wanted, place=place) for place, row in read)
    found = distinct(rows, "id", named_by=file)
    names = [Path(row.pop("img")).name for row in found]
    existing(images, names, named_by=file)
    pictures = [{"image": str(images / name)} for name in names]
    return table((row | picture for row, picture in zip(found, pictures, strict=True)), images=["image"])


FILES = Files(FOLDERS, SPLITS, splits, rows)
