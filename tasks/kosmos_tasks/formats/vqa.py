"""The official files of VQA v2 as a table: questions, annotations and the images of COCO (visualqa.org/download).

Layout, under ``vqav2/`` or the root itself: ``v2_OpenEnded_mscoco_SPLIT_questions.json`` and
``v2_mscoco_SPLIT_annotations.json``, there or in folders of any name (``Questions/``, ``Annotations/``), and
``train2014/ val2014/ test2015/``, there, in ``images/`` or among the images of COCO under the same root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadData
from kosmos_eval.source import Row, Source, read_json, table
from kosmos_tasks.formats import coco
from kosmos_tasks.formats.files import Files
from kosmos_tasks.formats.paths import file_of, has_images
from kosmos_tasks.formats.records import (
    Columns,
    columns,
    distinct,
    each,
    listed,
    number,
    string,
    text,
)

if TYPE_CHECKING:
    from datasets import Dataset

IMAGES = {"val2014": "val2014", "train2014": "train2014", "test-dev2015": "test2015", "test2015": "test2015"}
"""Split to the folder of its images, in the order in which a split is chosen where none is asked for."""
ANSWERED = ("train2014", "val2014")
"""Splits whose answers are public, those for demonstrations first."""
FOLDERS = ("vqav2", "vqa_v2", "vqa2", "vqa")


def splits(source: Source) -> tuple[str, ...]:
    """Return the splits whose question file lies in the source's folder."""
    folder = source.folder(*FOLDERS)
    return tuple(split for split in IMAGES if _questions(folder, split).is_file())


def shown(source: Source, split: str) -> str | None:
    """Return the split that demonstrations come from: another one with answers and images, else itself or none."""
    folder, there = source.folder(*FOLDERS), splits(source)
    found = [each for each in ANSWERED if each in there and _has_images(source, folder, IMAGES[each])]
    return next((each for each in found if each != split), split if split in found else None)


def rows(source: Source, split: str) -> Dataset:
    """Return one row per question: ``id, image, image_id, question, answers, answer_type, multiple_choice_answer``.

    Splits without public answers have none in their rows.

    Raises:
        BadData: if annotations or images are missing, or a file is not in the official format.
    """
    folder = source.folder(*FOLDERS)
    file = _questions(folder, split)
    annotations = _annotations(folder, split) if split in ANSWERED else None
    picture = coco.pictures(_pictured(source, folder, IMAGES[split]), IMAGES[split])
    found = distinct(_joined(file, annotations, picture), "question_id", named_by=file)
    coco.present(found, named_by=file)
    return table(found, images=["image"]).rename_column("question_id", "id")


def _joined(file: Path, annotations: Mapping[int, Row] | None, picture: Callable[[int], Path]) -> Iterator[Row]:
    wanted: Columns = {"question_id": number, "image_id": number, "question": text}
    for place, question in enumerate(listed(read_json(file, keys=["questions"])["questions"], named_by=file)):
        said = columns(question, wanted, place=f"question {place} of {file}")
        if annotations is not None and said["question_id"] not in annotations:
            problem = f"question {place} of {file}, {said['question_id']}, has no annotation"
            raise BadData(f"{problem}; expected the official VQA v2 files of one split, complete")
        known = {"answers": [], "answer_type": "", "multiple_choice_answer": ""}
        image = str(picture(said["image_id"]))
        yield said | {"image": image} | (known if annotations is None else annotations[said["question_id"]])


def _annotations(folder: Path, split: str) -> dict[int, Row]:
    """Return the annotations by the ids of their questions."""
    name = f"v2_mscoco_{split}_annotations.json"
    file = file_of(folder, name, f"*/{name}")
    if not file.is_file():
        raise BadData(f"{_questions(folder, split).name} is there without its annotations; add {file}")
    wanted: Columns = {
        "question_id": number,
        "answers": each("answer"),
        "answer_type": string,
        "multiple_choice_answer": string,
    }
    entries = listed(read_json(file, keys=["annotations"])["annotations"], named_by=file)
    found = (columns(said, wanted, place=f"annotation {place} of {file}") for place, said in enumerate(entries))
    return {said["question_id"]: said for said in found}


def _questions(folder: Path, split: str) -> Path:
    name = f"v2_OpenEnded_mscoco_{split}_questions.json"
    return file_of(folder, name, f"*/{name}")


def _has_images(source: Source, folder: Path, name: str) -> bool:
    place = _pictured(source, folder, name)
    names = [name] if coco.images(place, name).is_dir() else ["val2017", "train2017"]
    return all(has_images(coco.images(place, each)) for each in names)


def _pictured(source: Source, folder: Path, name: str) -> Path:
    """Return the parent of the folders of images: that of the questions, or that of COCO under the same root."""
    shared = source.folder(*coco.FOLDERS)
    own = coco.images(folder, name).is_dir()
    return folder if own or shared == source.root else shared


FILES = Files(FOLDERS, tuple(IMAGES), splits, rows, shown)
