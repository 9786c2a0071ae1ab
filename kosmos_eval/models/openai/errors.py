"""What servers say when they do not answer, as far as is known: does it concern one request or all, and what helps?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kosmos_eval.files import redacted

_BLIND = re.compile(
    r"(not|only|no|un\w+|unknown|must be|valid)\b.{0,80}(image|multi-?modal|vision|string)"
    r"|(image|vision).{0,80}(not|n't|only|un)|mmproj|at most 0 image|missing .{0,40}image",
    re.IGNORECASE,
)
"""That a model sees no images."""

_THIS_IMAGE = re.compile(
    r"too (large|big|long|many|small)|exceed|identif|decod|corrupt|truncat|pixel|at most [1-9]|context", re.IGNORECASE
)
"""That something is wrong with an image, or with how many there are."""

_REFUSED = r"(unsupported|not support|not permitted|not allowed|unrecogni[sz]ed|unknown|unexpected|deprecated|extra)"
_ADVICE: tuple[tuple[str, str], ...] = (
    (rf"{_REFUSED}.{{0,40}}max_tokens", "give --model-option limit_name=max_completion_tokens"),
    (rf"{_REFUSED}.{{0,40}}max_completion_tokens", "give --model-option limit_name=max_tokens"),
    (rf"{_REFUSED}.{{0,40}}temperature|temperature.{{0,40}}{_REFUSED}", "--model-option decoding=server leaves it out"),
    (r"chat template", "--model-option endpoint=completions feeds prompts as they are"),
)


def sees_nothing(reason: str) -> bool:
    """Whether a reason says that the model takes no images at all."""
    return bool(_BLIND.search(reason)) and not _THIS_IMAGE.search(reason)


def advice(reason: str) -> str:
    """The option that helps where a server refuses a request for its form, so all requests; empty if none is known."""
    return next((said for pattern, said in _ADVICE if re.search(pattern, reason, re.IGNORECASE)), "")


def hint(reason: str) -> str:
    """What helps where a request alone is refused; empty if nothing is known."""
    most = re.search(r"at most ([1-9]\d*) image", reason, re.IGNORECASE)
    return f"; --model-option images={most[1]} leaves out demonstrations beyond" if most else ""


def tells_no_logprobs(reason: str) -> bool:
    """Whether a reason is that log-probabilities were asked for."""
    return bool(re.search(r"log_?prob", reason, re.IGNORECASE))


def is_transient(status: object) -> bool:
    """Whether an error of this status may pass by itself."""
    return isinstance(status, int) and (status in (408, 409, 429) or status >= 500)


def embedded_error(found: Any) -> Mapping[str, Any] | None:
    """The error that an answer of status 200 holds, as proxies send them."""
    error = found.get("error") if isinstance(found, dict) and not found.get("choices") else None
    return error if isinstance(error, dict) else {"message": str(error)} if error else None


def readable(told: object, most: int = 300) -> str:
    """Return what a server told, in one line, without tags of a page and without secrets."""
    text = str(told)[:20_000]
    if text.lstrip()[:1] == "<":
        text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
    return " ".join(str(redacted(text)).split())[:most]


def unreachable(reason: str) -> str:
    """What helps where no connection can be made; empty if that is not known."""
    if re.search(r"CERTIFICATE_VERIFY_FAILED", reason):
        return "; name its certificate by the environment's SSL_CERT_FILE"
    if re.search(r"WRONG_VERSION_NUMBER|RECORD_LAYER|record layer", reason, re.IGNORECASE):
        return "; it does not speak https, try http"
    return ""
