"""The official files of COCO captions as a table: the yearly releases (cocodataset.org), the split of Karpathy and Li.

Layout, under ``coco/`` or the root itself: ``annotations/captions_{train,val}{2014,2017}.json``, ``dataset_coco.json``
(there, in ``annotations/`` or ``caption_datasets/``; ``dataset.json`` in Karpathy's coco.zip), and a folder of images
for each of ``train2014 val2014 train2017 val2017`` (there or in ``images/``). The images of 2017 are those of 2014,
split in another way and named by their number alone; where they alone are there, they serve for both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadData
from kosmos_eval.source import Row, Source, existing, images_in, read_json, table
from kosmos_tasks.formats.files import Files
from kosmos_tasks.formats.paths import file_of, has_images, images_of
from kosmos_tasks.formats.records import (
    Columns,
    columns,
    each,
    identity,
    one_of,
    string,
    text,
)

if TYPE_CHECKING:
    from datasets import Dataset

KARPATHY = {"test": ("test",), "val": ("val",), "train": ("train", "restval")}
"""Our split to the values of ``split`` in Karpathy's file; its ``restval`` is used for training, as is usual."""
SPLITS = ("test", "val2017", "val2014", "val", "train", "train2017", "train2014")
"""All splits, in the order in which one is chosen where none is asked for."""
TRAINING = {"test": "train", "val": "train", "val2017": "train2017", "val2014": "train2014"}
"""Split to the one that its demonstrations come from."""
OF_2014 = ("train2014", "val2014")
FOLDERS = ("coco", "mscoco", "ms_coco", "coco2017", "coco2014")


def splits(source: Source) -> tuple[str, ...]:
    """Return the splits whose annotations lie in the source's folder, those whose images are there first."""
    folder = source.folder(*FOLDERS)
    there = [split for split in SPLITS if _annotations(folder, split).is_file()]
    return tuple(sorted(there, key=lambda split: not _pictured(folder, split)))


def shown(source: Source, split: str) -> str:
    """Return the split that demonstrations come from: the matching training one where it is there, else the same."""
    wanted, folder = TRAINING.get(split, split), source.folder(*FOLDERS)
    return wanted if _annotations(folder, wanted).is_file() and _pictured(folder, wanted) else split


def rows(source: Source, split: str) -> Dataset:
    """Return one row per image: ``id`` (the official image id), ``image``, ``captions``.

    Raises:
        BadData: if images are missing, or the file is not in the official format.
    """
    folder = source.folder(*FOLDERS)
    file = _annotations(folder, split)
    found = list(_karpathy(file, split, folder) if split in KARPATHY else _yearly(file, split, folder))
    if not found:
        raise BadData(f"{file} has no image of split {split!r}; get the file again")
    bare = next((row["id"] for row in found if not row["captions"]), None)
    if bare is not None:
        raise BadData(f"image {bare} of {file} has no caption; every image needs at least one to be scored against")
    repeated = next((id for id, count in Counter(row["id"] for row in found).items() if count > 1), None)
    if repeated is not None:
        raise BadData(f"image {repeated} stands twice in {file}; get the official file again")
    present(found, named_by=file)
    return table(found, images=["image"])


def _yearly(file: Path, split: str, folder: Path) -> Iterator[Row]:
    content = read_json(file, keys=["images", "annotations"])
    wanted: Columns = {"id": identity, "file_name": text}
    listed = [columns(image, wanted, place=place) for place, image in _entries(content, "images", file)]
    captions: dict[str, list[str]] = {image["id"]: [] for image in listed}
    for place, annotation in _entries(content, "annotations", file):
        said = columns(annotation, {"image_id": identity, "caption": string}, place=place)
        if said["image_id"] not in captions:
            stray = f"{place} is of image {said['image_id']}"
            raise BadData(f"{stray}, which is not among its images; get the official file again")
        captions[said["image_id"]].append(said["caption"])
    parent = images(folder, split)
    for image in listed:
        yield {"id": image["id"], "image": str(parent / image["file_name"]), "captions": captions[image["id"]]}


def _karpathy(file: Path, split: str, folder: Path) -> Iterator[Row]:
    wanted: Columns = {"cocoid": identity, "filepath": one_of(*OF_2014), "split": string, "sentences": each("raw")}
    picture = {name: pictures(folder, name) for name in OF_2014}
    for place, entry in _entries(read_json(file, keys=["images"]), "images", file):
        image = columns(entry, wanted, place=place)
        if image["split"] in KARPATHY[split]:
            path = picture[image["filepath"]](image["cocoid"])
            yield {"id": image["cocoid"], "image": str(path), "captions": image["sentences"]}


def _entries(content: Row, key: str, file: Path) -> Iterator[tuple[str, object]]:
    """Yield the entries of a list in a file, each with its place in words."""
    if not isinstance(content[key], list):
        raise BadData(f"{file} has {key!r} {str(content[key])[:60]!r}; expected a list")
    return ((f"{key[:-1]} {place} of {file}", entry) for place, entry in enumerate(content[key]))


def pictures(folder: Path, split: str) -> Callable[[str | int], Path]:
    """Return a function from the number of an image to its path; copies of 2017 stand in for images of 2014."""
    own = images(folder, split)
    copies: dict[str, Path] = {}
    if split in OF_2014 and not own.is_dir():
        copies = {file.name: file for name in ("val2017", "train2017") for file in images_in(images(folder, name))}
    return lambda number: copies.get(f"{int(number):012d}.jpg") or own / f"COCO_{split}_{int(number):012d}.jpg"


def present(found: Iterable[Row], *, named_by: Path) -> None:
    """Make sure that every image is there.

    Raises:
        BadData: naming the first one that is not.
    """
    by_folder: dict[Path, list[str]] = {}
    for row in found:
        path = Path(row["image"])
        by_folder.setdefault(path.parent, []).append(path.name)
    for place, names in by_folder.items():
        existing(place, names, named_by=named_by)


def images(folder: Path, name: str) -> Path:
    """Return the folder of a release's images, such as ``val2014``."""
    return images_of(folder / name, folder / "images" / name, folder / "Images" / name, folder / "Images/mscoco" / name)


def _pictured(folder: Path, split: str) -> bool:
    """Return whether a split has images: those of its name, for Karpathy's those of the releases that it is made of."""
    needed = {"train": OF_2014}.get(split, ("val2014",)) if split in KARPATHY else (split,)
    names = needed if split == needed[0] or images(folder, needed[0]).is_dir() else ("val2017", "train2017")
    return all(has_images(images(folder, name)) for name in names)


def _annotations(folder: Path, split: str) -> Path:
    if split in KARPATHY:
        places = ("", "annotations/", "caption_datasets/", "coco/")
        return file_of(folder, *(place + name for name in ("dataset_coco.json", "dataset.json") for place in places))
    name = f"captions_{split}.json"
    return file_of(folder, f"annotations/{name}", name, f"*/{name}", f"*/annotations/{name}")


FILES = Files(FOLDERS, SPLITS, splits, rows, shown)
