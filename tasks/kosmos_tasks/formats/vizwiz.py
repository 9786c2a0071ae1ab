"""The official files of VizWiz-VQA as a table, in the challenge's own format or in that of VQA.

Layout, under ``vizwiz/`` or the root itself: ``{val,train,test}.json``, there or in ``Annotations/``, and the images in
``val/``, ``train/``, ``test/``, there or in ``images/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadData
from kosmos_eval.source import Row, Source, existing, read_json, table
from kosmos_tasks.formats.files import Files
from kosmos_tasks.formats.paths import file_of, has_images, images_of
from kosmos_tasks.formats.records import (
    Columns,
    columns,
    distinct,
    each,
    identity,
    listed,
    string,
    text,
)

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = ("val", "train", "test")
"""In the order in which one is chosen where none is asked for; the answers of the last are not public."""
FOLDERS = ("vizwiz", "vizwiz_vqa", "vizwiz-vqa")


def splits(source: Source) -> tuple[str, ...]:
    """Return the splits whose questions lie in the source's folder."""
    folder = source.folder(*FOLDERS)
    return tuple(split for split in SPLITS if _questions(folder, split).is_file())


def shown(source: Source, split: str) -> str | None:
    """Return the split that demonstrations come from: another one with answers and images, else itself or none."""
    folder, there = source.folder(*FOLDERS), splits(source)
    found = [each for each in ("train", "val") if each in there and has_images(_images(folder, each))]
    return next((each for each in found if each != split), split if split in found else None)


def rows(source: Source, split: str) -> Dataset:
    """Return one row per question: ``id, image, image_id, question, answers, answer_type``.

    Splits without public answers have none in their rows.

    Raises:
        BadData: if images or answers are missing, or a file is not in an official format.
    """
    folder = source.folder(*FOLDERS)
    file, images = _questions(folder, split), _images(folder, split)
    found = distinct(_rows(file, split), "question_id", named_by=file)
    existing(images, (row["image_id"] for row in found), named_by=file)
    rows = ({**row, "image": str(images / row["image_id"])} for row in found)
    return table(rows, images=["image"]).rename_column("question_id", "id")


def _rows(file: Path, split: str) -> Iterator[Row]:
    content = read_json(file)
    known: Columns = {} if split == "test" else {"answers": each("answer"), "answer_type": string}
    bare = {"answers": [], "answer_type": ""}
    if not isinstance(content, dict):
        for place, entry in enumerate(listed(content, named_by=file)):
            said = columns(entry, {"image": text, "question": text, **known}, place=f"question {place} of {file}")
            name = said.pop("image")
            yield {"question_id": Path(name).stem, "image_id": name, **bare, **said}
        return
    annotations = _annotations(file, split) if known else {}
    wanted: Columns = {"question_id": identity, "image_id": text, "question": text}
    for place, entry in enumerate(listed(content.get("questions"), named_by=file)):
        said = columns(entry, wanted, place=f"question {place} of {file}")
        if known and said["question_id"] not in annotations:
            problem = f"question {place} of {file}, {said['question_id']}, has no annotation"
            raise BadData(f"{problem}; expected the official VizWiz files of one split, complete")
        yield said | (annotations[said["question_id"]] if known else bare)


def _annotations(file: Path, split: str) -> dict[str, Row]:
    """Return answers and their type by the ids of the questions, in the format of VQA."""
    beside = file.with_name(f"{split}_annotations_vqa_format.json")
    if not beside.is_file():
        raise BadData(f"{file.name} is there without its annotations; add {beside}")
    wanted: Columns = {"question_id": identity, "answers": each("answer"), "question_type": string}
    entries = listed(read_json(beside, keys=["annotations"])["annotations"], named_by=beside)
    found = (columns(said, wanted, place=f"annotation {place} of {beside}") for place, said in enumerate(entries))
    return {said["question_id"]: {"answers": said["answers"], "answer_type": said["question_type"]} for said in found}


def _questions(folder: Path, split: str) -> Path:
    """Return the file of the challenge, or the one in the format of VQA."""
    places = ("", "Annotations/", "annotations/", "Annotations/Annotations/")
    return file_of(folder, *(f"{place}{split}{end}.json" for end in ("", "_questions_vqa_format") for place in places))


def _images(folder: Path, split: str) -> Path:
    return images_of(folder / split, folder / "images" / split, folder / "Images" / split)


FILES = Files(FOLDERS, SPLITS, splits, rows, shown)
