"""METEOR 1.5 through pycocoevalcap's jar: its statistics of captions, and the scores of statistics.

The score of a corpus is the score of its images' summed statistics, which is also what a bootstrap needs.
"""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from kosmos_eval.metrics import java


def statistics(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> list[list[float]]:
    """The sufficient statistics of each candidate against its references, all tokenised; 23 numbers each, additive.

    The program counts the one chunk of a perfect candidate in its statistics, but leaves it out when it scores and adds
    them; here it is left out from the start, so that rows can be summed before they are scored.

    Reading its paraphrase table takes the program several seconds, whatever the number of captions.
    """
    asked = [" ||| ".join(["SCORE", *references[image], caption]) for image, caption in candidates.items()]
    answers = _ask(asked)
    if len(answers) != len(asked):
        raise RuntimeError(f"METEOR gave {len(answers)} lines of statistics for {len(asked)} captions")
    return [_without_perfect_chunk([float(number) for number in answer.split()]) for answer in answers]


def scores(rows: Sequence[Sequence[float]]) -> list[float]:
    """The METEOR score of each row of statistics, in 0..1, and as last element that of all rows together.

    Scoring statistics needs no paraphrases, so the program gets an empty table and answers within half a second.
    """
    numbers = (" ".join(repr(float(number)) for number in row) for row in rows)
    with TemporaryDirectory() as folder:
        table = Path(folder, "paraphrases.gz")
        table.write_bytes(gzip.compress(b""))
        return [float(answer) for answer in _ask([" ||| ".join(["EVAL", *numbers])], "-a", table)]


def _without_perfect_chunk(row: list[float]) -> list[float]:
    length, reference, *counts, chunks, matched, reference_matched = row
    perfect = chunks == 1 and matched == length and reference_matched == reference
    return [length, reference, *counts, 0.0 if perfect else chunks, matched, reference_matched]


def _ask(lines: Sequence[str], *options: str | Path) -> list[str]:
    """Return the answers of the program in its stdio mode, with the options of the official COCO evaluation."""
    from pycocoevalcap.meteor import meteor

    jar = Path(meteor.__file__).with_name(meteor.METEOR_JAR)
    command = ["-Xmx2G", "-jar", jar, "-", "-", "-stdio", "-l", "en", "-norm", *options]
    *answers, _ = java.run(command, lines, program="METEOR")
    return answers
