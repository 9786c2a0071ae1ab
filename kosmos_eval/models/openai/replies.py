"""What an OpenAI-compatible server has answered, read strictly: what is no answer is a failure by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import exp, inf, isnan, log
from typing import Any

from kosmos_eval.request import Completion, Failure, Likelihoods, Output

SAID, UNSAID = 0.0, -1.0
"""Log-probabilities of the continuation that a reply names, and of any other."""

TOP = 20
"""How many of the most probable tokens servers tell of."""


THINKING = "a model that reasons needs some for that: --model-option thinking=4096"


class Nonsense(ValueError):
    """An answer that is none."""


class Untold(Nonsense):
    """An answer without the log-probabilities that were asked for."""


def text_of(found: Any) -> str:
    """The text of a completion of either kind.

    Raises:
        Nonsense: if there is none.
    """
    choice = _first(found)
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    if isinstance(text, list):  # some servers answer in parts
        text = "".join(str(part.get("text") or "") for part in text if isinstance(part, dict))
    reason = choice.get("finish_reason")
    if reason in ("error", "abort", "cancelled", "insufficient_system_resource"):
        raise Nonsense(f"the server broke the answer off (finish reason {reason})")
    if reason == "content_filter":
        raise Nonsense("the server's content filter withheld the answer")
    if isinstance(message, dict) and message.get("refusal"):
        raise Nonsense(f"the model refuses: {message['refusal']}")
    thought = isinstance(message, dict) and (message.get("reasoning_content") or message.get("reasoning"))
    if isinstance(text, str) and "</think>" in text:
        text, thought = text.rpartition("</think>")[2].lstrip(), True
    cut_off = not text and reason == "length"
    if cut_off or (thought and not str(text or "").strip()) or str(text).lstrip().startswith("<think>"):
        raise Nonsense(f"its tokens were over before the answer (finish reason {reason}); {THINKING}")
    if text is None and isinstance(message, dict) and reason == "stop":
        return ""
    if not isinstance(text, str):
        raise Nonsense(f"the answer has no text (finish reason {reason})")
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text that a file can hold


def completion(found: Any, stop: Sequence[str] = ()) -> Completion:
    """A generated text, cut at the first stop string in case the server has not."""
    text = text_of(found)
    end = min((at for string in stop if (at := text.find(string)) >= 0), default=len(text))
    return Completion(
        text[:end], tokens(found)[1], finished=_first(found).get("finish_reason") != "length" or end < len(text)
    )


def tokens(found: Any) -> tuple[int, int]:
    """The tokens of prompt and answer that a server has counted; 0 where it has not."""
    usage = found.get("usage") if isinstance(found, dict) else None
    counted = usage if isinstance(usage, dict) else {}
    prompt, answer = (counted.get(f"{part}_tokens") for part in ("prompt", "completion"))
    return prompt if isinstance(prompt, int) else 0, answer if isinstance(answer, int) else 0


def named(reply: str, choices: Sequence[str]) -> str | None:
    """The choice that a reply is: all of it, its first line, or what follows its last "answer is"; else None.

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


def by_text(found: Any, continuations: Sequence[str]) -> tuple[Likelihoods, bool]:
    """Likelihoods of what a reply names, and whether it named anything.

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


def by_first_token(found: Any, continuations: Sequence[str]) -> Output | Failure:
    """Log-probability of the tokens that begin each continuation, among the most probable ones of the first place.

    A continuation that none of them begins gets the least probable one's, which it does not exceed.

    Raises:
        Untold: if the answer has no log-probabilities.
    """
    try:
        top = _first(found)["logprobs"]["content"][0]["top_logprobs"]
        pairs = [(str(one["token"]).strip(), float(one["logprob"])) for one in top]
        first, least = pairs[0][0], min(logprob for _, logprob in pairs)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise Untold("the answer has no log-probabilities; use likelihoods=text") from error
    if isnan(sum(logprob for _, logprob in pairs)):
        raise Nonsense("log-probabilities of the answer are no numbers")
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
    return Likelihoods(tuple(scores), (1,) * len(scores), tuple(greedy))


def by_echo(found: Any, prompt: str, continuations: Sequence[str]) -> Likelihoods:
    """Log-probabilities of the tokens that reach beyond the prompt, from an echoed completion of one token.

    Raises:
        Untold: if the answer does not tell them.
    """
    try:
        choices = sorted(found["choices"], key=lambda choice: int(choice["index"]))
        sums = [
            _echoed(choice["logprobs"], len(prompt), len(prompt + string))
            for choice, string in zip(choices, continuations, strict=True)
        ]
    except Nonsense:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise Untold("the server does not echo log-probabilities of the prompt; use endpoint=chat") from error
    logprobs, counts, greedy = zip(*sums, strict=True)
    if isnan(sum(logprobs)):
        raise Nonsense("log-probabilities of the answer are no numbers")
    return Likelihoods(logprobs, counts, greedy)


def _echoed(told: Any, begin: int, end: int) -> tuple[float, int, bool]:
    """Sum, number and greediness of the tokens between two places of the echoed text.

    The last token is the generated one, which begins where the echo ends: what it is off by is a leading BOS.
    """
    offsets = [int(offset) for offset in told["text_offset"]]
    shift = offsets[-1] - end
    if shift < 0:
        raise Nonsense("the echoed text is shorter than what was asked")
    chosen = [
        place
        for place, (own, following) in enumerate(zip(offsets, [*offsets[1:], inf], strict=True))
        if own < end + shift and following > begin + shift
    ]
    scores = [float(told["token_logprobs"][place]) for place in chosen]
    best = [max(told["top_logprobs"][place].values()) for place in chosen]
    return sum(scores), len(scores), all(score >= most for score, most in zip(scores, best, strict=True))


def _first(found: Any) -> dict[str, Any]:
    try:
        choice = found["choices"][0]
    except (KeyError, TypeError, IndexError):
        choice = None
    if not isinstance(choice, dict):
        raise Nonsense(f"the server's answer is no completion: {str(found)[:120]!r}")
    return choice


def _bare(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" .,:;!?\"'`*()[]").casefold()
