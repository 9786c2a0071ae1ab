"""``--model hf:PATH``: any transformers image-text-to-text model, or a causal language model for text alone.

Interleaved images stand in their true places, also in demonstrations. With ``chat_template=auto`` a prompt becomes one
turn of the user where the model has a chat template, and what is generated or scored follows its generation prompt;
``none`` feeds the prompt as it is. A text is decoded as the task asks: what ``generation_config.json`` says of that,
such as KOSMOS-2's ``no_repeat_ngram_size``, is left out, and a note says so.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from kosmos_eval.errors import BadImage, ModelError, UnknownName
from kosmos_eval.model import Model
from kosmos_eval.models.decoding import Trie
from kosmos_eval.models.hf.batching import ROWS, Budget, Job, agree, budget, fitting, heads, inputs
from kosmos_eval.models.hf.decoding import Generation, Scoring, generate, score
from kosmos_eval.models.hf.forward import Engine, State, engine_of, plain
from kosmos_eval.models.hf.images import reader_of, requires_pixels
from kosmos_eval.models.hf.loading import QUANTISED, Loaded, digest, find, left_out, load_folder, weights_digest
from kosmos_eval.models.hf.prompts import Decode, Encoded, Head, Inseparable, Reader
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Failure, Generate, LogLikelihood, Output, Request

Group = list[tuple[int, Job]]


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
    network: Any, processor: Any, *, name: str = "hf", batch_size: int = 8, chat_template: str = "auto"
) -> HFModel:
    """A transformers model in memory, for evaluation while it is trained.

    Args:
        network: on its device, in evaluation mode. Its weights must not change as long as this is used, so a hook makes
            one for each evaluation: ``EvalHook(tasks, wrap=lambda network: live(network, processor))``.
        processor: what turns prompts into its inputs; for a model of text alone, its tokenizer.
        name: what reports call it.
        batch_size: the most sequences at a time.
        chat_template: ``auto`` uses the processor's where it has one, ``none`` does not.

    Raises:
        ModelError: if an option cannot be, or the tokenizer is a slow one.
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
        engine=engine_of(loaded.network),
        reader=reader_of(loaded, chats=chat_template == "auto"),
        budget=allowed,
        context=getattr(loaded.network.config.get_text_config(), "max_position_embeddings", None),
        ends=_ends(loaded),
        digest=digest,
        requires_images=requires_pixels(loaded.network.forward),
        notes=left_out(loaded.network),
    )


def _ends(loaded: Loaded) -> tuple[int, ...]:
    """The tokens that end a text; the first is the one that is scored."""
    configured = loaded.network.generation_config.eos_token_id
    several = configured if isinstance(configured, list) else [configured]
    known = [token for token in (loaded.tokenizer.eos_token_id, *several) if token is not None]
    return tuple(dict.fromkeys(known))


