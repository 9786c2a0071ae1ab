"""The files of WebSRC as a table: questions about web pages, their screenshots, and the text of their HTML.

Layout, under ``websrc/`` or the root itself, there or in ``data/``, ``release/`` or the like: for each site
``DOMAIN/NN/dataset.csv`` with columns ``question, id, element_id, answer_start, answer`` (the test sites have no
answers), and ``DOMAIN/NN/processed_data/PAGE.{html,png}``, where a page is ``id[2:9]``.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadData
from kosmos_eval.source import Batch, Row, Source, from_hub, table
from kosmos_tasks.formats.files import Files
from kosmos_tasks.formats.records import columns, csv_rows, distinct, text

if TYPE_CHECKING:
    from datasets import Dataset

HELD_OUT = {
    "dev": ("au01", "au08", "bo17", "ga10", "ga12", "jo11", "mo02", "ph04", "sp09", "sp10"),
    "test": ("au02", "au14", "ga06", "ga08", "ga38", "ho07", "ho08", "mo08", "sp16", "un08"),
}
"""The sites of the official splits (``dataset_split_release.json``); all others are for training."""
HUB = "rootsautomation/websrc"
SPLITS = ("dev", "train", "test")
FOLDERS = ("websrc", "websrc_v1.0")
MARKUP = re.compile(
    r"<!--.*?-->|<(script|style)\b.*?</\1\s*>|</?[a-z!](?:\"[^\"]*\"|'[^']*'|[^'\">])*>", re.DOTALL | re.IGNORECASE
)


def splits(source: Source) -> tuple[str, ...]:
    """Return the splits of which a site lies in the source's folder."""
    there = {_split(file) for file in _sites(source)}
    return tuple(split for split in SPLITS if split in there)


def rows(source: Source, split: str) -> Dataset:
    """Return a row per question: ``id, image, question, answer, page``, and ``text``, which is read when looked at.

    Raises:
        BadData: if a row is not in the official format, or a page is missing.
    """
    files = [file for file in _sites(source) if _split(file) == split]
    found = distinct((row for file in files for row in _questions(file)), "id", named_by=files[0].parents[2])
    return table(found).with_transform(_read)


def hub_rows(source: Source, split: str) -> Dataset:
    """Return the same from the copy on the hub, which has screenshots in base 64 and no texts."""
    found = from_hub(HUB, source=source, split=split)
    pages = [f"{domain}/{page}" for domain, page in zip(found["domain"], found["page_id"], strict=True)]
    found = found.rename_column("image", "screenshot").add_column("page", pages)
    return found.with_transform(_decoded)


def page_text(html: str) -> str:
    """Return the text between the tags, with single spaces.

    >>> page_text('<p title="a > b">20&nbsp;<b>MPG</b></p><script>if (a < b) x()</script>')
    '20 MPG'
    """
    return " ".join(unescape(MARKUP.sub(" ", html)).split())


def _sites(source: Source) -> list[Path]:
    """Return the files of questions, a site each, as far down as the archives nest them."""
    folder = source.folder(*FOLDERS)
    found = (sorted(folder.glob(f"{outer}*/[0-9][0-9]/dataset.csv")) for outer in ("", "*/", "*/*/"))
    return next(filter(None, found), [])


def _split(file: Path) -> str:
    site = file.parts[-3][:2] + file.parts[-2]
    return next((split for split, sites in HELD_OUT.items() if site in sites), "train")


def _questions(file: Path) -> Iterator[Row]:
    """Yield the questions about a site; those without an answer column have empty answers."""
    folder = file.parent / "processed_data"
    there = {page.name for page in folder.iterdir()} if folder.is_dir() else set()
    for place, row in csv_rows(file):
        wanted = {"id": text, "question": text} | ({"answer": text} if "answer" in row else {})
        said = {"answer": ""} | columns(row, wanted, place=place)
        page = said["id"][2:9]
        for name in (f"{page}.png", f"{page}.html"):
            if name not in there:
                raise BadData(f"{place} asks about {name}, which is not in {folder}; add it or fix the file")
        yield said | {"file": str(folder / page), "page": said["id"][:9]}


def _read(batch: Batch) -> Batch:
    """Return the rows with the screenshots and texts of their pages."""
    files = batch.pop("file", None)
    if files is None:
        return batch
    images = [{"bytes": None, "path": f"{file}.png"} for file in files]
    return {**batch, "image": images, "text": [_text(f"{file}.html") for file in files]}


@lru_cache(maxsize=256)
def _text(file: str) -> str:
    return page_text(Path(file).read_text(encoding="utf-8", errors="replace"))


def _decoded(batch: Batch) -> Batch:
    shots = batch.pop("screenshot", None)
    if shots is None:
        return batch
    return {**batch, "image": [{"bytes": b64decode(shot), "path": None} for shot in shots]}


FILES = Files(FOLDERS, SPLITS, splits, rows)
