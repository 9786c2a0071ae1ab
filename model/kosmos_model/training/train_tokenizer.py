"""Train a tokenizer: ``python -m kosmos_model.training.train_tokenizer OUT --vocab-size N [TEXT_FILE ...]``.

Without files it learns from a dataset that is named as recipes name theirs: what kosmos-nano is to read, by default, so
that ``python -m kosmos_model.training.train_tokenizer model/kosmos_model/weights/kosmos-nano.spm`` makes the shipped
one.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from kosmos_eval.errors import KosmosEvalError, ModelError
from kosmos_eval.prompt import Prompt
from kosmos_model.data.datasets import Item, resolve
from kosmos_model.modeling.config import PRESETS
from kosmos_model.modeling.tokenizer import train

NANO = "kosmos_tasks.lessons.texts:texts"
"""The stream that the shipped tokenizer has learned from."""


def texts(items: Iterable[Item]) -> Iterator[str]:
    """Yield the text in what a dataset gives: lessons with their answers, prompts, or texts."""
    for item in items:
        if isinstance(item, str):
            yield item
        else:
            for prompt in [item] if isinstance(item, Prompt) else [sample.shown for sample in item]:
                yield from (part for part in prompt.parts if isinstance(part, str))


def lines(files: Iterable[Path]) -> Iterator[str]:
    """Yield the lines of UTF-8 text files.

    Raises:
        ModelError: if a file cannot be read or is no UTF-8.
    """
    for path in files:
        try:
            with path.open(encoding="utf-8") as text:
                yield from text
        except OSError as error:
            raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ModelError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start}); convert it") from error


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    assert __doc__
    parser = ArgumentParser(prog="python -m kosmos_model.training.train_tokenizer", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("files", type=Path, nargs="*", help="UTF-8 texts to learn from")
    parser.add_argument("--dataset", default=NANO, help="package.module:function, read where there are no files")
    parser.add_argument("--items", type=int, default=100_000, help="of the dataset, at most")
    parser.add_argument("--vocab-size", type=int, default=PRESETS["kosmos-nano"].vocab_size, help="pieces at most")
    options = parser.parse_args(arguments)
    try:
        read = lines(options.files) if options.files else texts(islice(resolve(options.dataset)(0), options.items))
        tokenizer = train(read, vocab_size=options.vocab_size, path=options.out)
    except KosmosEvalError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.out}: {len(tokenizer):,} pieces")
    return 0


if __name__ == "__main__":
    sys.exit(main())
