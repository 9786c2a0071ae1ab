"""The official files of COCO captions as a table: the yearly releases (cocodataset.org), the split of Karpathy and Li.

Layout, under ``coco/`` or the root itself: ``annotations/captions_{train,val}{2014,2017}.json``, ``dataset_coco.json``
(there or in ``annotations/``), and a folder of images for each of ``train2014 val2014 train2017 val2017`` (there or in
``images/``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import BadData
from kosmos_eval.source import Source, existing, read_json, table
from kosmos_tasks.records import Columns, Row, columns, each, identity, string, text

if TYPE_CHECKING:
    from datasets import Dataset

KARPATHY = {"test": ("test",), "val": ("val",), "train": ("train", "restval")}
"""Our split to the values of ``split`` in Karpathy's file; its ``restval`` is used for training, as is usual."""
SPLITS = ("test", "val2017", "val2014", "val", "train", "train2017", "train2014")
"""All splits, in the order in which one is chosen where none is asked for."""
TRAINING = {"test": "train", "val": "train", "val2017": "train2017", "val2014": "train2014"}
"""Split to the one that its demonstrations come from."""


def splits(source: Source) -> tuple[str, ...]:
    """The splits whose annotations lie in the source's folder."""
    folder = source.folder("coco")
    return tuple(split for split in SPLITS if _annotations(folder, split).is_file())


@lru_cache(maxsize=8)
def rows(source: Source, split: str) -> Dataset:
    """One row per image: ``id`` (the official image id), ``image``, ``captions``.

    Raises:
        BadData: if images are missing, or the file is not in the official format.
    """
    folder = source.folder("coco")
    file = _annotations(folder, split)
    found = list(_karpathy(file, split, folder) if split in KARPATHY else _yearly(file, split, folder))
    if not found:
        raise BadData(f"{file} has no image of split {split!r}; get the file again")
    bare = next((row["id"] for row in found if not row["captions"]), None)
    if bare is not None:
        raise BadData(f"image {bare} of {file} has no caption; every image needs at least one to be scored against")
    _check(found, named_by=file)
    return table(found, images=["image"])


def _yearly(file: Path, split: str, folder: Path) -> Iterator[Row]:
    content = read_json(file, keys=["images", "annotations"])
    wanted: Columns = {"id": identity, "file_name": text}
    images = [columns(image, wanted, place=place) for place, image in _entries(content, "images", file)]
    captions: dict[str, list[str]] = {image["id"]: [] for image in images}
    for place, annotation in _entries(content, "annotations", file):
        said = columns(annotation, {"image_id": identity, "caption": string}, place=place)
        if said["image_id"] not in captions:
            stray = f"{place} is of image {said['image_id']}"
            raise BadData(f"{stray}, which is not among its images; get the official file again")
        captions[said["image_id"]].append(said["caption"])
    parent = _images(folder, split)
    for image in images:
        yield {"id": image["id"], "image": str(parent / image["file_name"]), "captions": captions[image["id"]]}


def _karpathy(file: Path, split: str, folder: Path) -> Iterator[Row]:
    wanted: Columns = {
        "cocoid": identity,
        "filepath": text,
        "filename": text,
        "split": string,
        "sentences": each("raw"),
    }
    for place, entry in _entries(read_json(file, keys=["images"]), "images", file):
        image = columns(entry, wanted, place=place)
        if image["split"] in KARPATHY[split]:
            path = _images(folder, image["filepath"]) / image["filename"]
            yield {"id": image["cocoid"], "image": str(path), "captions": image["sentences"]}


def _entries(content: Mapping[str, Any], key: str, file: Path) -> Iterator[tuple[str, Any]]:
    """The entries of a list in a file, each with its place in words."""
    if not isinstance(content[key], list):
        raise BadData(f"{file} has {key!r} {str(content[key])[:60]!r}; expected a list")
    return ((f"{key[:-1]} {place} of {file}", entry) for place, entry in enumerate(content[key]))


def _check(found: Iterable[Row], *, named_by: Path) -> None:
    """Make sure that every image is there, and each only once."""
    by_folder: dict[Path, list[str]] = {}
    seen: set[str] = set()
    for row in found:
        path = Path(row["image"])
        by_folder.setdefault(path.parent, []).append(path.name)
        if row["id"] in seen:
            raise BadData(f"image {row['id']} stands twice in {named_by}; get the official file again")
        seen.add(row["id"])
    for images, names in by_folder.items():
        existing(images, names, named_by=named_by)


def _annotations(folder: Path, split: str) -> Path:
    if split not in KARPATHY:
        return folder / "annotations" / f"captions_{split}.json"
    beside = folder / "dataset_coco.json"
    return beside if beside.is_file() else folder / "annotations" / beside.name


@lru_cache
def _images(folder: Path, name: str) -> Path:
    nested = folder / "images" / name
    return nested if nested.is_dir() else folder / name
