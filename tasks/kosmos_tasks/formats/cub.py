"""Pairs of categories with descriptions and folders of images: a user's ``groups.json``, or the paper's pair of CUB."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadData
from kosmos_eval.source import Row, Source, images_in, packed, read_json, table
from kosmos_tasks.formats.files import Files
from kosmos_tasks.formats.records import columns, distinct, listed, text

if TYPE_CHECKING:
    from datasets import Dataset

WOODPECKERS = {
    "kind": "woodpecker",
    "categories": [
        {
            "name": "three toed",
            "description": "It has black and white stripes throughout the body and a yellow crown.",
            "images": "American_Three_toed_Woodpecker",
        },
        {
            "name": "downy",
            "description": "It has white spots on its black wings and some red on its crown.",
            "images": "Downy_Woodpecker",
        },
    ],
}
"""The first pair of the paper, as its Figure 6 shows it."""
FOLDERS = ("cub_descriptions", "cub", "cub_200_2011", "cub-200-2011", "cub2002011")


def rows(source: Source, split: str, *, images: int) -> Dataset:
    """Return a row per picture: ``id, image, kind, names, descriptions, target``.

    Raises:
        BadData: if ``groups.json`` is not of the expected form, or a category has no images or stands twice.
    """
    folder = source.folder(*FOLDERS)
    return table(distinct(_pictured(folder, images), "id", named_by=folder / "groups.json"), images=["image"])


def _pictured(folder: Path, images: int) -> Iterator[Row]:
    file = folder / "groups.json"
    groups = listed(read_json(file), named_by=file) if file.is_file() else [WOODPECKERS]
    for number, group in enumerate(groups, start=1):
        said = columns(group, {"kind": text, "categories": _pair}, place=f"group {number} of {file}")
        kind, categories = said["kind"], said["categories"]
        shared = {
            "kind": kind,
            "names": [category["name"] for category in categories],
            "descriptions": [category["description"] for category in categories],
        }
        for target, category in enumerate(categories):
            for picture in _pictures(folder, category["images"], images):
                id = f"{kind}/{category['name']}/{picture.stem}"
                yield {"id": id, "image": str(picture), **shared, "target": target}


def _pair(value: object) -> list[Row]:
    if not isinstance(value, Sequence) or len(value) != 2:
        raise ValueError("two categories")
    wanted = {"name": text, "description": text, "images": text}
    return [columns(category, wanted, place=json.dumps(category)[:80]) for category in value]


def _pictures(folder: Path, name: str, most: int) -> list[Path]:
    """Return the first pictures of a category's folder, with or without CUB's number, here or in its ``images/``."""
    nested = folder / "CUB_200_2011"
    for parent in (folder, folder / "images", nested / "images", nested / nested.name / "images"):
        for found in (parent / name, *sorted(parent.glob(f"[0-9][0-9][0-9].{name}"))):
            if pictures := images_in(found):
                return pictures[:most]
    problem = f"{folder} has no folder {name} with images, nor images/{name}{packed(folder)}"
    raise BadData(f"{problem}; expected one for each category")


FILES = Files(FOLDERS, ("test",), lambda source: ("test",), rows)
