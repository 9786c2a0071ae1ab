"""The files of ImageNet (ILSVRC 2012) as a table, and the names of its classes.

Layout, under ``imagenet/`` or the root itself: ``val/WNID/*.JPEG`` and ``train/WNID/*.JPEG``, or all of
``ILSVRC2012_val_*.JPEG`` in ``val/``, ``ILSVRC2012_img_val/`` or the folder itself, with one of these beside them or in
``val/``; ``val/`` and ``train/`` may also lie in ``ILSVRC/Data/CLS-LOC/``, as in Kaggle's archive:

- ``LOC_val_solution.csv`` (Kaggle): ``ILSVRC2012_val_00000001,n01751748 ...``
- ``val.txt`` (Caffe): ``ILSVRC2012_val_00000001.JPEG 65``, counted from 0 in the order of the sorted wnids
- ``imagenet_2012_validation_synset_labels.txt`` (TensorFlow): a wnid a line, in the order of the images
- ``ILSVRC2012_validation_ground_truth.txt`` (the official development kit): a number a line. These are the kit's own
  ILSVRC2012_ID from 1, **not** the order of the wnids (490 there is 65 above), so they need the kit's ``meta.mat``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadData
from kosmos_eval.source import IMAGE_ENDINGS, Row, Source, images_in, packed, table
from kosmos_tasks.formats.files import Files
from kosmos_tasks.formats.records import content

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = ("val", "train")
FLAT = "ILSVRC2012_val_"
FOLDERS = ("imagenet", "imagenet-1k", "imagenet1k", "ilsvrc2012")
KIT = "ILSVRC2012_validation_ground_truth.txt"
TRUTHS = ("LOC_val_solution.csv", "val.txt", "imagenet_2012_validation_synset_labels.txt", KIT)


@cache
def classes() -> Mapping[str, str]:
    """Return wnid to CLIP's name, in the order of the sorted wnids, which is that of the class indices 0..999."""
    lines = (Path(__file__).parents[1] / "data" / "imagenet_names.tsv").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines)


@cache
def names() -> tuple[str, ...]:
    """Return the names in that order."""
    return tuple(classes().values())


def splits(source: Source) -> tuple[str, ...]:
    """Return the splits of which there are images in the source's folder."""
    folder = source.folder(*FOLDERS)
    there = [split for split in SPLITS if _images(folder, split) != folder]
    return tuple(there) if "val" in there or not any(folder.glob(f"{FLAT}*")) else ("val", *there)


def shown(source: Source, split: str) -> str:
    """Return the split that demonstrations come from: the training one where it is unpacked, else the same."""
    images = _images(source.folder(*FOLDERS), "train")
    return "train" if images.name == "train" and any(images.glob("n????????/")) else split


def rows(source: Source, split: str) -> Dataset:
    """Return one row per image: ``id``, ``image``, ``label`` (0..999).

    Raises:
        BadData: if there are no images, or no ground truth that says what flat ones show.
    """
    folder = source.folder(*FOLDERS)
    images = _images(folder, split)
    by_class = sorted(path for path in images.glob("n????????") if path.is_dir())
    flat = [] if by_class else [file for file in images_in(images) if file.name.startswith(FLAT)]
    if not by_class and not flat:
        wanted = f"neither folders named by wnid (n01440764) nor images {FLAT}*.JPEG"
        raise BadData(f"{images} has {wanted}{packed(images)}; `kosmos-eval data imagenet` says which files it reads")
    found = list(_flat(flat, _truth(folder, images)) if flat else _folders(by_class, split))
    if not found:
        raise BadData(f"the folders of {images} hold no images; expected {', '.join(IMAGE_ENDINGS)} in them")
    return table(found, images=["image"])


def _images(folder: Path, split: str) -> Path:
    """Return the folder of a split's images: one of their own, here or as in Kaggle's archive, or this one."""
    names = (split, f"ILSVRC2012_img_{split}", f"ILSVRC/Data/CLS-LOC/{split}")
    place = next((folder / name for name in names if (folder / name).is_dir()), folder)
    nested = place / place.name
    return nested if place != folder and nested.is_dir() else place


def _folders(by_class: list[Path], split: str) -> Iterator[Row]:
    labels = {wnid: label for label, wnid in enumerate(classes())}
    for folder in by_class:
        if folder.name not in labels:
            raise BadData(f"{folder} is of none of the 1,000 classes of ILSVRC 2012; take it out of the folder")
        for file in images_in(folder):
            identity = f"{split}/{folder.name}/{file.stem}"
            yield {"id": identity, "image": str(file), "label": labels[folder.name]}


def _flat(files: list[Path], truth: Path) -> Iterator[Row]:
    labels = _labels(truth)
    for file in files:
        if file.stem not in labels:
            raise BadData(f"{truth} does not say what {file.name} shows; get the whole file")
        yield {"id": f"val/{file.stem}", "image": str(file), "label": labels[file.stem]}


def _truth(folder: Path, images: Path) -> Path:
    places = [place / name for name in TRUTHS for place in (folder, images, folder / "ILSVRC2012_devkit_t12" / "data")]
    there = next((place for place in places if place.is_file()), None)
    if there is None:
        raise BadData(f"{images} has no ground truth for its images; add one of {', '.join(TRUTHS)} to {folder}")
    return there


def _labels(truth: Path) -> dict[str, int]:
    """Return image, such as ``ILSVRC2012_val_00000001``, to its label."""
    label_of: dict[str, int] = {wnid: label for label, wnid in enumerate(classes())}
    if truth.name == KIT:
        label_of = {str(number): label_of[wnid] for number, wnid in _kit(truth.with_name("meta.mat")).items()}
    elif truth.name == "val.txt":
        label_of = {str(label): label for label in label_of.values()}
    found = {}
    for place, line in enumerate(content(truth).split("\n"), start=1):
        if not line.strip() or line.startswith("ImageId"):
            continue
        image, word = _entry(line, place)
        if word not in label_of:
            raise BadData(f"line {place} of {truth} says {word!r}, which names no class; get the file again")
        found[image] = label_of[word]
    return found


def _entry(line: str, place: int) -> tuple[str, str]:
    """Return the image and the class of a line; where only the class stands there, the image is the line's number."""
    words = next(csv.reader([line])) if "," in line else line.split()
    image = words[0].partition(".")[0] if len(words) > 1 else f"ILSVRC2012_val_{place:08d}"
    return image, words[min(1, len(words) - 1)].strip().partition(" ")[0]


def _kit(meta: Path) -> dict[int, str]:
    """Return the development kit's ILSVRC2012_ID to wnid, for the 1,000 classes."""
    from scipy.io import loadmat

    if not meta.is_file():
        raise BadData(f"{KIT} counts in an order of its own; add the development kit's {meta}, or use {TRUTHS[0]}")
    try:
        synsets = loadmat(meta, simplify_cells=True)["synsets"]
        numbers = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}
    except (ValueError, KeyError, TypeError, OSError, NotImplementedError) as error:
        raise BadData(f"{meta} cannot be read ({error}); get the development kit again") from error
    found = {number: wnid for number, wnid in numbers.items() if wnid in classes()}
    if len(found) != len(classes()):
        raise BadData(f"{meta} names {len(found)} of the {len(classes())} classes; get the development kit again")
    return found


FILES = Files(FOLDERS, SPLITS, splits, rows, shown)
