"""Corpora: what the rows of shards mean, as texts and as prompts of text and images (KOSMOS-1 section 3.1).

A recipe names one of these functions as a dataset's ``source`` beside its ``paths``: ``text``, ``pairs``, ``mmc4``,
``obelics``, or ``package.module:function`` of one's own. Columns are found by the names that public data sets give
them, or by ``columns = {text = "content"}``. Images are bytes in the row, or files under ``images``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from kosmos_eval.errors import BadData
from kosmos_eval.files import Json
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.sample import Sample
from kosmos_eval.source import IMAGE_ENDINGS

Item = str | Prompt | Sequence[Sample]


@dataclass(frozen=True)
class Place:
    """The place of the images that rows name, and the names of columns.

    Args:
        images: the folder that names of image files are relative to; None for the working directory.
        columns: what a column is called here, where it has none of the usual names.
    """

    images: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def value(self, row: Json, column: str, *usual: str) -> Any:
        """Return the value of a column.

        Raises:
            BadData: if the row has none.
        """
        names = (self.columns[column],) if column in self.columns else usual
        for name in names:
            if row.get(name) is not None:
                return row[name]
        raise BadData(f"no column {' or '.join(names)} among {', '.join(map(str, row)) or 'none'}")

    def image(self, value: object) -> Image:
        """Return an image from its bytes, from a ``{"bytes", "path"}`` cell, or from its name under ``images``.

        A URL stands for the file that is called by the sha256 of the URL in hex, with the ending of an image or none.
        Whether the file is there is not asked: `without_missing` does.

        Raises:
            BadData: if it is none of these.
        """
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return Image(value)
        if not isinstance(value, str) or not value:
            raise BadData(f"an image is {type(value).__name__}; expected bytes, a path or a cell of both")
        folder = self.images or Path()
        if not value.startswith(("http://", "https://")):
            return Image(folder / value)
        stem = folder / sha256(value.encode()).hexdigest()
        files = (stem.with_suffix(ending) for ending in IMAGE_ENDINGS)
        return Image(next((file for file in files if file.is_file()), stem))


Reading = Callable[[Json, Place], Item]


def text(row: Json, place: Place) -> str:
    """Return a text corpus: the Pile and what is like it (``text``), RedPajama (``raw_content``)."""
    found = place.value(row, "text", "text", "content", "raw_content", "txt")
    if not isinstance(found, str) or not found.strip():
        raise BadData("the text is empty" if isinstance(found, str) else f"the text is {type(found).__name__}")
    return found.strip()


def pairs(row: Json, place: Place) -> Prompt:
    """Return an image and its caption: WebDataset samples, tables with bytes or names of images, COCO captions.

    img2dataset's ``files`` have their images under ``images`` as ``SHARD/KEY.jpg``; rows that it could not download
    say so in ``status``.
    """
    if row.get("status", "success") != "success":
        raise BadData(f"not downloaded: {row.get('error_message') or row['status']}")
    if "caption" not in place.columns and "txt" not in row and isinstance(row.get("json"), bytes):
        row = {**_object(row["json"]), **row}
    caption = place.value(row, "caption", "txt", "caption", "text", "TEXT")
    if isinstance(caption, bytes):
        caption = caption.decode("utf-8", "replace")
    if not isinstance(caption, str) or not caption.strip():
        raise BadData("the caption is empty")
    endings = [ending[1:] for ending in IMAGE_ENDINGS]
    keyed = {"key": f"{str(row['key'])[:5]}/{row['key']}.jpg"} if "key" in row else {}
    names = ("image", *endings, "file_name", "image_path", "filepath", "path", "key")
    return Prompt(place.image(place.value({**row, **keyed}, "image", *names)), " ".join(caption.split()))


def mmc4(row: Json, place: Place) -> Prompt:
    """Return an interleaved document of Multimodal C4: each image stands before the sentence that it is matched to.

    Its columns are ``text_list`` and ``image_info`` with ``image_name`` and ``matched_text_index``
    (https://github.com/allenai/mmc4).
    """
    sentences = _listed(place.value(row, "texts", "text_list"))
    images: dict[int, list[Image]] = {}
    for info in _listed(place.value(row, "images", "image_info")):
        if not isinstance(info, dict) or not isinstance(info.get("matched_text_index"), int):
            raise BadData(f"image_info has {info!r}; expected image_name and matched_text_index")
        images.setdefault(info["matched_text_index"], []).append(place.image(info.get("image_name")))
    return interleaved([part for index, said in enumerate(sentences) for part in (*images.get(index, ()), said)])


def obelics(row: Json, place: Place) -> Prompt:
    """Return an interleaved document of OBELICS: ``images`` and ``texts``, one of which is null where the other is not.

    The columns are those of https://huggingface.co/datasets/HuggingFaceM4/OBELICS; images are URLs there, and may be
    paths or cells here.
    """
    images, texts = (_listed(place.value(row, name, name)) for name in ("images", "texts"))
    if len(images) != len(texts):
        raise BadData(
            f"{len(images)} images stand beside {len(texts)} texts; expected as many, null where the other is"
        )
    both = zip(images, texts, strict=True)
    return interleaved([place.image(image) if image is not None else said for image, said in both])


def interleaved(parts: Sequence[str | Image | None]) -> Prompt:
    """Texts and images in reading order, neighbouring texts joined by a space.

    Raises:
        BadData: if there is no text, or something that is neither.
    """
    joined: list[str | Image] = []
    for part in parts:
        if isinstance(part, Image):
            joined.append(part)
        elif isinstance(part, str) and part.strip():
            joined.append((" " if joined and isinstance(joined[-1], str) else "") + part.strip())
        elif part:
            raise BadData(f"a document has {type(part).__name__} between its texts and images")
    if not any(isinstance(part, str) for part in joined):
        raise BadData("the document has no text")
    return Prompt(*joined)


def without_missing(item: Item) -> tuple[Item | None, list[str]]:
    """Return an item without the images whose files are not there (None if no image is left), and their names."""
    if not isinstance(item, Prompt):
        return item, []
    missing = {image for image in item.images if isinstance(image.source, str) and not Path(image.source).is_file()}
    left = Prompt(*(part for part in item.parts if part not in missing)) if missing else item
    return left if left.images or not missing else None, sorted(image.name for image in missing)


def _listed(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise BadData(f"a list of texts or images is {type(value).__name__}")
    return value


def _object(content: bytes) -> Json:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise BadData(f"json is damaged: {error}") from error
    return found if isinstance(found, dict) else {}


SOURCES: Mapping[str, Reading] = {function.__name__: function for function in (text, pairs, mmc4, obelics)}
