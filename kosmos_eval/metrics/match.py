"""Exact match of a generated text and the expected one."""

from string import punctuation


def exact(output: str, target: str) -> bool:
    r"""KOSMOS-1 section 4.6: right if and only if the output equals the ground-truth name exactly.

    Only surrounding white space is taken off first; case, inner spacing and punctuation count.

    >>> exact(" goldfish\n", "goldfish"), exact("Goldfish.", "goldfish")
    (True, False)
    """
    return output.strip() == target.strip()


def lenient(output: str, target: str) -> bool:
    """Like `exact`, with case folded and final punctuation dropped on both sides; ours, not the paper's.

    >>> lenient("Goldfish.", "goldfish"), lenient("a goldfish", "goldfish")
    (True, False)
    """
    return _folded(output) == _folded(target)


def _folded(text: str) -> str:
    return text.strip().rstrip(punctuation).rstrip().casefold()
