import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from typing import Any

import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kosmos_eval.model import Work
from kosmos_eval.models.decoding import drawn, stream
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Generate, Likelihoods, LogLikelihood, Request, Sampling
from kosmos_model.adapters.kosmos import KosmosModel
from kosmos_model.engine import batched_search
from kosmos_model.engine.cost import image_price
from kosmos_model.engine.decode_step import DecodeStep
from kosmos_model.engine.engine import Engine
from kosmos_model.engine.prefill import Budget
from kosmos_model.modeling.image import to_tensor
from kosmos_model.modeling.kosmos import Kosmos
from kosmos_model.modeling.tokenizer import EOS
from tests.model.conftest import TINY, TOKENIZER, tiny_model

SIZE = TINY.image_size


def _pixels(image: Image) -> Tensor:
    return to_tensor(image.pixels(), SIZE)


def _engine(tokens: int = 512, slots: int = 2048) -> Engine:
    model, tokenizer = tiny_model(), TOKENIZER
    return Engine(model, tokenizer, pixels=_pixels, budget=Budget(tokens, slots))


@lru_cache(maxsize=4)
def _image(number: int) -> Image:
    return Image.drawn(PIL.Image.new("RGB", (20, 20), [(200, 30, 30), (30, 200, 30), (30, 30, 200)][number]))


def _answers(engine: Engine, requests: Sequence[Request]) -> list[Completion]:
    found = dict(engine.answers(requests))
    outputs = [found[index] for index in range(len(requests))]
    assert all(isinstance(output, Completion) for output in outputs)
    return [output for output in outputs if isinstance(output, Completion)]


def _alike(one: Completion, other: Completion) -> bool:
    return replace(one, logprob=None) == replace(other, logprob=None) and one.logprob == pytest.approx(
        other.logprob, abs=1e-4
    )


words = st.text(alphabet="ab c", max_size=8)
prompts = st.lists(words | st.integers(0, 2).map(_image), max_size=4).map(lambda parts: Prompt("abc", *parts))
samplings = st.builds(Sampling, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.3, 1.0]), st.integers(0, 2))
names = st.sampled_from([None, (" pig", " piggy bank", "b")])
drawing = st.builds(Generate, prompts, st.integers(1, 6), st.just(("e",)), choices=names, sampling=samplings)
searching = st.builds(Generate, prompts, st.integers(1, 6), beams=st.integers(1, 3), choices=names)


@given(
    st.lists(drawing | searching, min_size=1, max_size=5),
    st.sampled_from([1, 40, 4000]),
    st.sampled_from([1, 60, 4000]),
    st.sampled_from([1, 4, 256]),
    st.sampled_from([1, 1000]),
)
@settings(max_examples=10, deadline=None)
def test_every_text_is_the_one_that_its_request_has_alone(
    requests: list[Generate], tokens: int, slots: int, rows: int, shared: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batched_search, "ROWS", rows)
        patch.setattr(batched_search, "SHARED", shared)
        together = _answers(_engine(tokens, slots), requests)
    for request, found in zip(requests, together, strict=True):
        assert _alike(found, _answers(_engine(), [request])[0])


