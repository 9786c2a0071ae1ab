"""``--model openai:MODEL@URL``: a model behind any OpenAI-compatible server (vLLM, SGLang, llama.cpp, hosted).

A prompt is one user message with its images as data URLs in reading order; decoding is greedy. A feature that chat
servers lack is replaced by the nearest one only if an option or a note says so:

- Choices are enforced by the server where ``choices`` names its way of doing it, otherwise listed after the prompt; a
  reply that is none of them stands as it is.
- Likelihoods are those of the first token where ``likelihoods=first_token``, otherwise the continuations are listed and
  the one that the reply names is the likeliest (none: an exact tie). ``endpoint=completions``, for text alone, gives
  true ones where the server echoes log-probabilities.
- Beam search is refused unless ``beams=greedy``.
- What a model reasons before it answers is no part of the answer; ``thinking`` gives it tokens for that.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field
from functools import lru_cache, partial
from hashlib import sha256
from importlib.util import find_spec
from math import inf
from typing import TYPE_CHECKING, Literal

from kosmos_eval.errors import BadImage, ModelError
from kosmos_eval.files import redacted
from kosmos_eval.models.openai import replies
from kosmos_eval.models.openai.client import Server, checked_key, checked_url
from kosmos_eval.models.openai.errors import sees_nothing
from kosmos_eval.models.openai.messages import CONSTRAINTS, Body, Constraint, Url, data_url, listed, messages, plain
from kosmos_eval.models.openai.replies import TOP, BadResponse, MissingLogprobs
from kosmos_eval.models.usage import RemoteModel, UsageLog
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Completion, Failure, Generate, Likelihoods, LogLikelihood, Output, Request

if TYPE_CHECKING:
    import openai

_COUNTED = ("prompt_tokens", "answer_tokens")


@dataclass(frozen=True)
class Call:
    """The body of a call, and the function that reads its answer."""

    body: Body
    read: Callable[[object], Output | Failure]


@dataclass
class OpenAIModel(RemoteModel):
    """A model behind an OpenAI-compatible server: MODEL@URL, or MODEL of OPENAI_BASE_URL or OpenAI itself.

    Args:
        model_at_url: the model's name there, and the address up to and with ``/v1``.
        api_key: by default that of the environment's OPENAI_API_KEY.
        endpoint: ``completions`` feeds the prompt as it is, for base models of text.
        likelihoods: how continuations are scored at a chat endpoint.
        choices: how a server is told to answer with one of given strings.
        beams: what becomes of beam search.
        images: the most images of one prompt; demonstrations beyond are dropped; 0 for a model of text alone.
        concurrency: requests under way at once.
        retries: how often a request is repeated after an error that may pass.
        timeout: seconds until a request that is not answered to its end counts as lost.
        limit_name: what the server calls the most tokens of an answer.
        decoding: ``server`` leaves that to the server, where it allows nothing else.
        thinking: tokens that the model may reason with before each answer; stop strings then end the answer alone.
        price_in: of a million tokens of prompts, in any currency.
        price_out: of a million tokens of answers.

    Raises:
        ModelError: if an option is invalid, or the client is not installed.
    """

    model_at_url: str
    _: KW_ONLY
    api_key: str = field(default="", repr=False)
    endpoint: Literal["chat", "completions"] = "chat"
    likelihoods: Literal["text", "first_token"] = "text"
    choices: Constraint = "text"
    beams: Literal["refuse", "greedy"] = "refuse"
    images: int | None = None
    concurrency: int = 16
    retries: int = 8
    timeout: float = 120.0
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    decoding: Literal["greedy", "server"] = "greedy"
    thinking: int = 0
    price_in: float = 0.0
    price_out: float = 0.0

    def __post_init__(self) -> None:
        if find_spec("openai") is None:
            raise ModelError("openai: needs the official client; pip install 'kosmos-eval[openai]'")
        found = re.fullmatch(r"(?P<model>.+?)(?:@(?P<url>https?://.*))?", self.model_at_url, re.DOTALL)
        if found is None or (found["url"] is None and "@" in self.model_at_url):
            shown = redacted(self.model_at_url)
            raise ModelError(f"openai:{shown} is no model of a server; expected openai:MODEL@http://HOST/v1")
        leasts = {"concurrency": 1, "retries": 0, "timeout": 0.001, "thinking": 0, "price_in": 0, "price_out": 0}
        for name, least in leasts.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < inf:
                raise ModelError(f"{name} is {value!r}; expected a number of at least {least}")
        self._model = found["model"]
        key = checked_key(self.api_key or os.environ.get("OPENAI_API_KEY", ""))
        url = checked_url(found["url"] or os.environ.get("OPENAI_BASE_URL", "").strip() or "https://api.openai.com/v1")
        self._server = Server(url, key, self.retries, self.timeout, self.concurrency)
        self.usage = UsageLog()
        self._seen = self._told = False

    @property
    def name(self) -> str:
        return f"openai:{self._model}"

    @property
    def fingerprint(self) -> str:
        """Digest of the model's name and the options that decide answers; the weights are unknown."""
        decides = (self.endpoint, self.likelihoods, self.choices, self.beams, self.decoding, self.thinking)
        return sha256(json.dumps([self._model, *decides]).encode()).hexdigest()

    @property
    def address(self) -> str:
        """The address that answers, without secrets; another one may hold other weights under the same name."""
        return self._server.shown

    @property
    def runtime_options(self) -> frozenset[str]:
        return frozenset({"api_key", "concurrency", "retries", "timeout", "limit_name", "price_in", "price_out"})

    @property
    def notes(self) -> list[str]:
        """Substituted features and the cost, over all starts of the run."""
        kept = self.usage.whole()
        requests, prompts, answers, unnamed = (kept.counts[name] for name in ("requests", *_COUNTED, "unnamed"))
        where = ", ".join(f"{count} by {place}" for place, count in kept.endpoints.items())
        used = f"{requests} requests answered{f' ({where})' if len(kept.endpoints) > 1 else ''}"
        used += f", {prompts:,} tokens of prompts, {answers:,} of answers"
        cost = (prompts * self.price_in + answers * self.price_out) / 1e6
        used += " (the server counts none)" if requests and not prompts else ""
        said = [*kept.notes, *([f"{unnamed} replies were none of the choices"] if unnamed else [])]
        return [*said, f"{used}, cost {cost:.4f}" if cost else used]

    def fits(self, request: Request) -> bool:
        """Return whether there are no more images than the server takes; its context is not known.

        Raises:
            ModelError: if there are images and the model takes none.
        """
        if self.images == 0 and request.prompt.images:
            raise ModelError(f"{self.name} reads text alone (images=0), but the task shows images; take a text task")
        return self.images is None or len(request.prompt.images) <= self.images

    def answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Output | Failure]]:
        """Answer in parallel, as the server does; what it cannot answer fails with its reason.

        Raises:
            ModelError: if a request asks for what the server does not offer, or no request can be answered.
        """
        for request in requests:
            self._check(request)
        url = lru_cache(maxsize=256)(data_url)

        async def ask(client: openai.AsyncOpenAI, job: tuple[int, Request]) -> tuple[int, Output | Failure]:
            from anyio import to_thread

            index, request = job
            try:
                call = await to_thread.run_sync(self._call, request, url)
                body = {"model": self._model, **self._decoding(request), **call.body}
                found = await self._answer(client, body)
                self._seen = self._seen or bool(request.prompt.images)
                output = call.read(found)
                if _is_blank(output) and any(map(str.isspace, body.pop("stop", ()))):
                    # The server may have stopped at a line break that the answer only begins with.
                    output = call.read(await self._answer(client, body))
                self._told = self._told or isinstance(request, LogLikelihood)
                return index, output
            except BadImage as error:
                return index, Failure(str(error))
            except BadResponse as error:
                if isinstance(error, MissingLogprobs) and not self._told:
                    raise ModelError(f"{self.name}: {error}") from error  # and it would be so for all requests
                if request.prompt.images and not self._seen and sees_nothing(str(error)):
                    raise ModelError(f"{self.name} takes no images ({error}); take a text task") from error
                return index, Failure(str(error))

        yield from self._server.stream(list(enumerate(requests)), ask)

    async def _answer(self, client: openai.AsyncOpenAI, body: Body) -> object:
        path = "/chat/completions" if self.endpoint == "chat" else "/completions"
        found = await self._server.call(client, path, body)
        self.usage.answered(self.address, **dict(zip(_COUNTED, replies.tokens(found), strict=True)))
        return found

    def _check(self, request: Request) -> None:
        if isinstance(request, Generate) and request.beams > 1:
            if self.beams == "refuse":
                raise ModelError(
                    f"the task asks for beam search of {request.beams}, which {self._server.shown} does not offer; "
                    "--model-option beams=greedy decodes greedily and says so"
                )
            self.usage.note(f"greedy decoding instead of beam search of {request.beams}")
        if isinstance(request, LogLikelihood) and request.terminated and self.endpoint == "completions":
            raise ModelError("a server does not tell how likely the end of a text is; use endpoint=chat")
        if self.endpoint == "completions":
            plain(request.prompt)

    def _call(self, request: Request, url: Url) -> Call:
        if isinstance(request, LogLikelihood):
            return self._scored(request, url)
        if request.choices is not None:
            return self._chosen(request, request.choices, url)
        body = self._prompt(request.prompt, url) | {self.limit_name: request.max_tokens + self.thinking}
        if request.stop and not self.thinking:
            body["stop"] = list(request.stop[:4])  # servers take four; the rest is cut here
        return Call(body, partial(replies.completion, stop=request.stop))

    def _first_token(self, found: object, continuations: Sequence[str]) -> Output | Failure:
        output = replies.by_first_token(found, continuations)
        if isinstance(output, Likelihoods) and len({*continuations}) > 1 and len({*output.logprobs}) == 1:
            self.usage.count(unnamed=1)
        return output

    def _decoding(self, request: Request) -> Body:
        """Return the decoding parameters; greedy by default."""
        if isinstance(request, Generate) and request.sampling is not None:
            return asdict(request.sampling)
        if self.decoding == "server":
            self.usage.note("decoding left to the server")
            return {}
        return {"temperature": 0}

    def _prompt(self, prompt: Prompt, url: Url) -> Body:
        return {"messages": messages(prompt, url)} if self.endpoint == "chat" else {"prompt": plain(prompt)}

    def _chosen(self, request: Generate, choices: Sequence[str], url: Url) -> Call:
        if not choices:
            raise BadResponse("there are no choices to choose from")
        longest = max(len(choice.encode()) for choice in choices)
        limit: Body = {self.limit_name: max(request.max_tokens, longest) + self.thinking}
        self.usage.note(f"choices by {self.choices}")
        if self.choices == "text":
            body = self._prompt(request.prompt + listed(choices), url) | limit
        else:
            bare = list(dict.fromkeys(choice.strip() for choice in choices))
            body = {**self._prompt(request.prompt, url), **limit, **CONSTRAINTS[self.choices](bare)}

        def read(found: object) -> Output | Failure:
            text = replies.text_of(found)
            meant = replies.named(text, choices)
            if meant is None and self.choices != "text":
                return Failure(f"the server ignores {self.choices}: {text[:60]!r} is none of the choices")
            if meant is None:
                self.usage.count(unnamed=1)
            return Completion(text if meant is None else meant, replies.tokens(found)[1])

        return Call(body, read)

    def _scored(self, request: LogLikelihood, url: Url) -> Call:
        strings = request.continuations
        if self.endpoint == "completions":
            prompt = plain(request.prompt)
            body = {"prompt": [prompt + string for string in strings], "echo": True, "logprobs": 1, "max_tokens": 1}
            return Call(body, lambda found: replies.by_echo(found, prompt, strings))
        if self.likelihoods == "first_token":
            self.usage.note("likelihoods of the first token")
            told = {"logprobs": True, "top_logprobs": TOP, self.limit_name: 1}
            return Call(self._prompt(request.prompt, url) | told, partial(self._first_token, continuations=strings))
        self.usage.note("likelihoods by the text of the reply")
        shown = request.prompt + listed(strings) if len(strings) > 1 else request.prompt
        limit = {self.limit_name: max(16, *(len(string.encode()) for string in strings)) + self.thinking}

        def read(found: object) -> Output:
            likelihoods, answered = replies.by_text(found, strings)
            if not answered:
                self.usage.count(unnamed=1)
            return likelihoods

        return Call(self._prompt(shown, url) | limit, read)


def _is_blank(output: Output | Failure) -> bool:
    return isinstance(output, Completion) and not output.text.strip()
