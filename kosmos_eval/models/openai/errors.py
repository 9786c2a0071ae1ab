"""Error messages of servers: whether one concerns a single request or all, and which option helps."""

from __future__ import annotations

import re

from kosmos_eval.files import Json, redacted

_BLIND = re.compile(
    r"(not|only|no|un\w+|unknown|must be|valid)\b.{0,80}(image|multi-?modal|vision|string)"
    r"|(image|vision).{0,80}(not|n't|only|un)|mmproj|at most 0 image|missing .{0,40}image",
    re.IGNORECASE,
)
"""Messages that a model takes no images."""

_THIS_IMAGE = re.compile(
    r"too (large|big|long|many|small)|exceed|identif|decod|corrupt|truncat|pixel|at most [1-9]|context", re.IGNORECASE
)
"""Messages about a certain image, or about their number."""

_REFUSED = r"(unsupported|not support|not permitted|not allowed|unrecogni[sz]ed|unknown|unexpected|deprecated|extra)"
_ADVICE: tuple[tuple[str, str], ...] = (
    (rf"{_REFUSED}.{{0,40}}max_tokens", "give --model-option limit_name=max_completion_tokens"),
    (rf"{_REFUSED}.{{0,40}}max_completion_tokens", "give --model-option limit_name=max_tokens"),
    (rf"{_REFUSED}.{{0,40}}temperature|temperature.{{0,40}}{_REFUSED}", "--model-option decoding=server leaves it out"),
    (r"chat template", "--model-option endpoint=completions feeds prompts as they are"),
)


def sees_nothing(reason: str) -> bool:
    """Return whether an error says that the model takes no images at all."""
    return bool(_BLIND.search(reason)) and not _THIS_IMAGE.search(reason)


def advice(reason: str) -> str:
    """Return the option that helps if a server refuses all requests of this form; empty if none is known."""
    return next((said for pattern, said in _ADVICE if re.search(pattern, reason, re.IGNORECASE)), "")


def hint(reason: str) -> str:
    """Return advice on a single refused request; empty if there is none."""
    most = re.search(r"at most ([1-9]\d*) image", reason, re.IGNORECASE)
    return f"; --model-option images={most[1]} leaves out demonstrations beyond" if most else ""


def tells_no_logprobs(reason: str) -> bool:
    """Return whether an error is about log-probabilities."""
    return bool(re.search(r"log_?prob", reason, re.IGNORECASE))


def is_transient(status: object) -> bool:
    """Return whether an error of this status may go away by itself."""
    return isinstance(status, int) and (status in (408, 409, 429) or status >= 500)


def embedded_error(found: object) -> Json | None:
    """Return the error inside an answer of status 200, as some proxies send it."""
    error = found.get("error") if isinstance(found, dict) and not found.get("choices") else None
    return error if isinstance(error, dict) else {"message": str(error)} if error else None


def readable(told: object, most: int = 300) -> str:
    """Return a server's message in one line, without HTML tags and secrets."""
    text = str(told)[:20_000]
    if text.lstrip()[:1] == "<":
        text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
    return " ".join(str(redacted(text)).split())[:most]


def unreachable(reason: str) -> str:
    """Return advice on a failed connection; empty if there is none."""
    if re.search(r"CERTIFICATE_VERIFY_FAILED", reason):
        return "; name its certificate by the environment's SSL_CERT_FILE"
    if re.search(r"WRONG_VERSION_NUMBER|RECORD_LAYER|record layer", reason, re.IGNORECASE):
        return "; it does not speak https, try http"
    return ""
