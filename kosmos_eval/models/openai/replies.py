"""Strict reading of an OpenAI-compatible server's answers: anything unexpected is a failure, never a wrong answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import exp, inf, log

from kosmos_eval.files import Json, without_known
from kosmos_eval.models.openai.errors import readable
from kosmos_eval.request import Completion, Failure, Likelihoods, Output, cut, is_finite

SAID, UNSAID = 0.0, -1.0
"""Log-probabilities of the continuation that a reply names, and of any other."""

TOP = 20
"""The number of most probable tokens that servers report."""


THINKING = "a model that reasons needs some for that: --model-option thinking=4096"


class BadResponse(ValueError):
    """An answer that cannot be used; the message holds no secrets."""

    def __init__(self, reason: str) -> None:
        super().__init__(readable(reason, 600))


class MissingLogprobs(BadResponse):
    """An answer without the log-probabilities that were asked for."""


def text_of(found: object) -> str:
    """Return the text of a completion of either kind.

    Raises:
        BadResponse: if it has none.
    """
    choice = _first(found)
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    if isinstance(text, list):  # some servers answer in parts
        text = "".join(str(part.get("text") or "") for part in text if isinstance(part, dict))
    reason = choice.get("finish_reason")
    if reason in ("error", "abort", "cancelled", "insufficient_system_resource"):
        raise BadResponse(f"the server broke the answer off (finish reason {reason})")
    if reason == "content_filter":
        raise BadResponse("the server's content filter withheld the answer")
    if isinstance(message, dict) and message.get("refusal"):
        raise BadResponse(f"the model refuses: {message['refusal']}")
    thought = isinstance(message, dict) and (message.get("reasoning_content") or message.get("reasoning"))
    if isinstance(text, str) and "</think>" in text:
        text, thought = text.rpartition("</think>")[2].lstrip(), True
    blank = not str(text or "").strip()
    if (blank and (thought or reason == "length")) or str(text).lstrip().startswith("<think>"):
        raise BadResponse(f"its tokens were over before the answer (finish reason {reason}); {THINKING}")
    if text is None and isinstance(message, dict) and reason == "stop":
        return ""
    if not isinstance(text, str):
        raise BadResponse(f"the answer has no text (finish reason {reason})")
    text = without_known(text, shortest=12)  # a server may tell what it was sent; a short key may be an answer
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text that a file can hold


def completion(found: object, stop: Sequence[str] = ()) -> Completion:
    """Return a generated text, cut at the first stop string if the server has not done so."""
    text, stopped = cut(text_of(found), stop)
    return Completion(text, tokens(found)[1], finished=stopped or _first(found).get("finish_reason") != "length")


def tokens(found: object) -> tuple[int, int]:
    """Return the tokens of prompt and answer that a server has counted; 0 where it has not."""
    usage = found.get("usage") if isinstance(found, dict) else None
    counted = usage if isinstance(usage, dict) else {}
    prompt, answer = (counted.get(f"{part}_tokens") for part in ("prompt", "completion"))
    return prompt if isinstance(prompt, int) else 0, answer if isinstance(answer, int) else 0


def named(reply: str, choices: Sequence[str]) -> str | None:
    """Return the choice that a reply is: all of it, its first line, or what follows its last "answer is"; else None.

    A choice somewhere inside a sentence is not an answer ("not positive", "a" as an article).

    >>> named("**Yes.**", [" yes", " no"]), named("I notice nothing", [" yes", " no"])
    (' yes', None)
    """
    reply = reply.strip()
    lines = reply.splitlines()
    said = [reply, *lines[:1], *re.split(r"answer(?: is|:)", reply, flags=re.IGNORECASE)[1:][-1:]]
    for part in said:
        for same in (str.strip, _bare):
            meant = dict.fromkeys(choice.strip() for choice in choices if same(choice) == same(part))
            if len(meant) == 1:
                return next(choice for choice in choices if choice.strip() in meant)
    return None


def by_text(found: object, continuations: Sequence[str]) -> tuple[Likelihoods, bool]:
    """Return likelihoods of what a reply names, and whether it named anything.

    Where it named none of several, all are `SAID`: an exact tie by every rule, also one that divides by length. A
    single continuation is named by a reply that begins with it.
    """
    reply = text_of(found)
    if len(continuations) == 1:
        begins = re.match(rf"\W*{re.escape(continuations[0].strip())}(?!\w)", reply, re.IGNORECASE)
        meant = continuations[0] if begins else None
    else:
        meant = named(reply, continuations)
    said = [meant is not None and string.strip() == meant.strip() for string in continuations]
    tied = meant is None and len(continuations) > 1
    scores = tuple(SAID if it or tied else UNSAID for it in said)
    return Likelihoods(scores, (1,) * len(said), tuple(said)), not tied


def by_first_token(found: object, continuations: Sequence[str]) -> Output | Failure:
    """Return the log-probability of the tokens that begin each continuation, among the likeliest of the first place.

    A continuation that none of them begins gets the least probable one's, which it does not exceed.

    Raises:
        MissingLogprobs: if the answer has no log-probabilities, or does not say of which texts.
        BadResponse: if they are none.
    """
    try:
        top = _first(found)["logprobs"]["content"][0]["top_logprobs"]
        pairs = [(_spelled(one).strip(), _logprob(one["logprob"])) for one in top]
        first, least = pairs[0][0], min(logprob for _, logprob in pairs)
    except BadResponse:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise MissingLogprobs("the answer has no log-probabilities; use likelihoods=text") from error
    distinct = {string.strip() for string in continuations}
    mass = dict.fromkeys(distinct, 0.0)
    shared = 0.0
    for token, logprob in pairs:
        begun = [string for string in distinct if token and string.startswith(token)]
        if len(begun) == 1:
            mass[begun[0]] += exp(logprob)
        elif begun:
            shared += exp(logprob)
    if shared > max(mass.values()):
        return Failure(
            "the continuations begin with the same token, which cannot tell them apart; use likelihoods=text"
        )
    scores = [log(mass[string.strip()]) if mass[string.strip()] else least for string in continuations]
    greedy = [bool(first) and string.strip().startswith(first) for string in continuations]
    return _finite(Likelihoods(tuple(scores), (1,) * len(scores), tuple(greedy)))


def by_echo(found: object, prompt: str, continuations: Sequence[str]) -> Likelihoods:
    """Return log-probabilities of the tokens that reach beyond the prompt, from an echoed completion of one token.

    Raises:
        MissingLogprobs: if the answer does not tell them.
        BadResponse: if they are none.
    """
    try:
        choices = sorted(_choices(found), key=lambda choice: int(choice["index"]))
        sums = [
            _echoed(choice["logprobs"], len(prompt), len(prompt + string))
            for choice, string in zip(choices, continuations, strict=True)
        ]
    except BadResponse:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise MissingLogprobs("the server does not echo log-probabilities of the prompt; use endpoint=chat") from error
    logprobs, counts, greedy = zip(*sums, strict=True)
    return _finite(Likelihoods(logprobs, counts, greedy))


def _echoed(told: Json, begin: int, end: int) -> tuple[float, int, bool]:
    """Return sum, number and greediness of the tokens between two places of the echoed text.

    The last token is the generated one, which begins where the echo ends: what it is off by is a leading BOS.
    """
    offsets = [int(offset) for offset in told["text_offset"]]
    shift = offsets[-1] - end
    if shift < 0:
        raise BadResponse("the echoed text is shorter than what was asked")
    chosen = [
        place
        for place, (own, following) in enumerate(zip(offsets, [*offsets[1:], inf], strict=True))
        if own < end + shift and following > begin + shift
    ]
    if not chosen and end > begin:
        raise MissingLogprobs("the server scores no token of a continuation; use endpoint=chat")
    scores = [_logprob(told["token_logprobs"][place]) for place in chosen]
    best = [max(told["top_logprobs"][place].values()) for place in chosen]
    return sum(scores), len(scores), all(score >= most for score, most in zip(scores, best, strict=True))


def _logprob(told: object) -> float:
    """Return a log-probability, which may be minus infinity.

    Raises:
        BadResponse: if it is no number, or above 0 by more than what rounding makes.
    """
    if isinstance(told, int | float) and told <= 0.01:
        return float(max(told, -1e300)) if told > -inf else -inf
    if told is None:
        raise ValueError("no log-probability")
    raise BadResponse(f"a log-probability of the answer is {str(told)[:40]}; expected a number up to 0")


def _finite(likelihoods: Likelihoods) -> Likelihoods:
    if is_finite(likelihoods):
        return likelihoods
    raise BadResponse("a log-probability of the answer is minus infinity; expected one that can be compared")


def _spelled(told: Json) -> str:
    """Return the text of a token; some tokenizers write white space as other letters."""
    token = str(told["token"])
    if re.fullmatch(r"token_id:\d+", token):
        problem = "the server names tokens by numbers instead of texts"
        raise MissingLogprobs(f"{problem} (vLLM: --return-tokens-as-token-ids); use likelihoods=text")
    return token.replace("\u2581", " ").replace("\u0120", " ").replace("\u010a", "\n")


def _choices(found: object) -> list[Json]:
    choices = found.get("choices") if isinstance(found, dict) else None
    return choices if isinstance(choices, list) else []


def _first(found: object) -> Json:
    choice = next(iter(_choices(found)), None)
    if not isinstance(choice, dict):
        raise BadResponse(f"the server's answer is no completion: {str(found)[:120]!r}")
    return choice


def _bare(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" .,:;!?\"'`*()[]").casefold()
