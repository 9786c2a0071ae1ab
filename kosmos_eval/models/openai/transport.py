"""The HTTP client under the official client: no redirects, and a limit on the time and size of every answer."""

from __future__ import annotations

import asyncio
from functools import cache
from importlib import import_module
from typing import Any

from kosmos_eval.models.openai.replies import BadResponse

Httpx = Any
"""A client, request or response, or the module of them: httpx, or the fork of it that the official client uses."""

MOST_BYTES = 32_000_000
"""The size limit of an answer, uncompressed."""
ENCODINGS = ("", "identity", "gzip", "deflate")


def http_client(url: str, seconds: float) -> Httpx:
    """Make a client, of the httpx version that the official client uses.

    Args:
        url: what it will call.
        seconds: the time limit of a call, from the first byte sent to the last one received.

    Raises:
        ImportError, OSError, ValueError: if the address or the environment's proxies or certificates cannot be used.
    """
    module, bounded = _bounded()
    try:
        module.URL(url)
        return bounded(timeout=seconds, follow_redirects=False, headers={"accept-encoding": "gzip, deflate"})
    except module.InvalidURL as error:
        raise ValueError(str(error)) from error


@cache
def _bounded() -> tuple[Httpx, Httpx]:
    """Return the httpx module, and the class of clients."""
    import openai

    default: Httpx = openai.DefaultAsyncHttpxClient
    module = import_module(default.__mro__[1].__module__.partition(".")[0])

    class Bounded(default):  # type: ignore[misc]
        async def send(self, request: Httpx, *, stream: bool = False, **options: object) -> Httpx:
            try:
                async with asyncio.timeout(self.timeout.read):
                    response = await super().send(request, stream=True, **options)
                    try:
                        return await _whole(response)
                    finally:
                        await response.aclose()
            except TimeoutError as error:
                raise module.ReadTimeout("the answer did not end in time", request=request) from error

    return module, Bounded


async def _whole(response: Httpx) -> Httpx:
    """Return the response with its content read and uncompressed.

    Raises:
        BadResponse: if the content is too large, or of an encoding that was not asked for.
    """
    if response.headers.get("content-encoding", "").strip().lower() not in ENCODINGS:
        raise BadResponse(f"the answer is encoded as {response.headers['content-encoding']}; expected gzip or none")
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MOST_BYTES:
            raise BadResponse(f"the answer has more than {MOST_BYTES:,} bytes")
    packed = ("content-encoding", "content-length", "transfer-encoding")
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in packed]
    return type(response)(response.status_code, headers=headers, content=bytes(content), request=response.request)
