"""The official files of Flickr30k as a table: captions with the split of Karpathy and Li, and where the images are.

Captions, under ``flickr30k/`` or the root itself, there or in ``flickr30k/`` or ``flickr30k_images/`` in it:

- ``dataset_flickr30k.json``, called ``dataset.json`` in Karpathy's flickr30k.zip
- ``flickr_annotations_30k.csv`` (nlphuji/flickr30k on the hub), an image a row: ``filename``, ``split``, and ``raw``,
  its captions as a JSON list
- ``test.json``, ``validation.json``, ``train.json``: names of images to captions, of which one that names the image is
  none

Images lie in ``flickr30k-images/`` or ``flickr30k_images/``, which Kaggle's archive nests in another of the same name.
Its ``results.csv`` and the authors' ``results_20130124.token`` do not say which image is of which split.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadData
from kosmos_eval.source import Row, Source, images_in, read_json, table
from kosmos_tasks.formats.files import Files
from kosmos_tasks.formats.records import (
    Columns,
    columns,
    csv_rows,
    distinct,
    each,
    listed,
    string,
    text,
)

if TYPE_CHECKING:
    from datasets import Dataset

KARPATHY = {"test": "test", "validation": "val", "train": "train"}
"""Our split to the value of ``split`` in Karpathy's file, in the order in which one is chosen."""
SPLITS = tuple(KARPATHY)
WHOLE = ("dataset_flickr30k.json", "dataset.json", "flickr_annotations_30k.csv")
"""Files with all splits, the first that is there counts."""
SPLITLESS = ("results_20130124.token", "results.csv", "captions.txt")
FOLDERS = ("flickr30k", "Flickr30k")
IMAGES = ("flickr30k-images", "flickr30k_images", "images", "Images")


def splits(source: Source) -> tuple[str, ...]:
    """Return the splits whose captions lie in the source's folder.

    Raises:
        BadData: if there are captions, but nothing that says of which split.
    """
    folder = _folder(source)
    found = tuple(split for split in SPLITS if _file(folder, split).is_file())
    without = next((file for name in SPLITLESS for file in _places(folder, name) if file.is_file()), None)
    if not found and without is not None:
        raise BadData(f"{without} does not say which image is of which split; add {WHOLE[0]} to {folder}")
    return found


def rows(source: Source, split: str) -> Dataset:
    """Return a row per image: ``id`` (the file's name), ``image``, ``captions``; the images may be missing.

    Raises:
        BadData: if an image has no caption or stands twice, or the file is not in an official format.
    """
    folder = _folder(source)
    file, images = _file(folder, split), images_of(source)
    found = distinct(_captioned(file, split), "id", named_by=file)
    bare = next((row["id"] for row in found if not row["captions"]), None)
    if bare is not None:
        raise BadData(f"image {bare} of {file} has no caption; every image needs at least one to be scored against")
    return table((row | {"image": str(images / row["id"])} for row in found), images=["image"])


def shown(source: Source, split: str) -> str:
    """Return the split that demonstrations come from: the training or the validation one, else the same."""
    there = splits(source)
    return next((each for each in ("train", "validation") if each in there and each != split), split)


def images_of(source: Source) -> Path:
    """Return the folder of the images: the first that has any."""
    folder = _folder(source)
    known = [folder / outer / inner for outer in IMAGES for inner in ("", outer)]
    known += [folder / "flickr30k" / name for name in IMAGES]
    return next((place for place in known if images_in(place)), known[0])


def _folder(source: Source) -> Path:
    return source.folder(*FOLDERS)


def _places(folder: Path, name: str) -> list[Path]:
    return [folder / name, *(folder / nested / name for nested in ("flickr30k", *IMAGES[:2]))]


def _file(folder: Path, split: str) -> Path:
    whole = (file for name in WHOLE for file in _places(folder, name) if file.is_file())
    return next(whole, folder / f"{split}.json")


def _captioned(file: Path, split: str) -> Iterator[Row]:
    """Yield names and captions of a split, from any of the files."""
    if file.name in WHOLE:
        for image in _annotated(file) if file.suffix == ".csv" else _karpathy(file):
            if image["split"] == KARPATHY[split]:
                yield {"id": image["filename"], "captions": image["captions"]}
        return
    content = read_json(file)
    if not isinstance(content, dict):
        raise BadData(f"{file} is not in the official format, an object of names and captions; get the file again")
    for name, said in content.items():
        if not isinstance(said, list) or not all(isinstance(caption, str) for caption in said):
            raise BadData(f"image {name} of {file} has {str(said)[:60]!r}; expected a list of captions")
        yield {"id": name, "captions": [caption for caption in said if Path(caption).name != name]}


def _karpathy(file: Path) -> Iterator[Row]:
    wanted: Columns = {"filename": text, "split": string, "sentences": each("raw")}
    for place, entry in enumerate(listed(read_json(file, keys=["images"])["images"], named_by=file)):
        said = columns(entry, wanted, place=f"image {place} of {file}")
        yield said | {"captions": said["sentences"]}


def _annotated(file: Path) -> Iterator[Row]:
    for place, row in csv_rows(file):
        said = columns(row, {"filename": text, "split": string, "raw": _json_texts}, place=place)
        yield said | {"captions": said["raw"]}


def _json_texts(value: str) -> list[str]:
    """Return a cell with a JSON list of texts."""
    expected = ValueError("a JSON list of captions")
    try:
        found = json.loads(value)
    except ValueError as error:
        raise expected from error
    if not isinstance(found, list) or not all(isinstance(said, str) for said in found):
        raise expected
    return found


FILES = Files(FOLDERS, SPLITS, splits, rows, shown)
