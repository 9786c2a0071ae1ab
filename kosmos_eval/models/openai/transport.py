"""The HTTP client below the official client: it follows no redirects, and bounds time and size of every answer."""

from __future__ import annotations

import asyncio
from functools import cache
from importlib import import_module
from typing import Any

from kosmos_eval.models.openai.replies import BadResponse

MOST_BYTES = 32_000_000
"""The largest answer that is read, unpacked."""
PACKINGS = ("", "identity", "gzip", "deflate")


def http_client(url: str, seconds: float) -> Any:
    """Make a client of whichever version of httpx the official client uses.

    Args:
        url: what it will call.
        seconds: until a call counts as lost, from its first byte sent to the last one received.

    Raises:
        ImportError, OSError, ValueError: if the address or the environment's proxies or certificates cannot be used.
    """
    httpx, bounded = _bounded()
    try:
        httpx.URL(url)
        client = bounded(timeout=seconds, follow_redirects=False, headers={"accept-encoding": "gzip, deflate"})
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from error
    client.seconds = seconds
    return client


@cache
def _bounded() -> tuple[Any, Any]:
    """Return that version of httpx, and the class of clients."""
    import openai

    default: Any = openai.DefaultAsyncHttpxClient
    httpx = import_module(default.__mro__[1].__module__.partition(".")[0])

    class Bounded(default):  # type: ignore[misc]
        seconds: float

        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            try:
                async with asyncio.timeout(self.seconds):
                    response = await super().send(request, stream=True, **options)
                    try:
                        return await _whole(response)
                    finally:
                        await response.aclose()
            except TimeoutError as error:
                raise httpx.ReadTimeout("the answer did not end in time", request=request) from error

    return httpx, Bounded


async def _whole(response: Any) -> Any:
    """The response with its content read and unpacked.

    Raises:
        BadResponse: if that is too large, or packed in a way that was not asked for.
    """
    if response.headers.get("content-encoding", "").strip().lower() not in PACKINGS:
        raise BadResponse(f"the answer is packed as {response.headers['content-encoding']}; expected gzip or nothing")
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MOST_BYTES:
            raise BadResponse(f"the answer has more than {MOST_BYTES:,} bytes")
    packed = ("content-encoding", "content-length", "transfer-encoding")
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in packed]
    return type(response)(response.status_code, headers=headers, content=bytes(content), request=response.request)
