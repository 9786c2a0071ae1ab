"""The files of Rendered SST-2 as a table: the folders of images, or sentences that the task draws.

Layout, under ``rendered-sst2/`` or ``sst2/sentence_level/`` or the root itself: ``{test,valid,train}/LABEL/*.png``, or
``{test,dev,train}.tsv`` (a sentence, a tab, 0 or 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadData
from kosmos_eval.source import Row, Source, images_in, table
from kosmos_tasks.formats.files import Files
from kosmos_tasks.formats.records import content

if TYPE_CHECKING:
    from datasets import Dataset

HEADER, UNLABELLED = "sentence\tlabel", b"index\tsentence"
"""The first line of GLUE's copies: of training and development sentences, and of test sentences."""
LABELS = ("negative", "positive")
SENTENCES = {"test": "test.tsv", "valid": "dev.tsv", "train": "train*.tsv"}
"""Split to its sentence-level file; one that holds a part of the training sentences will do for demonstrations."""
FOLDERS = ("rendered-sst2/rendered-sst2", "rendered-sst2", "rendered_sst2", "sst2/sentence_level", "sst-2")


def splits(source: Source) -> list[str]:
    """Return the splits with images or labelled sentences in the source's folder."""
    folder = source.folder(*FOLDERS)
    return [split for split in SENTENCES if (folder / split).is_dir() or _labelled(folder, split)]


def rows(source: Source, split: str) -> Dataset:
    """Return a row per sentence: ``id``, ``label`` (1 is positive), and ``image`` or ``text``.

    Raises:
        BadData: if a label has no images, or a line is not in the official format.
    """
    folder = source.folder(*FOLDERS)
    if (folder / split).is_dir():
        return table(_pictures(folder / split), images=["image"])
    return table(_sentences(folder, split))


def _pictures(folder: Path) -> Iterator[Row]:
    for label, name in enumerate(LABELS):
        files = images_in(folder / name)
        if not files:
            raise BadData(f"{folder / name} has no png images; expected those of the official archive")
        for file in files:
            yield {"id": f"{folder.name}/{name}/{file.stem}", "image": str(file), "label": label}


def _labelled(folder: Path, split: str) -> Path | None:
    """Return the file of a split's sentences with their labels, if it is there; GLUE's test file has none."""
    files = sorted(folder.glob(SENTENCES[split]), key=lambda found: len(found.name))
    return next((file for file in files if UNLABELLED not in _beginning(file)), None)


def _beginning(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(24)


def _sentences(folder: Path, split: str) -> Iterator[Row]:
    file = _labelled(folder, split)
    for number, line in enumerate(content(file).rstrip("\n").split("\n") if file else (), start=1):
        if number == 1 and line == HEADER:
            continue
        text, _, label = line.rpartition("\t")
        if not text.strip() or label.strip() not in ("0", "1"):
            raise BadData(f"line {number} of {file} is {line[:60]!r}; expected a sentence, a tab and 0 or 1")
        yield {"id": f"{split}/{number}", "text": text.strip(), "label": int(label)}


FILES = Files(FOLDERS, tuple(SENTENCES), splits, rows)
