"""Agreement of a text and a span: exact match and F1 over words, as SQuAD's official program has them."""

import re
from collections import Counter
from string import punctuation

PUNCTUATION = str.maketrans("", "", punctuation)


def exact(output: str, target: str) -> float:
    """1 where both are the same words.

    >>> exact("The 20 MPG.", "20 mpg")
    1.0
    """
    return float(words(output) == words(target))


def f1(output: str, target: str) -> float:
    """Return the harmonic mean of precision and recall over words; if a side has no words, 1 where both have none.

    >>> f1("a red lamp", "lamp")
    0.6666666666666666
    """
    said, wanted = words(output), words(target)
    if not said or not wanted:
        return float(said == wanted)
    return 2 * (Counter(said) & Counter(wanted)).total() / (len(said) + len(wanted))


def words(text: str) -> list[str]:
    """The words of a text in lower case, without ASCII punctuation and articles."""
    return re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(PUNCTUATION)).split()
