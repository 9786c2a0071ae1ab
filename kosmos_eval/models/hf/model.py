"""``--model hf:PATH``: any transformers image-text-to-text model, or a causal language model for text alone.

Interleaved images stand in their true places, also in demonstrations. With ``chat_template=auto`` a prompt becomes one
turn of the user where the model has a chat template, and the text that is generated or scored follows its generation
prompt; ``none`` feeds the prompt as it is. A text is decoded as the task asks: settings of decoding in
``generation_config.json``, such as KOSMOS-2's ``no_repeat_ngram_size``, are left out, and a note says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadImage, ModelError, UnknownName
from kosmos_eval.model import Model
from kosmos_eval.models.decoding import Trie
from kosmos_eval.models.hf.batching import (
    ROWS,
    Budget,
    Job,
    budget,
    fitting,
    kind,
    prefix_cache_is_exact,
    shared_prefixes,
)
from kosmos_eval.models.hf.decoding import Generation, Scoring, generate, score
from kosmos_eval.models.hf.forward import Engine, State, keeps_all_tokens
from kosmos_eval.models.hf.images import prompt_encoder, requires_pixels
from kosmos_eval.models.hf.loading import (
    QUANTISED,
    Loaded,
    Processor,
    digest,
    find,
    left_out,
    load_folder,
    weights_digest,
)
from kosmos_eval.models.hf.prompts import Decode, Encoded, PromptEncoder, SharedPrefix, TokenBoundaryError
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Failure, Generate, LogLikelihood, Output, Request

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load(  # noqa: PLR0913 - its parameters are the options that users see
    path: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | None = None,
    batch_tokens: int | str | None = None,
    chat_template: str = "auto",
    revision: str | None = None,
    device_map: str | None = None,
) -> HFModel:
    """Load a model from a folder, or by its name on the Hub.

    Args:
        path: a folder with config.json and safetensors, or ``organisation/name``.
        device: auto, cpu, cuda, cuda:1, mps.
        dtype: auto, float32, bfloat16, float16; auto is the checkpoint's own, and float32 on a CPU. int8, nf4, fp4 are
            quantised by bitsandbytes.
        batch_size: the most sequences at a time, 8 where batch_tokens is not given; halved where memory runs out.
        batch_tokens: the most tokens that are read at a time, likewise; auto asks the device.
        chat_template: ``auto`` uses the model's own where it has one, ``none`` does not.
        revision: of the Hub's repository.
        device_map: auto, balanced, sequential: spread the layers over all devices of this process.

    Raises:
        ModelError: if there is no such model, or it cannot be loaded safely.
    """
    folder = find(path, revision)
    loaded = load_folder(folder, device=device, dtype=dtype, device_map=device_map)
    settings = (dtype if dtype in QUANTISED else str(loaded.network.dtype), chat_template)
    name = f"hf:{Path(path).resolve().name if Path(path).exists() else Path(path).name}"
    allowed = budget(loaded.network, batch_size=batch_size, batch_tokens=batch_tokens)
    return _model(loaded, name, allowed, chat_template=chat_template, digest=lambda: digest(folder, *settings))


def live(
    network: PreTrainedModel,
    processor: Processor,
    *,
    name: str = "hf",
    batch_size: int = 8,
    chat_template: str = "auto",
) -> HFModel:
    """A transformers model in memory, for evaluation while it is trained.

    Args:
        network: on its device, in evaluation mode. Its weights must not change as long as this is used, so a hook makes
            one for each evaluation: ``EvalHook(tasks, wrap=lambda network: live(network, processor))``.
        processor: its processor; for a model of text alone, its tokenizer.
        name: its name in reports.
        batch_size: the most sequences at a time.
        chat_template: ``auto`` uses the processor's where it has one, ``none`` does not.

    Raises:
        ModelError: if an option is invalid, or the tokenizer is a slow one.
    """
    tokenizer = getattr(processor, "tokenizer", None)
    loaded = Loaded(network, tokenizer or processor, processor if tokenizer is not None else None)
    allowed = budget(network, batch_size=batch_size, batch_tokens=None)
    return _model(loaded, name, allowed, chat_template=chat_template, digest=lambda: weights_digest(network))


def _model(loaded: Loaded, name: str, allowed: Budget, *, chat_template: str, digest: Callable[[], str]) -> HFModel:
    if chat_template not in ("auto", "none"):
        raise UnknownName("chat_template", chat_template, ("auto", "none"))
    return HFModel(
        name=name,
        engine=Engine.of(loaded.network),
        encoder=prompt_encoder(loaded, chats=chat_template == "auto"),
        budget=allowed,
        context=getattr(loaded.network.config.get_text_config(), "max_position_embeddings", None),
        ends=_ends(loaded),
        digest=digest,
        requires_images=requires_pixels(loaded.network.forward),
        notes=left_out(loaded.network),
    )


def _ends(loaded: Loaded) -> tuple[int, ...]:
    """Return the tokens that end a text; the first is the one that is scored."""
    configured = loaded.network.generation_config.eos_token_id
    several = configured if isinstance(configured, list) else [configured]
    known = [token for token in (loaded.tokenizer.eos_token_id, *several) if token is not None]
    return tuple(dict.fromkeys(known))


@dataclass
class HFModel(Model):
    """A transformers model; its budget is halved where memory runs out."""

    name: str
    engine: Engine
    encoder: PromptEncoder
    budget: Budget
    context: int | None
    ends: tuple[int, ...]
    digest: Callable[[], str]
    requires_images: bool = False
    notes: list[str] = field(default_factory=list)
    _exact: dict[tuple[int, int], bool] = field(default_factory=dict)
    _prefixes: dict[SharedPrefix, Encoded] = field(default_factory=dict)
    _states: dict[SharedPrefix, State] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over configuration, tokenizer, processor and weights, with dtype and template; read when asked for."""
        return self.digest()

    @property
    def runtime_options(self) -> frozenset[str]:
        """Options that a run may go on with other values of."""
        return frozenset({"batch_size", "batch_tokens", "device_map"})

    def fits(self, request: Request) -> bool:
        """True if the prompt, its images expanded, and the longest answer are within the model's positions."""
        if self.context is None:
            return True
        strings = request.continuations if isinstance(request, LogLikelihood) else request.choices
        more = 1 if strings is not None else request.max_tokens if isinstance(request, Generate) else 0
        try:
            return self.encoder.length(request.prompt, strings or ()) + more <= self.context
        except ModelError:
            return True  # no length makes it answerable: its answer is a failure with the reason

    def answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Output | Failure]]:
        """Answer in batches of similar length; a bad image or a too long prompt fails its own requests only."""
        decode = lru_cache(maxsize=128)(Image.pixels)
        stride = 16 * self.budget.rows if self.budget.tokens is None else ROWS
        for begin in range(0, len(requests), stride):
            window = requests[begin : begin + stride]
            jobs: dict[SharedPrefix | None, list[tuple[int, Job]]] = {}
            for index, (request, prefix) in enumerate(self._with_prefixes(window, decode), start=begin):
                try:
                    shared, job = self._encoded(request, prefix, decode)
                except (BadImage, ModelError) as error:
                    yield index, Failure(str(error))
                else:
                    jobs.setdefault(shared, []).append((index, job))
            for shared, group in jobs.items():
                yield from self._batched(group, self._state(shared) if shared else None)

    def _with_prefixes(self, requests: Sequence[Request], decode: Decode) -> list[tuple[Request, SharedPrefix | None]]:
        """Pair requests with the prefix that is read once for several, if the model answers as it does without that.

        Whether it does is tried once for each kind: no, one or several images in the prefix, and after it.
        """
        self._prefixes.clear()
        found = shared_prefixes(self.encoder, [request.prompt for request in requests])
        return [
            (request, prefix if prefix is not None and self._can_share(prefix, request.prompt, decode) else None)
            for request, prefix in zip(requests, found, strict=True)
        ]

    def _can_share(self, prefix: SharedPrefix, prompt: Prompt, decode: Decode) -> bool:
        before, after = len(prefix.images), len(prompt.images) - len(prefix.images)
        kind = min(before, 2), min(after, 2)
        try:
            if prefix not in self._prefixes:
                encoded = self.encoder.encode_prefix(prefix, decode)
                self._check(encoded, 0)
                self._prefixes[prefix] = encoded
            if kind not in self._exact:
                read = self._state(prefix)
                self._exact[kind] = prefix_cache_is_exact(self.engine, self.encoder, prompt, prefix, read, decode)
        except (BadImage, ModelError):
            return False  # read as a whole, the request fails with the reason
        return self._exact[kind]

    def _state(self, prefix: SharedPrefix) -> State:
        """Return the state after a prefix; the latest is kept, for the next window most likely wants it too."""
        if prefix not in self._states:
            self._states = {prefix: self.engine.read([self._prefixes[prefix]])}
        return self._states[prefix]

    def _encoded(
        self, request: Request, prefix: SharedPrefix | None, decode: Decode
    ) -> tuple[SharedPrefix | None, Job]:
        """Encode a request after its prefix, or as a whole where its tokens span the end of the prefix."""
        try:
            return prefix, self._job(request, prefix, decode)
        except TokenBoundaryError:
            return None, self._job(request, None, decode)

    def _job(self, request: Request, prefix: SharedPrefix | None, decode: Decode) -> Job:
        before = len(self._prefixes[prefix].ids) if prefix else 0
        strings = request.continuations if isinstance(request, LogLikelihood) else request.choices
        if self.requires_images and not request.prompt.images:
            raise ModelError(f"{self.name} reads no prompt without an image")
        if strings is None:
            assert isinstance(request, Generate)
            prompt = self.encoder.encode(request.prompt, decode, prefix)
            self._check(prompt, before + request.max_tokens)
            return Generation(request, prompt)
        end = self._end if isinstance(request, Generate) or request.terminated else None
        prompt, continuations = self.encoder.encode_continuations(
            request.prompt, strings, decode, end=end, prefix=prefix
        )
        self._check(prompt, before + max(len(continuation.ids) for continuation in continuations))
        if isinstance(request, LogLikelihood):
            return Scoring(prompt, continuations)
        choices = ((text, one.ids[:-1]) for text, one in zip(strings, continuations, strict=True))
        return Generation(request, prompt, Trie.of(choices, end=self._end))

    def _check(self, prompt: Encoded, more: int) -> None:
        if self.context is not None and len(prompt.ids) + more > self.context:
            raise ModelError(
                f"the prompt and its longest answer take up to {len(prompt.ids) + more} tokens; "
                f"{self.name} has {self.context} positions, so ask with fewer shots"
            )

    @property
    def _end(self) -> int:
        if not self.ends:
            raise ModelError(f"{self.name} has no end-of-text token, which choices and terminated scores need")
        return self.ends[0]

    def _batched(self, jobs: Sequence[tuple[int, Job]], after: State | None) -> Iterator[tuple[int, Output | Failure]]:
        """Answer jobs that follow a state, a batch at a time; batches become smaller where memory runs out."""
        import torch

        pending = sorted(jobs, key=lambda job: (kind(job[1]), len(job[1].prompt.ids)))
        before, even = (after.length, not keeps_all_tokens(after.cache)) if after is not None else (0, False)
        while pending:
            size = fitting([job for _, job in pending], self.budget, before=before, even=even)
            batch = pending[:size]
            outputs: Sequence[Output | Failure]
            try:
                outputs = self._run([job for _, job in batch], after)
            except torch.OutOfMemoryError:
                if self.budget.rows > 1:
                    self.budget = self.budget.halved()
                    continue
                length = len(batch[0][1].prompt.ids)
                outputs = [Failure(f"{self.engine.device} is out of memory with one prompt of {length} tokens")]
            yield from ((index, output) for (index, _), output in zip(batch, outputs, strict=True))
            pending = pending[size:]

    def _run(self, jobs: Sequence[Job], after: State | None) -> Sequence[Output]:
        texts = [job for job in jobs if isinstance(job, Generation)]
        if texts:
            return generate(self.engine, texts, renderer=self.encoder.renderer, ends=self.ends, after=after)
        scorings = [job for job in jobs if isinstance(job, Scoring)]
        longest = max(len(continuation.ids) for job in scorings for continuation in job.continuations)
        kept = longest + max(len(job.prompt.ids) for job in scorings) + (after.length if after else 0)
        return score(self.engine, scorings, rows=self.budget.width(longest, kept=kept), after=after)