def test_those_that_wait_enter_as_others_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    _, tokenizer = tiny_model(), TOKENIZER
    monkeypatch.setattr(batched_search, "ROWS", 4)
    monkeypatch.setattr(tokenizer, "unspoken", (*tokenizer.unspoken, EOS))
    rows: list[int] = []
    stepped = DecodeStep.__call__

    def counted(self: DecodeStep, tokens: Tensor, **others: object) -> Tensor:
        rows.append(len(tokens))
        return stepped(self, tokens, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(DecodeStep, "__call__", counted)
    lengths = [2, 9, 2, 9, 2, 9, 2, 9, 2, 9, 2, 9]
    found = _answers(_engine(), [Generate(Prompt(f"{n}"), length) for n, length in enumerate(lengths)])
    assert [one.tokens for one in found] == lengths
    assert max(rows) == 4
    assert sum(rows) < 3 * 4 * 8  # as many as if three groups of four had waited for their longest


@torch.no_grad()
def test_a_drawn_text_is_drawn_from_the_models_own_distribution() -> None:
    model, tokenizer = tiny_model(), TOKENIZER
    request = Generate(Prompt("a b"), 5, sampling=Sampling(temperature=0.7, top_p=0.8, seed=3))
    ids, numbers, total = tokenizer.prompt(request.prompt)[0], stream(request), 0.0
    start = len(ids)
    while len(ids) - start < 5 and ids[-1] != EOS:
        row = model(torch.tensor([ids]))[0, -1].log_softmax(-1)
        free = row.clone()
        free[list(tokenizer.unspoken)] = -torch.inf
        assert request.sampling
        ids.append(int(drawn(free[None], [request.sampling], [numbers.random()])[0]))
        total += float(row[ids[-1]])
    (found,) = _answers(_engine(), [request])
    assert found.text == tokenizer.decode(ids[start:])
    assert found.logprob == pytest.approx(total, abs=1e-4)


@torch.no_grad()
def _searched(model: Kosmos, request: Generate) -> Completion:
    """The beam search that `Generate` describes, in plain lists: every text is computed anew at every step."""
    tokenizer = TOKENIZER
    prompt, images = tokenizer.prompt(request.prompt)
    pixels = torch.stack([_pixels(image) for image in images])
    running: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, float, list[int], bool]] = []
    width, longest = request.beams, request.max_tokens
    while running:
        candidates: list[tuple[float, list[int]]] = []
        for total, ids in running:
            row = model(torch.tensor([[*prompt, *ids]]), pixels)[0, -1].log_softmax(-1)
            allowed = set(range(len(row))) - set(tokenizer.unspoken)
            candidates += [(total + float(row[token]), [*ids, token]) for token in allowed]
        best = sorted(candidates, key=lambda one: -one[0])[: 2 * width]
        ended = [one[1][-1] == EOS for one in best]
        full = len(best[0][1]) == longest
        finished += [
            (total / len(ids) ** request.length_penalty, total, ids, end)
            for (total, ids), end in zip(best[:width], ended, strict=False)
            if end or full
        ]
        running = [one for one, end in zip(best, ended, strict=True) if not end][:width] if not full else []
        worst = sorted(score for score, *_ in finished)[-width] if len(finished) >= width else -math.inf
        if worst > -math.inf and (
            request.early_stopping
            or not running
            or worst >= running[0][0] / len(running[0][1]) ** request.length_penalty
        ):
            break
    _, total, ids, end = max(finished)
    return Completion(tokenizer.decode(ids[:-1] if end else ids), len(ids), end, total)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("beams", [2, 5])
