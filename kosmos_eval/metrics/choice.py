"""The choice among candidates by their likelihood, and the credit for it."""

from collections.abc import Collection, Sequence
from math import isnan
from typing import Literal, get_args

Rule = Literal["sum", "mean per token", "mean per character", "difference"]
RULES: tuple[Rule, ...] = get_args(Rule)


def preferences(
    log_probs: Sequence[float],
    *,
    rule: Rule = "sum",
    tokens: Sequence[int] | None = None,
    texts: Sequence[str] | None = None,
    without_prompt: Sequence[float] | None = None,
) -> list[float]:
    """The score of each candidate under a rule; the highest is the model's choice.

    Args:
        log_probs: summed log-probability of each candidate after the prompt, in nats.
        rule: ``sum`` takes them as they are; ``mean per token`` and ``mean per character`` divide by the candidate's
            length; ``difference`` subtracts its log-probability without the prompt (pointwise mutual information).
        tokens: tokens of each candidate, for ``mean per token``.
        texts: the candidates, for ``mean per character``.
        without_prompt: log-probability of each candidate without the prompt, for ``difference``.

    Raises:
        ValueError: if the rule is unknown, or what it needs is not given or of another length.

    >>> preferences([-6.0, -4.0], rule="mean per token", tokens=[3, 1])
    [-2.0, -4.0]
    """
    if rule == "sum":
        return list(log_probs)
    if rule == "difference" and without_prompt is not None:
        return [given - alone for given, alone in zip(log_probs, without_prompt, strict=True)]
    if rule == "mean per token" and tokens is not None:
        return [given / count for given, count in zip(log_probs, tokens, strict=True)]
    if rule == "mean per character" and texts is not None:
        return [given / len(text) for given, text in zip(log_probs, texts, strict=True)]
    raise ValueError(f"{rule!r} is not one of {', '.join(RULES)}, or was not given what it divides by or subtracts")


def best(scores: Sequence[float], tolerance: float = 1e-6) -> list[int]:
    """The candidates within ``tolerance`` of the highest score: one, or all that tie.

    The tolerance is absolute, in nats. Candidates that a model cannot tell apart get the same score but for the
    rounding of sums taken in another order, some 1e-7 for log-probabilities around -1 in single precision; and a
    preference of under a millionth of a nat, a probability ratio of 1.000001, is evidence of nothing. It is not wider,
    so that wherever a preference is real the choice is the argmax, as in other harnesses.

    Raises:
        ValueError: if there is no score, or one is not a number.
    """
    if not scores or any(isnan(score) for score in scores):
        raise ValueError(f"expected a number for each candidate, found {list(scores)}")
    top = max(scores)
    return [index for index, score in enumerate(scores) if score >= top - tolerance]


def credit(scores: Sequence[float], targets: Collection[int], tolerance: float = 1e-6) -> float:
    """Return the score of a choice, in 0..1: of m candidates that tie at the top, each right one earns 1/m.

    So a model without any preference lands on chance, and not on whatever stands first. Equal names ("missile" stands
    twice among the 1,000 of ImageNet) tie by construction: with only the true class as target they share the credit.

    Args:
        scores: one per candidate, such as `preferences` gives.
        targets: the indices that are right.
        tolerance: what counts as a tie (`best`).

    >>> credit([-1.0, -2.0, -1.0], targets=[0]), credit([-1.0, -2.0, -1.0], targets=[0, 2])
    (0.5, 1.0)
    """
    chosen = best(scores, tolerance)
    return sum(index in targets for index in chosen) / len(chosen)
