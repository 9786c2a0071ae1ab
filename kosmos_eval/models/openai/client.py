"""Concurrent calls to a server with the official client, which retries with back-off and honours ``retry-after``.

The client repeats a call after 408, 409, 429 and 5xx, after timeouts and dropped connections; it waits as long as
``retry-after`` says, or 0.5 s and twice as long each time, up to 8 s.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote, urljoin, urlsplit

from kosmos_eval.errors import ModelError
from kosmos_eval.files import redacted, register_secret, user_info
from kosmos_eval.models.openai.errors import (
    advice,
    embedded_error,
    hint,
    is_transient,
    readable,
    tells_no_logprobs,
    unreachable,
)
from kosmos_eval.models.openai.messages import Body
from kosmos_eval.models.openai.replies import BadResponse, MissingLogprobs
from kosmos_eval.models.openai.transport import Httpx, http_client

if TYPE_CHECKING:
    import openai

PATIENCE = 120
"""The longest wait, in seconds, that a server may ask for; after that the run stops and can be resumed later."""
KEPT = "finished samples are kept, rerun the same command to continue"
ENVIRONMENT = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that decide how connections are made, also in lower case."""

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass
class Server:
    """A server and how it is called.

    Args:
        url: up to and with ``/v1`` (`checked_url`).
        key: sent with each call, never shown (`checked_key`).
        retries: how often a call is repeated.
        timeout: seconds until a call that is not answered to its end counts as lost.
        concurrency: calls under way at once.
        answered: whether there ever was an answer, be it an error.
        works: whether there ever was a good one.
        lost: calls in a row that came to nothing.
    """

    url: str
    key: str
    retries: int
    timeout: float
    concurrency: int
    answered: bool = False
    works: bool = False
    lost: int = 0

    def stream(
        self, jobs: Sequence[Job], ask: Callable[[openai.AsyncOpenAI, Job], Awaitable[Result]]
    ) -> Iterator[Result]:
        """Run all jobs, several at a time, and yield results as they are ready; closing cancels running jobs."""
        from anyio.from_thread import start_blocking_portal

        found: SimpleQueue[tuple[Result] | None] = SimpleQueue()
        waiting = iter(jobs)

        async def worker(client: openai.AsyncOpenAI) -> None:
            for job in waiting:
                found.put((await ask(client, job),))

        async def work() -> None:
            async with self._client() as client:
                await asyncio.gather(*(worker(client) for _ in range(min(self.concurrency, len(jobs)))))

        with start_blocking_portal() as portal:
            task = portal.start_task_soon(work)
            task.add_done_callback(lambda _: found.put(None))
            try:
                while (item := found.get()) is not None:
                    yield item[0]
            finally:
                task.cancel()
            task.result()

    async def call(self, client: openai.AsyncOpenAI, path: str, body: Body) -> object:
        """Make one call.

        Returns:
            The answer, as JSON values.

        Raises:
            BadResponse: if this call fails.
            ModelError: if all calls would: no server, no such model, a wrong key, no answer again and again.
        """
        attempt = 0
        while True:
            found = await self._sent(client, path, body)
            error = embedded_error(found)
            if error is None:
                self.works, self.lost = True, 0
                return found
            passing = is_transient(error.get("code"))
            if not passing or attempt == self.retries:
                tried = f" {self._tried()}" if passing else ""
                reason = readable(error.get("message"))
                raise self._unanswered(f"the server answers with an error{tried}: {reason}", passing=passing)
            await asyncio.sleep(min(8.0, 0.5 * 2**attempt))
            attempt += 1

    async def _sent(self, client: openai.AsyncOpenAI, path: str, body: Body) -> object:
        import openai

        try:
            found = await client.post(path, cast_to=object, body=body)
        except openai.APIStatusError as error:
            self.answered = True
            raise await self._refused(client, error, path, body) from error
        except openai.APITimeoutError as error:
            raise self._unanswered(f"no answer within {self.timeout:g} s, {self._tried()}", passing=True) from error
        except openai.APIConnectionError as error:
            self.lost += 1
            reason = readable(error.__cause__ or error) or "connection dropped"
            if not self.answered or self.lost >= self.concurrency:
                gone = "is gone" if self.answered else "cannot be reached"
                raise ModelError(
                    f"{self.shown} {gone} ({reason}), {self._tried()}{unreachable(reason)}; finished "
                    "samples are kept, start the server and run again"
                ) from error
            raise BadResponse(f"the connection failed ({reason}), {self._tried()}") from error
        except UnicodeEncodeError as error:
            raise BadResponse("the prompt has half a surrogate pair, which is no text; fix the data") from error
        except BadResponse as error:
            self.answered = True
            raise self._unanswered(str(error)) from error
        except (ValueError, RecursionError) as error:
            self.answered = True
            raise self._unanswered(f"the server's answer is no JSON: {readable(error)}") from error
        self.answered = True
        if not isinstance(found, str):
            return found
        try:
            return json.loads(found)
        except (ValueError, RecursionError) as error:
            said = readable(found, 80)
            streams = ", it streams though it was not asked to" if found.startswith("data:") else ""
            raise self._unanswered(f"the server's answer is no JSON{streams}: {said!r}") from error

    @property
    def shown(self) -> str:
        """The address, without secrets."""
        return str(redacted(self.url))

    def _client(self) -> openai.AsyncOpenAI:
        """Make a client; it sends ``none`` if there is no key.

        Raises:
            ModelError: if the environment's proxies or certificates cannot be used.
        """
        import openai

        try:
            return openai.AsyncOpenAI(
                api_key=self.key or "none",
                base_url=self.url,
                max_retries=self.retries,
                timeout=self.timeout,
                http_client=http_client(self.url, self.timeout),
            )
        except (ImportError, OSError, ValueError, openai.OpenAIError) as error:
            reason = readable(f"{type(error).__name__}: {error}")
            given = ", ".join(name for name in ENVIRONMENT if os.environ.get(name) or os.environ.get(name.lower()))
            cause = f"; fix the environment's {given}, or unset it" if given else ""
            raise ModelError(f"no connection to {self.shown} can be prepared ({reason}){cause}") from error

    def _tried(self) -> str:
        return f"after {self.retries + 1} tries"

    def _unanswered(self, reason: str, *, passing: bool = False) -> Exception:
        """Return the error of one call, or of the run if too many calls in a row have failed.

        A working server may refuse any number of requests. One that never worked, or whose errors look transient, is
        given up.
        """
        if self.works and not passing:
            self.lost = 0
            return BadResponse(reason)
        self.lost += 1
        if self.lost < max(8, self.concurrency):
            return BadResponse(reason)
        last = "the last " if self.works else ""
        return ModelError(f"{self.shown} answered none of {last}{self.lost} requests ({reason}); {KEPT}")

    async def _refused(
        self, client: openai.AsyncOpenAI, error: openai.APIStatusError, path: str, body: Body
    ) -> Exception:
        """Return the error that a status stands for: of this call, or of the run."""
        found = error.body if isinstance(error.body, dict) else {}
        told = found.get("message") or found.get("detail") or error.response.text or error.message
        reason, status = readable(told), error.status_code
        if 300 <= status < 400:
            there = readable(_joined(error.response)).removesuffix(path)
            problem = f"{self.shown} redirects to {there}, which is not followed"
            return ModelError(f"{problem}; if you trust it, use that address")
        if status in (401, 403):
            given = "the key" if self.key else "to answer without a key"
            return ModelError(f"{self.shown} refuses {given} ({reason}); set OPENAI_API_KEY, or the option api_key")
        if status == 402 or found.get("code") == "insufficient_quota":
            return ModelError(f"{self.shown}: {reason}; {KEPT}")
        if status in (404, 405):
            return ModelError(f"{await self._absent(client, path, body)} ({reason}); expected openai:MODEL@URL/v1")
        if status < 500 and "logprobs" in body and tells_no_logprobs(reason):
            return MissingLogprobs(f"the server tells no log-probabilities ({reason}); use likelihoods=text")
        if status in (400, 422) and not self.works and (helps := advice(reason)):
            return ModelError(f"{self.shown} refuses requests of this form ({reason}); {helps}")
        passing = is_transient(status)
        wait = error.response.headers.get("retry-after", "")[:9]
        if passing and wait.isdecimal() and int(wait) > PATIENCE:
            return ModelError(f"{self.shown} asks to wait {wait} s ({reason}); {KEPT}")
        tried = f" {self._tried()}" if passing else ""
        said = f"the server answers {status}{tried}: {reason}{hint(reason)}"
        return self._unanswered(said, passing=passing)

    async def _absent(self, client: openai.AsyncOpenAI, path: str, body: Body) -> str:
        """Say whether a server lacks the path or the model, if it tells."""
        import openai

        try:
            page: Any = await client.with_options(max_retries=0).get("/models", cast_to=object)
            served = [str(one["id"]) for one in page["data"]]
        except (openai.OpenAIError, ValueError, KeyError, TypeError):
            return f"{self.shown} has no such model or path"
        if body["model"] in served:
            return f"{self.shown} has {body['model']}, but no {path}"
        return f"{self.shown} has no model {body['model']}, only {readable(', '.join(served[:8]))}"


