"""The content of evaluation data, to be kept out of training: runs of words, and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.evaluation.setup import load_task
from kosmos_eval.prompt import Image
from kosmos_eval.source import Source
from kosmos_model.cleaning.image_stats import ImageStats, KnownImages, image_stats
from kosmos_model.cleaning.words import HASHING, WORDS

if TYPE_CHECKING:
    from datatrove.pipeline.decont import NGramsDecontFilter

PICTURES = "pictures.json"


def write(tasks: Iterable[str], folder: Path, *, data: Path | None, ngram: int) -> None:
    """Write what the evaluated samples of tasks say and show, as datatrove's n-gram filter and `pictures` read it.

    Args:
        tasks: by name.
        folder: where to.
        data: the official files; None for the synthetic splits.
        ngram: how many words in a row give a sample away; texts with fewer are not found.

    Raises:
        KosmosEvalError: if a task cannot be made or its data read.
    """
    import numpy as np
    from datatrove.pipeline.decont import NGramsDecontConfig
    from datatrove.utils.hashing import create_hash_func
    from datatrove.utils.text import ngrams, simplify_text

    config = NGramsDecontConfig(n_grams=ngram, hash_config=HASHING)
    hashed: Any = create_hash_func(config.hash_config)
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[Image] = set()
    for task in tasks:
        source = Source("synthetic") if data is None else Source("data", data)
        runs: set[str] = set()
        for sample in load_task(task, source).samples():
            asked = sample.prompt.text(" ")
            for answer in {sample.target, *sample.references}:
                for said in (answer, f"{asked} {answer}"):
                    found = WORDS.word_tokenize(simplify_text(said, config.norm_config))
                    runs.update(map(" ".join, ngrams(found, ngram)))
            seen.update(sample.prompt.images)
        array = np.array(sorted(map(hashed, runs)), dtype=config.hash_config.np_descr)
        array.tofile(folder / f"{task}.index.hashes")
    shown = [found for found in map(image_stats, seen) if isinstance(found, ImageStats)]
    stored = {
        "contents": sorted(found.content for found in shown),
        "digests": sorted(found.digest for found in shown if found.digest is not None),
    }
    (folder / PICTURES).write_text(json.dumps(stored))


@lru_cache(maxsize=2)
def pictures(folder: Path) -> KnownImages:
    """Return the pictures that `write` found."""
    stored = json.loads((folder / PICTURES).read_text())
    return KnownImages(stored["contents"], stored["digests"])


@lru_cache(maxsize=2)
def texts(folder: Path, ngram: int) -> NGramsDecontFilter:
    """datatrove's filter for the texts that `write` found."""
    from datatrove.pipeline.decont import NGramsDecontConfig, NGramsDecontFilter

    return NGramsDecontFilter(str(folder), NGramsDecontConfig(n_grams=ngram, hash_config=HASHING), language=WORDS)
