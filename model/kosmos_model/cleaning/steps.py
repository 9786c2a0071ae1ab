"""Our steps in datatrove's pipelines: read and sift, read again, count, write."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from datatrove.data import Document

from kosmos_eval.errors import BadData, BadImage, KosmosEvalError
from kosmos_eval.files import Json
from kosmos_eval.prompt import Image, Prompt
from kosmos_model.cleaning.counts import DUPLICATE, Counts, merged
from kosmos_model.cleaning.image_stats import ImageStats, image_stats
from kosmos_model.cleaning.plan import Corpus
from kosmos_model.cleaning.rules import RULES, Measures, Page
from kosmos_model.data.corpora import Place, obelics
from kosmos_model.data.formats import Row, Skipped, rows
from kosmos_model.data.shards import shards


@dataclass(frozen=True)
class Sift:
    """Read corpora of one kind and keep what its rules leave.

    Args:
        kind: whose rules hold.
        corpora: what is read; the parts of their shards are dealt out to the tasks.
        measures: what the rules go by.
        folder: where all output goes; ``skipped/`` names what could not be read.
    """

    kind: str
    corpora: tuple[Corpus, ...]
    measures: Measures
    folder: Path

    def __call__(self, data: object, rank: int, world_size: int) -> Iterator[Document]:
        """Yield the documents that one task keeps."""
        by_corpus = {corpus.name: Counts() for corpus in self.corpora}
        parts = [
            (corpus, shard, part)
            for corpus in self.corpora
            for shard in shards(tuple(corpus.paths))
            for part in range(shard.parts)
        ]
        names = self.folder / "skipped" / f"{self.kind}-{rank:05}.jsonl"
        names.parent.mkdir(parents=True, exist_ok=True)
        with names.open("w", encoding="utf-8") as named:
            for corpus, shard, part in parts[rank::world_size]:
                for row in rows(shard.path, part, shard.parts):
                    page = self._sifted(row, corpus, by_corpus[corpus.name], named)
                    if page is not None:
                        yield Document(page.prompt.text(" "), page.id, metadata={"corpus": corpus.name, "page": page})
        _write(self.folder / "work" / "counts" / "sift" / f"{self.kind}-{rank:05}.json", by_corpus)

    def _sifted(self, row: Row | Skipped, corpus: Corpus, counts: Counts, named: IO[str]) -> Page | None:
        if isinstance(row, Skipped):
            _skip(row, counts, named)
            return None
        try:
            found = corpus.reading(row.values, corpus.place)
        except (BadData, BadImage) as error:
            _skip(Skipped(row.id, str(error)), counts, named)
            return None
        if not isinstance(found, str | Prompt):
            raise KosmosEvalError(
                f"{corpus.source} gives lessons, for which there are no rules; clean texts or documents"
            )
        counts.read += 1
        page = Page(row.id, Prompt(found))
        for image in page.prompt.images:
            if not isinstance(seen := image_stats(image), ImageStats):
                _skip(Skipped(image.name, f"{seen}; {row.id} shows it"), counts, named)
        for name, rule in RULES[self.kind].items():
            left = rule(page, self.measures)
            if left is not None:
                lost = len(page.prompt.images) - len(left.images)
                counts.images[name] = counts.images.get(name, 0) + lost
            if left is None or (self.kind == "pairs" and not left.images):
                counts.dropped[name] = counts.dropped.get(name, 0) + 1
                return None
            counts.dropped.setdefault(name, 0)
            page = Page(page.id, left)
        counts.kept += 1
        return page


def _skip(skipped: Skipped, counts: Counts, named: IO[str]) -> None:
    counts.skipped += 1
    named.write(json.dumps(asdict(skipped), ensure_ascii=False) + "\n")


def _write(path: Path, by_corpus: dict[str, Counts]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name: asdict(counts) for name, counts in by_corpus.items()}))


@dataclass(frozen=True)
class Stored:
    """Read again what a task of `Sift` wrote.

    Args:
        folder: where its Parquet files are.
        pictures: whether images are wanted, too.
    """

    folder: Path
    pictures: bool

    def __call__(self, data: object, rank: int, world_size: int) -> Iterator[Document]:
        """Yield the documents of a task, always in the same order."""
        import pyarrow.parquet as pq

        columns = ["id", "corpus", "texts", *["images"] * self.pictures]
        for path in sorted(self.folder.glob(f"*/*_{rank:05}.parquet")):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=64, columns=columns):
                    yield from (_document(row) for row in batch.to_pylist())


def _document(row: Json) -> Document:
    texts = " ".join(text for text in row["texts"] if text is not None)
    page = Page(row["id"], obelics(row, Place())) if "images" in row else None
    return Document(texts, row["id"], metadata={"corpus": row["corpus"], "page": page})


@dataclass(frozen=True)
class Count:
    """Count what is kept in the end, beside what `Sift` counted.

    Args:
        kind: of the corpora.
        folder: where all output goes.
    """

    kind: str
    folder: Path

    def __call__(self, data: Iterable[Document], rank: int, world_size: int) -> Iterator[Document]:
        """Yield the documents as they come."""
        kept: dict[str, int] = {}
        for document in data:
            name = document.metadata["corpus"]
            kept[name] = kept.get(name, 0) + 1
            yield document
        _write(
            self.folder / "work" / "counts" / "kept" / f"{self.kind}-{rank:05}.json",
            {name: Counts(kept=number) for name, number in kept.items()},
        )


@dataclass(frozen=True)
class Sum:
    """Write ``counts.json`` from those of all tasks.

    Args:
        folder: where all output goes.
        corpora: name to whether its near-duplicates were looked for.
    """

    folder: Path
    corpora: dict[str, bool] = field(default_factory=dict)

    def __call__(self, data: object, rank: int, world_size: int) -> None:
        """Done by one task, after all others."""
        sifted = merged((self.folder / "work" / "counts" / "sift").glob("*.json"))
        kept = merged((self.folder / "work" / "counts" / "kept").glob("*.json"))
        for name, deduplicated in self.corpora.items():
            one = sifted.setdefault(name, Counts())
            if deduplicated:
                left = kept[name].kept if name in kept else 0
                one.dropped[DUPLICATE], one.kept = one.kept - left, left
        counts = {name: asdict(sifted[name]) for name in self.corpora}
        (self.folder / "counts.json").write_text(json.dumps(counts, indent=1, ensure_ascii=False) + "\n")


def as_page(writer: object, document: Document) -> Json:
    """Return a document as a row of OBELICS' columns."""
    page: Page = document.metadata["page"]
    parts = page.prompt.parts
    return {
        "id": document.id,
        "corpus": document.metadata["corpus"],
        "images": [_cell(part) if isinstance(part, Image) else None for part in parts],
        "texts": [part if isinstance(part, str) else None for part in parts],
    }


def as_text(writer: object, document: Document) -> Json:
    """Return a document as a row of a text corpus."""
    return {"id": document.id, "text": document.text}


def as_pair(writer: object, document: Document) -> Json:
    """Return a document as an image with its caption."""
    prompt: Prompt = document.metadata["page"].prompt
    return {"id": document.id, "image": _cell(prompt.images[0]), "caption": prompt.text("")}


def _cell(image: Image) -> Json:
    stored = image.source
    return {"bytes": stored, "path": None} if isinstance(stored, bytes) else {"bytes": None, "path": stored}
