"""The plan of a cleaning: a TOML file like a recipe's.

against = ["coco_caption", "vqav2"]     # evaluation data to keep out
data = "$BENCHMARKS"                    # its official files; default: the synthetic splits
language_model = "lid.176.bin"          # fastText
executor = "slurm"                      # local, slurm or ray
tasks = 1000
options = {time = "20:00:00", partition = "cpu"}

[corpora.pages]
source = "mmc4"
paths = ["$MMC4/docs_no_face_shard_*.jsonl.zip"]
images = "$MMC4/images"
"""

from __future__ import annotations

from dataclasses import dataclass, field
from os.path import expandvars
from pathlib import Path
from re import fullmatch
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from kosmos_eval.errors import BadData, KosmosEvalError, UnknownName
from kosmos_eval.files import Json
from kosmos_model.data.corpora import SOURCES, Place, Reading
from kosmos_model.data.datasets import resolve
from kosmos_model.data.shards import shards
from kosmos_model.data.toml import Table, checked, made, toml

OWN = ("work", "skipped", "counts.json")
"""Entries of the output folder that are no corpora."""
KINDS = ("text", "pairs", "interleaved")
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Corpus:
    """Some files that are cleaned.

    Args:
        name: the folder that what is left of it is written to.
        source: ``text``, ``pairs``, ``mmc4``, ``obelics`` or ``package.module:function``.
        paths: files, patterns or folders of shards.
        images: the folder that names of images are relative to.
        columns: what columns are called here.
        kind: which rules hold; for sources of one's own, else known.
    """

    name: str
    source: str
    paths: list[str]
    images: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    kind: str = ""

    @property
    def rules(self) -> str:
        """The kind whose rules hold."""
        return self.kind or {"text": "text", "pairs": "pairs"}.get(self.source, "interleaved")

    @property
    def place(self) -> Place:
        """The place of the images that rows name, and the names of columns."""
        return Place(Path(expandvars(self.images or "")).expanduser().resolve(), self.columns)

    @property
    def reading(self) -> Reading:
        """The function that makes text or a prompt of a row."""
        found: Reading = SOURCES.get(self.source) or resolve(self.source)
        return found


@dataclass(frozen=True)
class Plan:
    """A plan of a cleaning (KOSMOS-1 section 3.1 names the rules, and the numbers 64, 5 and a half).

    Args:
        corpora: what is cleaned.
        seed: decides which documents with one image are dropped.
        language_model: a fastText model that identifies languages; None leaves that rule out.
        language: its label of the language to keep, without ``__label__``.
        language_score: the least probability of it.
        spam: the largest share of words that may be emoji, hashtags and URLs.
        smallest_image: the shortest side that an image may have, in pixels.
        most_images: how many images a document keeps.
        keep_single: the share of documents with one image that is kept.
        against: tasks whose evaluated samples must not be trained on.
        data: the folder of their official files; None for their synthetic splits.
        ngram: words in a row that are common to a document and a sample, and give it away.
        executor: ``local``, ``slurm`` or ``ray``.
        tasks: into how many the work is cut.
        workers: how many of them run at once; -1 for all.
        options: what the executor takes besides, such as ``partition`` and ``time`` of Slurm.
    """

    corpora: tuple[Corpus, ...]
    seed: int = 0
    language_model: Path | None = None
    language: str = "en"
    language_score: Share = 0.65
    spam: Share = 0.1
    smallest_image: NonNegativeInt = 64
    most_images: PositiveInt = 5
    keep_single: Share = 0.5
    against: tuple[str, ...] = ()
    data: Path | None = None
    ngram: PositiveInt = 12
    executor: str = "local"
    tasks: PositiveInt = 1
    workers: int = 1
    options: Json = field(default_factory=dict)

    def of(self, kind: str) -> tuple[Corpus, ...]:
        """Return the corpora whose rules are those of a kind."""
        return tuple(corpus for corpus in self.corpora if corpus.rules == kind)


def read(path: Path) -> Plan:
    """Return the plan in a TOML file.

    Raises:
        KosmosEvalError: if it cannot be read or has no corpus.
        UnknownName: if there is no such setting, executor or kind.
        BadData: if a path of it names nothing.
    """
    values = toml(path, "plan")
    corpora = checked(dict[str, Table], values.pop("corpora", {}), path, "corpora")
    if not corpora:
        raise KosmosEvalError(f"{path} has no corpus to clean; give it [corpora.NAME] with source and paths")
    cleaned = tuple(made(Corpus, {"name": name, **corpus}, path, "corpora", name) for name, corpus in corpora.items())
    for name in ("language_model", "data"):
        if name in values:
            values[name] = Path(expandvars(str(values[name]))).expanduser()
            if not values[name].exists():
                raise BadData(f"{name} {values[name]} of {path} is not there")
    plan = made(Plan, {**values, "corpora": cleaned}, path)
    if plan.executor not in ("local", "slurm", "ray"):
        raise UnknownName("executor", plan.executor, ("local", "slurm", "ray"))
    for corpus in plan.corpora:
        _check(corpus)
    return plan


def _check(corpus: Corpus) -> None:
    if not fullmatch(r"[\w-][\w.-]*", corpus.name) or corpus.name in OWN:
        raise KosmosEvalError(
            f"corpus {corpus.name!r} is not the name of a folder; expected letters, digits, '_', '-' and '.', "
            f"and none of {', '.join(OWN)}"
        )
    if corpus.rules not in KINDS:
        raise UnknownName(f"kind of corpus ({corpus.name})", corpus.rules, KINDS)
    if corpus.source not in SOURCES and ":" not in corpus.source:
        raise UnknownName(f"source ({corpus.name})", corpus.source, SOURCES)
    shards(tuple(corpus.paths))