def test_beams_are_those_of_a_slow_obvious_search(beams: int, penalty: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of text is made as likely as what the random model repeats, and few other tokens are allowed."""
    model, tokenizer = deepcopy(tiny_model()), TOKENIZER
    spoken = tokenizer.encode(" b c the dog")
    weight = model.decoder.output_projection.weight.requires_grad_(False)
    weight[EOS] = 0.85 * (weight[spoken[0]] + weight[spoken[-1]])
    others = tuple(id for id in range(len(weight)) if id not in (EOS, *spoken))
    monkeypatch.setattr(tokenizer, "unspoken", others)
    requests = [
        Generate(Prompt(letter, _image(number)), 6, beams=beams, length_penalty=penalty, early_stopping=early)
        for number, letter in enumerate("abc")
        for early in (True, False)
    ]
    engine = Engine(model, tokenizer, pixels=_pixels, budget=Budget(512, 2048))
    found = _answers(engine, requests)
    for request, one in zip(requests, found, strict=True):
        assert _alike(one, _searched(model, request))
    assert any(one.finished for one in found)
    assert (found[::2] != found[1::2]) == (penalty > 0)  # else no longer text has a higher score


def test_another_seed_draws_another_text_and_the_same_seed_the_same() -> None:
    requests = [Generate(Prompt("a"), 8, sampling=Sampling(seed=seed)) for seed in (0, 1, 2, 0)]
    texts = [one.text for one in _answers(_engine(), requests)]
    assert texts[0] == texts[3]
    assert len(set(texts)) == 3


def test_stop_strings_are_found_across_tokens_though_few_are_looked_at() -> None:
    (free,) = _answers(_engine(), [Generate(Prompt("a"), 12)])
    stops = {free.text[start : start + 2] for start in range(len(free.text) - 1)}
    requests = [Generate(Prompt("a"), 12, stop=(stop,)) for stop in sorted(stops)]
    for request, found in zip(requests, _answers(_engine(), requests), strict=True):
        assert found.text == free.text[: free.text.find(request.stop[0])]
        assert found.finished


def test_the_engine_counts_what_was_asked_and_what_it_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    _, tokenizer = tiny_model(), TOKENIZER
    monkeypatch.setattr(tokenizer, "unspoken", (*tokenizer.unspoken, EOS))
    shown = Prompt(_image(0), "a b c", _image(1), "d e f")
    requests: list[Request] = [Generate(shown + Prompt(_image(n), "x"), 3, stop=()) for n in range(3)]
    requests.append(LogLikelihood(shown, (" yes", " no")))
    engine = _engine()
    found = dict(engine.answers(requests))
    texts = [output.tokens - 1 for output in found.values() if isinstance(output, Completion)]
    prompts = [len(tokenizer.prompt(request.prompt)[0]) for request in requests]
    strings = [len(tokenizer.encode(text)) - 1 for text in (" yes", " no")]
    assert engine.work.tokens_asked == sum(prompts) + prompts[3] + sum(strings) + sum(texts)
    shared = prompts[3]
    own = sum(length - shared for length in prompts[:3]) - 2  # <image> opens all three
    assert engine.work.tokens_computed == shared + own + sum(strings) + sum(texts)
    assert (engine.work.images_asked, engine.work.images_encoded) == (11, 3)
    assert engine.work.flops > 0


def test_the_bundled_model_counts_images_too() -> None:
    model, tokenizer = tiny_model(), TOKENIZER
    wrapped = KosmosModel(model, tokenizer, name="tiny", pixels=_pixels)
    assert wrapped.work == Work()
    (_, _), *_ = wrapped.answers([Generate(Prompt(_image(0), "a"), 2)])
    text = wrapped.work.flops - image_price(model)
    assert 0 < text < image_price(model) * 10


def test_no_memory_is_read_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is allocated and not cleared holds anything: 0 * NaN would be NaN behind a mask too."""
    requests: list[Generate | LogLikelihood] = [
        Generate(Prompt("abc" * 12, _image(n % 3), "x" * n), 3 + 5 * n, beams=beams)
        for n in range(4)
        for beams in (1, 3)
    ]
    names = tuple(f" {a} {b} c" for a in "abcd" for b in ("e", "fg", "hij k"))
    requests += [LogLikelihood(Prompt("abc", _image(n)), names, best=1, by="mean per token") for n in range(2)]
    expected = dict(_engine().answers(requests))
    given: list[torch.Size] = []

    def dirty(made: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def allocate(*args: Any, **options: Any) -> Tensor:
            fresh = made(*args, **options)
            given.append(fresh.shape)
            return fresh.fill_(math.nan) if fresh.is_floating_point() else fresh.fill_(-(1 << 40))

        return allocate

    monkeypatch.setattr(batched_search, "ROWS", 6)
    monkeypatch.setattr(Tensor, "new_empty", dirty(Tensor.new_empty))
    monkeypatch.setattr(torch, "empty_like", dirty(torch.empty_like))
    monkeypatch.setattr(torch, "empty", dirty(torch.empty))
    found = dict(_engine().answers(requests))
    assert any(len(shape) == 6 for shape in given)  # slots of all layers
    for index, output in expected.items():
        other = found[index]
        if isinstance(output, Completion) and isinstance(other, Completion):
            assert _alike(other, output)
        elif isinstance(output, Likelihoods) and isinstance(other, Likelihoods):
            assert other.logprobs == pytest.approx(output.logprobs, abs=1e-4)
        else:
            raise AssertionError(other)