@dataclass
class HFModel(Model):
    """A transformers model behind the Protocol; its budget is halved where memory runs out."""

    name: str
    engine: Engine
    reader: Reader
    budget: Budget
    context: int | None
    ends: tuple[int, ...]
    digest: Callable[[], str]
    requires_images: bool = False
    notes: list[str] = field(default_factory=list)
    _shares: dict[tuple[int, int], bool] = field(default_factory=dict)
    _opened: dict[Head, State] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over configuration, tokenizer, processor and weights, with dtype and template; read when asked for."""
        return self.digest()

    @property
    def runtime_options(self) -> frozenset[str]:
        """Options that a run may go on with other values of."""
        return frozenset({"batch_size", "batch_tokens", "device_map"})

    def fits(self, request: Request) -> bool:
        """Whether the prompt, its images expanded, and the longest answer are within the model's positions."""
        if self.context is None:
            return True
        strings = request.continuations if isinstance(request, LogLikelihood) else request.choices
        more = 1 if strings is not None else request.max_tokens if isinstance(request, Generate) else 0
        try:
            return self.reader.length(request.prompt, strings or ()) + more <= self.context
        except ModelError:
            return True  # no length makes it answerable: asked, it fails by name

    def answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Output | Failure]]:
        """Answer in batches of similar length; a bad image or a too long prompt fails its own requests only."""
        decode = lru_cache(maxsize=128)(Image.pixels)
        stride = 16 * self.budget.rows if self.budget.tokens is None else ROWS
        for begin in range(0, len(requests), stride):
            window = dict(enumerate(requests[begin : begin + stride], start=begin))
            whole: dict[int, Request] = {}
            for head, members in self._sharing(window, decode).items():
                try:
                    after = self._after(head, decode)
                except (BadImage, ModelError):
                    whole |= members  # each says by itself what it lacks
                else:
                    whole |= yield from self._answered(members, decode, head, after)
            yield from self._answered(whole, decode, None, None)

    def _sharing(self, window: Mapping[int, Request], decode: Decode) -> dict[Head | None, dict[int, Request]]:
        """The requests by what is read once for several, if the model answers as it does without that.

        Whether it does is tried once for each kind: no, one or several images before the cut, and after it.
        """
        shared: dict[Head | None, dict[int, Request]] = {}
        found = heads(self.reader, [request.prompt for request in window.values()])
        for head, (index, request) in zip(found, window.items(), strict=True):
            chosen = head if head is not None and self._agrees(head, request.prompt, decode) else None
            shared.setdefault(chosen, {})[index] = request
        return shared

    def _agrees(self, head: Head, prompt: Prompt, decode: Decode) -> bool:
        before, after = len(head.images), len(prompt.images) - len(head.images)
        kind = min(before, 2), min(after, 2)
        if kind not in self._shares:
            try:
                opened = self._after(head, decode)
                self._shares[kind] = agree(self.engine, self.reader, prompt, head, opened, decode)
            except (BadImage, ModelError):
                return False
        return self._shares[kind]

    def _answered(
        self, requests: Mapping[int, Request], decode: Decode, head: Head | None, after: State | None
    ) -> Generator[tuple[int, Output | Failure], None, dict[int, Request]]:
        """Answer requests after their head; gives back those that have to be read as wholes."""
        groups: dict[type[Job], Group] = {Generation: [], Scoring: []}
        inseparable: dict[int, Request] = {}
        for index, request in requests.items():
            try:
                job = self._job(request, decode, head, before=after.mask.shape[1] if after else 0)
                groups[type(job)].append((index, job))
            except (BadImage, ModelError) as error:
                yield index, Failure(str(error))
            except Inseparable:
                inseparable[index] = request
        for group in groups.values():
            yield from self._batched(group, after)
        return inseparable

    def _after(self, head: Head | None, decode: Decode) -> State | None:
        """What was read of a head; the latest is kept, for the next window most likely wants it too."""
        if head is None:
            return None
        if head not in self._opened:
            opening = self.reader.opening(head, decode)
            self._check(opening, 0)
            self._opened = {head: self.engine.read([opening])}
        return self._opened[head]

    def _job(self, request: Request, decode: Decode, head: Head | None, *, before: int) -> Job:
        strings = request.continuations if isinstance(request, LogLikelihood) else request.choices
        if self.requires_images and not request.prompt.images:
            raise ModelError(f"{self.name} reads no prompt without an image")
        if strings is None:
            assert isinstance(request, Generate)
            prompt = self.reader.encoded(request.prompt, decode, head)
            self._check(prompt, before + request.max_tokens)
            return Generation(request, prompt)
        end = self._end if isinstance(request, Generate) or request.terminated else None
        prompt, branches = self.reader.branched(request.prompt, strings, decode, end=end, head=head)
        self._check(prompt, before + max(len(branch.ids) for branch in branches))
        if isinstance(request, LogLikelihood):
            return Scoring(prompt, branches)
        choices = ((text, branch.ids[:-1]) for text, branch in zip(strings, branches, strict=True))
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

    def _batched(self, jobs: Group, after: State | None) -> Iterator[tuple[int, Output | Failure]]:
        import torch

        pending = sorted(jobs, key=lambda job: (inputs(job[1]), len(job[1].prompt.ids)))
        before, even = (after.mask.shape[1], not plain(after.cache)) if after is not None else (0, False)
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
        scorings = [job for job in jobs if isinstance(job, Scoring)]
        if texts:
            return generate(self.engine, texts, wording=self.reader.wording, ends=self.ends, after=after)
        longest = max(len(branch.ids) for job in scorings for branch in job.branches)
        kept = longest + max(len(job.prompt.ids) for job in scorings) + (after.mask.shape[1] if after else 0)
        return score(self.engine, scorings, rows=self.budget.width(longest, kept=kept), after=after)
