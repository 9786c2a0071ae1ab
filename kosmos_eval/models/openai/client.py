"""Many calls to a server at once, on the official client: it retries with back-off, and honours what a server asks for.

The client repeats a call after 408, 409, 429 and 5xx, after timeouts and dropped connections; it waits as long as
``retry-after`` says, or 0.5 s and twice as long each time, up to 8 s.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from kosmos_eval.errors import ModelError
from kosmos_eval.files import redacted
from kosmos_eval.models.openai import errors as refusal
from kosmos_eval.models.openai.replies import Nonsense, Untold

if TYPE_CHECKING:
    import openai

PATIENCE = 120
"""Seconds that are waited for a server that asks for it; whoever is to wait longer can as well start again later."""
KEPT = "what is finished is kept, the same command goes on"

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass
class Server:
    """Where calls go.

    Args:
        url: up to and with ``/v1``; None for the client's own.
        key: sent with each call, never shown.
        retries: how often a call is repeated.
        timeout: seconds until a call that is not answered counts as lost.
        concurrency: calls under way at once.
        answered: whether there ever was an answer, be it an error.
        works: whether there ever was a good one.
        lost: calls in a row that came to nothing.
    """

    url: str | None
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
        """Ask about all jobs, some at once; results come as they are ready. Closing it cancels what is under way."""
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

    async def call(self, client: openai.AsyncOpenAI, path: str, body: dict[str, Any]) -> Any:
        """One call.

        Returns:
            What the server answers, as JSON values.

        Raises:
            Nonsense: if this call cannot be answered; the reason.
            ModelError: if none can: no server there, no such model, a wrong key, nothing answered again and again.
        """
        attempt = 0
        while True:
            found = await self._sent(client, path, body)
            error = refusal.within(found)
            if error is None:
                self.works, self.lost = True, 0
                return found
            passing = refusal.passes(error.get("code"))
            if not passing or attempt == self.retries:
                tried = f" {self._tried()}" if passing else ""
                reason = refusal.readable(error.get("message"), self.key)
                raise self._unanswered(f"the server answers with an error{tried}: {reason}", passing=passing)
            await asyncio.sleep(min(8.0, 0.5 * 2**attempt))
            attempt += 1

    async def _sent(self, client: openai.AsyncOpenAI, path: str, body: dict[str, Any]) -> Any:
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
            reason = f"{error.__cause__ or error}" or "connection dropped"
            if not self.answered or self.lost >= self.concurrency:
                gone = "is gone" if self.answered else "cannot be reached"
                raise ModelError(
                    f"{self.shown} {gone} ({reason}), {self._tried()}{refusal.unreachable(reason)}; what is finished "
                    "is kept, start the server and run again"
                ) from error
            raise Nonsense(f"the connection failed ({reason}), {self._tried()}") from error
        except ValueError as error:
            self.answered = True
            raise self._unanswered(f"the server's answer is no JSON: {error}") from error
        self.answered = True
        if not isinstance(found, str):
            return found
        try:
            return json.loads(found)
        except ValueError as error:
            said = refusal.readable(found[:2000], self.key)[:80]
            streams = ", it streams though it was not asked to" if found.startswith("data:") else ""
            raise self._unanswered(f"the server's answer is no JSON{streams}: {said!r}") from error

    @property
    def shown(self) -> str:
        """The address, without secrets."""
        return str(redacted(self.url or "https://api.openai.com/v1"))

    def _client(self) -> openai.AsyncOpenAI:
        import openai

        return openai.AsyncOpenAI(
            api_key=self.key or "none", base_url=self.url, max_retries=self.retries, timeout=self.timeout
        )

    def _tried(self) -> str:
        return f"after {self.retries + 1} tries"

    def _unanswered(self, reason: str, *, passing: bool = False) -> Exception:
        """The failure of one call, or of all where so many in a row came to nothing.

        A server that works may refuse any number of requests for themselves; one that never did, or that is not well,
        is not asked on and on.
        """
        if self.works and not passing:
            self.lost = 0
            return Nonsense(reason)
        self.lost += 1
        if self.lost < max(8, self.concurrency):
            return Nonsense(reason)
        last = "the last " if self.works else ""
        return ModelError(f"{self.shown} answered none of {last}{self.lost} requests ({reason}); {KEPT}")

    async def _refused(
        self, client: openai.AsyncOpenAI, error: openai.APIStatusError, path: str, body: dict[str, Any]
    ) -> Exception:
        """What a status means: for this call, or for all of them."""
        found = error.body if isinstance(error.body, dict) else {}
        told = found.get("message") or found.get("detail") or error.response.text or error.message
        reason, status = refusal.readable(told, self.key), error.status_code
        if error.response.history:
            there = str(redacted(str(error.response.url))).removesuffix(path)
            return ModelError(f"{self.shown} redirects to {there} and that answers {status}; name the right address")
        if status in (401, 403):
            given = "the key" if self.key else "to answer without a key"
            return ModelError(f"{self.shown} refuses {given} ({reason}); set OPENAI_API_KEY, or the option api_key")
        if status == 402 or found.get("code") == "insufficient_quota":
            return ModelError(f"{self.shown}: {reason}; {KEPT}")
        if status in (404, 405):
            return ModelError(f"{await self._absent(client, path, body)} ({reason}); expected openai:MODEL@URL/v1")
        if status < 500 and "logprobs" in body and refusal.tells_no_logprobs(reason):
            return Untold(f"the server tells no log-probabilities ({reason}); use likelihoods=text")
        if status in (400, 422) and not self.works and (helps := refusal.advice(reason)):
            return ModelError(f"{self.shown} refuses requests of this form ({reason}); {helps}")
        passing = refusal.passes(status)
        if passing and (wait := error.response.headers.get("retry-after", "")).isdecimal() and int(wait) > PATIENCE:
            return ModelError(f"{self.shown} asks to wait {wait} s ({reason}); {KEPT}")
        tried = f" {self._tried()}" if passing else ""
        said = f"the server answers {status}{tried}: {reason}{refusal.spared(reason)}"
        return self._unanswered(said, passing=passing)

    async def _absent(self, client: openai.AsyncOpenAI, path: str, body: dict[str, Any]) -> str:
        """Whether it is the path or the model that a server does not have, as far as it tells."""
        import openai

        try:
            page: Any = await client.with_options(max_retries=0).get("/models", cast_to=object)
            served = [str(one["id"]) for one in page["data"]]
        except (openai.OpenAIError, ValueError, KeyError, TypeError):
            return f"{self.shown} has no such model or path"
        if body["model"] in served:
            return f"{self.shown} has {body['model']}, but no {path}"
        return f"{self.shown} has no model {body['model']}, only {', '.join(served[:8])}"
