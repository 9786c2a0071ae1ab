"""The official files of VQA v2 as a table: questions, annotations and the images of COCO (visualqa.org/download)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadData
from kosmos_eval.source import Source, existing, read_json, table
from kosmos_tasks.records import Columns, Row, columns, distinct, each, listed, number, some, string, text

if TYPE_CHECKING:
    from datasets import Dataset

IMAGES = {"val2014": "val2014", "train2014": "train2014", "test-dev2015": "test2015", "test2015": "test2015"}
"""Split to the folder of its images, in the order in which a split is chosen where none is asked for."""
ANSWERED = ("train2014", "val2014")
"""Splits whose answers are public, those for demonstrations first."""


def splits(source: Source) -> tuple[str, ...]:
    """The splits whose question file lies in the source's folder."""
    folder = source.folder("vqav2", "VQAv2")
    return tuple(split for split in IMAGES if _questions(folder, split).is_file())


@lru_cache(maxsize=8)
def rows(source: Source, split: str) -> Dataset:
    """One row per question: ``question_id, image, image_id, question, answers, answer_type, multiple_choice_answer``.

    Splits without public answers have none in their rows.

    Raises:
        BadData: if annotations or images are missing, or a file is not in the official format.
    """
    folder = source.folder("vqav2", "VQAv2")
    file, images = _questions(folder, split), _images(folder, IMAGES[split])
    annotations = _annotations(folder, split) if split in ANSWERED else None
    questions = distinct(_joined(file, annotations, images=images), "question_id", named_by=file)
    found = some(questions, named_by=file)
    existing(images, (Path(row["image"]).name for row in found), named_by=file)
    return table(found, images=["image"])


def _joined(file: Path, annotations: Mapping[int, Row] | None, *, images: Path) -> Iterator[Row]:
    wanted: Columns = {"question_id": number, "image_id": number, "question": text}
    for place, question in enumerate(listed(read_json(file, keys=["questions"])["questions"], named_by=file)):
        said = columns(question, wanted, place=f"question {place} of {file}")
        if annotations is not None and said["question_id"] not in annotations:
            problem = f"question {place} of {file}, {said['question_id']}, has no annotation"
            raise BadData(f"{problem}; expected the official VQA v2 files of one split, complete")
        known = {"answers": [], "answer_type": "", "multiple_choice_answer": ""}
        image = str(images / f"COCO_{images.name}_{said['image_id']:012d}.jpg")
        yield said | {"image": image} | (known if annotations is None else annotations[said["question_id"]])


def _annotations(folder: Path, split: str) -> dict[int, Row]:
    """The annotations by the ids of their questions."""
    file = folder / f"v2_mscoco_{split}_annotations.json"
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
    return folder / f"v2_OpenEnded_mscoco_{split}_questions.json"


def _images(folder: Path, name: str) -> Path:
    """Beside the questions, or among the images of COCO under the same root."""
    shared = folder.parent / "coco" / name
    return shared if shared.is_dir() and not (folder / name).is_dir() else folder / name