def _joined(response: Httpx) -> str:
    """Return the address that a response redirects to."""
    location = response.headers.get("location", "")
    try:
        return str(urljoin(str(response.url), location))
    except ValueError:
        return str(location)


def checked_key(given: str) -> str:
    """Strip a key and register it as a secret.

    Raises:
        ModelError: if it cannot be sent; the message does not show it.
    """
    register_secret(given)
    key = given.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ModelError(
            "the key contains a line break, a space or a non-ASCII character; check OPENAI_API_KEY, or the "
            "option api_key"
        )
    return key


def checked_url(url: str) -> str:
    """Return an address with its user and password URL-encoded, and register these as secrets.

    Raises:
        ModelError: if host or port is invalid, or more follows after ``/v1``.
    """
    scheme, _, after = url.strip().partition("://")
    info, rest = user_info(after)
    user, colon, password = (unquote(part) for part in info.partition(":"))
    for secret in (password, info.partition(":")[2]) if password else (user,):
        register_secret(secret)
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        valid = bool(scheme in ("http", "https") and parts.hostname and parts.port != 0 and not re.search(r"\s", rest))
    except ValueError:
        valid = False
    _, at, host = rest.rpartition("@")  # what stands before an @ may be a secret, however it is written
    shown = redacted(f"{scheme}://{'***@' if info or at else ''}{re.split(r'[?#]', host)[0]}")
    if not valid:
        raise ModelError(f"{shown} is no address; expected http://HOST:PORT/v1")
    if re.search(r"[?#]|/completions/?$", rest):
        raise ModelError(f"{shown} goes beyond the address; expected it up to and including /v1")
    return f"{scheme}://{quote(user, safe='')}{colon}{quote(password, safe='')}{'@' if info else ''}{rest}"
