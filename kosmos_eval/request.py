"""Requests to a model and its answers: two kinds of request serve every task of the paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from kosmos_eval.prompt import Prompt


@dataclass(frozen=True)
class Sampling:
    """Random decoding: the same seed draws the same text after the same prompt, whatever else is asked.

    Args:
        temperature: the divisor of the logits; above 0.
        top_p: only the most probable tokens, as many as reach this share together, are drawn.
        seed: another one draws another text.

    Raises:
        ValueError: if temperature or top_p is invalid.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and 0 < self.top_p <= 1):
            raise ValueError(f"{self} needs a temperature above 0 and a top_p above 0 and up to 1")


@dataclass(frozen=True)
class Generate:
    """Continue a prompt.

    Beams of width K keep the K likeliest texts that have not ended. A text that ends (by the model's end of text, a
    stop string, or at ``max_tokens``) is finished with the score ``logprob / tokens ** length_penalty``, where logprob
    is the sum of its tokens' log-probabilities and tokens their number, and both count the end of text and the tokens
    that completed a stop string, but nothing of the prompt. Log-probabilities are the model's own over its whole
    vocabulary, also where choices allow few tokens. The finished text with the highest score is the answer.

    Args:
        prompt: the text and images that are continued.
        max_tokens: the most tokens that are generated.
        stop: strings that end the text; they are not part of it. The model's own end of text always stops.
        beams: width of the beam search; 1 is greedy.
        length_penalty: above 0 it favours long texts, below 0 short ones; 1 compares means per token, 0 sums.
        choices: if given, the text is one of these strings and ends there (a prefix trie restricts every step). The
            search then ends when no running string can still win, whatever ``early_stopping`` is, for K short strings
            would otherwise shut out a long one.
        sampling: if given, tokens are drawn at random rather than the most probable taken.
        early_stopping: True ends a beam search when K texts are finished, as fairseq, the paper's generator, does;
            False goes on while the best running text scores higher than the worst of the K best finished ones, as is
            the default of transformers.

    Raises:
        ValueError: if beams are to be sampled.
    """

    prompt: Prompt
    max_tokens: int = 32
    stop: tuple[str, ...] = ()
    beams: int = 1
    length_penalty: float = 1.0
    choices: tuple[str, ...] | None = None
    sampling: Sampling | None = None
    early_stopping: bool = True

    def __post_init__(self) -> None:
        if self.sampling is not None and self.beams > 1:
            raise ValueError(f"a text is either drawn at random or searched with {self.beams} beams")


def cut(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    r"""Return a text up to its first stop string, and whether there was one.

    An answer may begin with blank lines: a stop string of white space counts after the white space before the answer.

    >>> cut("\n\nred\nblue", ["\n"]), cut(" red. ", ["."]), cut("\nQ: Why?", ["\nQ:"])
    (('red', True), (' red', True), ('', True))
    """
    begin = len(text) - len(text.lstrip())
    blank = any(string.isspace() and string in text[:begin] for string in stop)
    places = [at for string in stop if string and (at := text.find(string, begin if string.isspace() else 0)) >= 0]
    end = min(places, default=len(text))
    return text[begin if blank and begin <= end else 0 : end], bool(places)


@dataclass(frozen=True)
class LogLikelihood:
    """Score strings as continuations of a prompt.

    Args:
        prompt: the text and images that every string continues.
        continuations: the strings, with their leading space where the language wants one.
        terminated: whether the end of text belongs to the score. It must where one string begins another
            (pig, piggy bank), or the shorter would always win.
        best: if given, only so many of the likeliest have to be exact, and all that tie with the last of them; of the
            others a model may say how likely they are at most.
        by: the score by which the likeliest are chosen; characters are counted without the spaces around a string.
    """

    prompt: Prompt
    continuations: tuple[str, ...]
    terminated: bool = False
    best: int | None = None
    by: Literal["sum", "mean per token", "mean per character"] = "sum"


@dataclass(frozen=True)
class Completion:
    """The answer to `Generate`.

    Args:
        text: the generated text, without stop strings and special tokens.
        tokens: how many tokens that took, the end of text included.
        finished: whether the text came to an end by itself rather than at ``max_tokens``.
        logprob: summed natural log-probability of the tokens, where the model gives one.
    """

    text: str
    tokens: int = 0
    finished: bool = True
    logprob: float | None = None


@dataclass(frozen=True)
class Likelihoods:
    """The answer to `LogLikelihood`, one entry for each continuation, in their order.

    Args:
        logprobs: summed natural log-probability of the continuation's tokens.
        tokens: how many tokens that were.
        greedy: whether every one of them was the most probable.
        at_most: which log-probabilities are only upper bounds, because the request wanted the best alone and these are
            not among them; empty where all are exact.
    """

    logprobs: tuple[float, ...]
    tokens: tuple[int, ...]
    greedy: tuple[bool, ...]
    at_most: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Failure:
    """No answer: why a request could not be answered. It is counted apart, never scored."""

    reason: str


Request = Generate | LogLikelihood
Output = Completion | Likelihoods


def is_finite(output: Output) -> bool:
    """Return whether all log-probabilities of an output are finite numbers."""
    numbers = output.logprobs if isinstance(output, Likelihoods) else (output.logprob or 0.0,)
    return all(map(isfinite, numbers))
