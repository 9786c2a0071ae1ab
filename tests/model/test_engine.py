import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kosmos_eval.models.decoding import Search
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Failure, Generate, Likelihoods, LogLikelihood, Output, Request
from kosmos_model.engine.encoding import choices
from kosmos_model.engine.engine import Engine
from kosmos_model.engine.layers import Layers
from kosmos_model.engine.prefill import Budget
from kosmos_model.engine.tree_attention import LONG
from kosmos_model.modeling.image import to_tensor
from kosmos_model.modeling.tokenizer import EOS
from tests.model.conftest import TINY, TOKENIZER, tiny_model

SIZE = TINY.image_size


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """The model is too small to share among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _pixels(image: Image) -> Tensor:
    return to_tensor(image.pixels(), SIZE)


def _engine(tokens: int = 512, images: int = 100) -> Engine:
    model, tokenizer = tiny_model(), TOKENIZER
    return Engine(model, tokenizer, pixels=_pixels, budget=Budget(tokens, 4 * tokens), images=images)


@lru_cache(maxsize=8)
def _image(number: int) -> Image:
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (220, 220, 40)]
    return Image.drawn(PIL.Image.new("RGB", (20, 20), colours[number]))


def _answers(engine: Engine, requests: Sequence[Request]) -> list[Output | Failure]:
    found = dict(engine.answers(requests))
    return [found[index] for index in range(len(requests))]


@lru_cache(maxsize=8)
def _embedding(image: Image) -> Tensor:
    return tiny_model().embed_images(_pixels(image)[None])[0]


@torch.no_grad()
def _logprobs(ids: list[int], images: Sequence[Image]) -> Tensor:
    """The reference: one sequence alone, (S, V)."""
    model, _ = tiny_model(), TOKENIZER
    embeddings = torch.stack([_embedding(image) for image in images]) if images else None
    return model.decoder.logits(model.decoder.hidden(model.embed(torch.tensor([ids]), embeddings)))[0].log_softmax(-1)


def _likelihoods(request: LogLikelihood) -> Likelihoods:
    _, tokenizer = tiny_model(), TOKENIZER
    own, images = tokenizer.prompt(request.prompt)
    sums, lengths, greedy = [], [], []
    for text in request.continuations:
        ids = tokenizer.prompt(request.prompt + text)[0] + [EOS] * request.terminated
        start = next((i for i, (a, b) in enumerate(zip(own, ids, strict=False)) if a != b), min(len(own), len(ids)))
        table = _logprobs(ids, images)[start - 1 : -1]
        target = torch.tensor(ids[start:])
        sums.append(table.gather(1, target[:, None]).sum().item())
        lengths.append(len(target))
        greedy.append(bool((table.argmax(1) == target).all()))
    return Likelihoods(tuple(sums), tuple(lengths), tuple(greedy))


def _greedy(request: Generate) -> Completion:
    model, tokenizer = tiny_model(), TOKENIZER
    ids, images = tokenizer.prompt(request.prompt)
    start, total = len(ids), 0.0
    while len(ids) - start < request.max_tokens and ids[-1] != EOS:
        row = _logprobs(ids, images)[-1]
        row[list(model.config.given)] = -torch.inf
        ids, total = [*ids, int(row.argmax())], total + row.max().item()
        text = tokenizer.decode(ids[start:])
        if any(stop in text for stop in request.stop):
            cut = min(text.find(stop) for stop in request.stop if stop in text)
            return Completion(text[:cut], len(ids) - start, True, total)
    return Completion(tokenizer.decode(ids[start:]), len(ids) - start, ids[-1] == EOS, total)


def _beams(request: Generate) -> Completion:
    """A search in which every beam is computed anew at every step."""
    model, tokenizer = tiny_model(), TOKENIZER
    root, trie = choices(tokenizer, request.prompt, request.choices) if request.choices else (None, None)
    search = Search(request, decode=tokenizer.decode, ends=(EOS,), choices=trie)
    ids, images = tokenizer.prompt(request.prompt)
    ids, going = ids[:root], True
    while going:
        rows = torch.stack([beam.logprob + _logprobs([*ids, *beam.tokens], images)[-1] for beam in search.beams])
        rows[:, list(model.config.given)] = -torch.inf
        for row, allowed in zip(rows, search.allowed() or [], strict=False):
            others = torch.ones_like(row, dtype=torch.bool)
            others[torch.from_numpy(allowed)] = False
            row[others] = -torch.inf
        best = rows.flatten().topk(search.candidates)
        found = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        going = bool(search.advance([(value, *divmod(index, rows.shape[1])) for value, index in found]))
    return search.completion()


def _alike(found: Output | Failure, expected: Output) -> None:
    if isinstance(expected, Likelihoods):
        assert isinstance(found, Likelihoods)
        assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
        assert (found.tokens, found.greedy) == (expected.tokens, expected.greedy)
    else:
        assert isinstance(found, Completion)
        assert found.logprob == pytest.approx(expected.logprob, abs=1e-4)
        assert replace(found, logprob=None) == replace(expected, logprob=None)


words = st.text(alphabet="ab c", max_size=12)
prompts = st.lists(words | st.integers(0, 3).map(_image), max_size=5).map(lambda parts: Prompt(*parts))
scored = st.builds(LogLikelihood, prompts, st.lists(words, max_size=4).map(tuple), st.booleans())
stops = st.sampled_from([(), ("e",), ("a", "st")])
generated = st.builds(Generate, prompts, max_tokens=st.integers(1, 5), stop=stops)


@given(st.lists(scored | generated, min_size=1, max_size=8), st.sampled_from([1, 40, 4000]), st.sampled_from([1, 100]))
@settings(max_examples=25, deadline=None)
@torch.no_grad()
def test_requests_together_are_answered_as_each_alone(requests: list[Request], tokens: int, images: int) -> None:
    for request, found in zip(requests, _answers(_engine(tokens, images), requests), strict=True):
        _alike(found, _likelihoods(request) if isinstance(request, LogLikelihood) else _greedy(request))


among = st.builds(
    LogLikelihood,
    prompts,
    st.lists(st.text(alphabet="ab c", max_size=6).map(" {}".format), min_size=2, max_size=12).map(tuple),
    st.booleans(),
    best=st.integers(1, 3),
    by=st.sampled_from(["sum", "mean per token", "mean per character"]),
)


@given(st.lists(among, min_size=1, max_size=5), st.sampled_from([1, 40, 4000]))
@settings(max_examples=25, deadline=None)
def test_the_best_of_many_strings_are_those_of_scoring_them_all(requests: list[LogLikelihood], tokens: int) -> None:
    for request, found in zip(requests, _answers(_engine(tokens), requests), strict=True):
        expected = _likelihoods(request)
        assert isinstance(found, Likelihoods)
        assert found.tokens == expected.tokens
        lengths = {"sum": [1] * len(found.tokens), "mean per token": found.tokens}
        divisors = lengths.get(request.by, [len(text.strip()) for text in request.continuations])
        marks = sorted((s / max(1, n) for s, n in zip(expected.logprobs, divisors, strict=True)), reverse=True)
        least = marks[min(request.best or 0, len(marks)) - 1]
        for index, at_most in enumerate(found.at_most or [False] * len(marks)):
            if at_most:
                assert found.logprobs[index] >= expected.logprobs[index] - 1e-4
                assert expected.logprobs[index] / max(1, divisors[index]) < least + 1e-4
            else:
                assert found.logprobs[index] == pytest.approx(expected.logprobs[index], abs=1e-4)
                assert found.greedy[index] == expected.greedy[index]


names = st.sampled_from([None, (" pig", " piggy bank", "b"), (" a", " a b", " a b c", "cab")])
sought = st.builds(Generate, prompts, st.integers(1, 6), stops, st.integers(2, 4), st.sampled_from([0.0, 1.0]), names)


@given(st.lists(sought, min_size=1, max_size=5), st.sampled_from([1, 40, 4000]))
@settings(max_examples=25, deadline=None)
def test_beams_together_find_what_each_finds_alone(requests: list[Generate], tokens: int) -> None:
    for request, found in zip(requests, _answers(_engine(tokens), requests), strict=True):
        _alike(found, _beams(request))
        assert not request.choices or (isinstance(found, Completion) and found.text in request.choices)


def test_a_long_shared_prefix_with_many_branches_is_cut_into_rows_and_scored_the_same() -> None:
    shown = Prompt.join([Prompt(_image(n % 4), f" this is number {n} of many") for n in range(9)], separator="\n")
    names = tuple(f" {a}{b}{c}" for a in "abcdef" for b in "ghi" for c in ("k a", " long name", "mn op qr"))
    requests: list[Request] = [LogLikelihood(shown + _image(n), names, terminated=True) for n in range(2)]
    requests += [LogLikelihood(shown + _image(0), (" yes", " no")), Generate(shown + _image(1), max_tokens=4)]
    _, tokenizer = tiny_model(), TOKENIZER
    assert sum(len(tokenizer.encode(name)) for name in names) > 2 * LONG
    for request, found in zip(requests, _answers(_engine(2000), requests), strict=True):
        _alike(found, _likelihoods(request) if isinstance(request, LogLikelihood) else _greedy(request))


def test_shared_prefixes_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, tokenizer = tiny_model(), TOKENIZER
    computed = 0
    hidden = Layers.hidden

    def counted(self: Layers, embeddings: Tensor, **options: Any) -> Tensor:
        nonlocal computed
        computed += embeddings.shape[0] * embeddings.shape[1]
        return hidden(self, embeddings, **options)

    monkeypatch.setattr(Layers, "hidden", counted)
    puzzle = Prompt("Here are eight images:", *[_image(n % 3) for n in range(8)], " The following image is:")
    requests = [LogLikelihood(puzzle + _image(n) + "Is it correct?", (" Yes",)) for n in range(4)]
    _answers(_engine(), requests)
    alone = [len(tokenizer.prompt(request.prompt + " Yes")[0]) - 1 for request in requests]  # the last is a target only
    prefix = len(tokenizer.prompt(puzzle)[0])
    assert computed == prefix + 1 + sum(length - prefix - 1 for length in alone)  # <image> opens all four


def test_the_boundary_inside_a_token_counts_as_continued() -> None:
    _, tokenizer = tiny_model(), TOKENIZER
    word = next(text for text in ("What", "Question", "image") if len(tokenizer.encode(text)) == 1)
    request = LogLikelihood(Prompt(word[:2]), (word[2:],))
    (found,) = _answers(_engine(), [request])
    alone = _logprobs(tokenizer.prompt(Prompt(word))[0], [])[0, tokenizer.encode(word)[0]].item()
    assert isinstance(found, Likelihoods)
    assert found.logprobs == pytest.approx([alone], abs=1e-4)
    assert found.tokens == (1,)


def test_images_are_encoded_once_and_kept_for_later_windows() -> None:
    engine = _engine()
    requests = [Generate(Prompt(_image(n % 2), f"{n}"), max_tokens=1) for n in range(6)]
    _answers(engine, requests)
    _answers(engine, requests)
    assert engine.image_cache.encoded == 2
    small = _engine(images=1)
    _answers(small, requests)
    assert small.image_cache.encoded == 6  # alternating, and only one is kept


def test_a_broken_image_fails_its_own_requests_only(tmp_path: object) -> None:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (30, 30)).save(buffer, "JPEG")
    cut, missing = Image(buffer.getvalue()[:200]), Image(f"{tmp_path}/none.png")
    prompts = [Prompt(_image(0)), Prompt(_image(0), cut), Prompt("no image"), Prompt(missing, "x"), Prompt(cut)]
    found = _answers(_engine(), [Generate(prompt, max_tokens=2) for prompt in prompts])
    assert [isinstance(output, Failure) for output in found] == [False, True, False, True, True]
    assert isinstance(found[3], Failure)
    assert "none.png" in found[3].reason
    assert isinstance(found[1], Failure)
    assert "cannot be decoded" in found[1].reason


@pytest.mark.parametrize("where", ["prefill", "decoding", "images"])
def test_out_of_memory_halves_the_work_and_loses_no_answer(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = tiny_model(), TOKENIZER
    engine = _engine(tokens=4000)
    requests: list[Request] = [Generate(Prompt(_image(n % 4), f"{n} and more"), max_tokens=3) for n in range(9)]
    expected = [_greedy(request) for request in requests if isinstance(request, Generate)]
    hidden = Layers.hidden
    refused = 0

    def scarce(self: Layers, embeddings: Tensor, **options: Any) -> Tensor:
        nonlocal refused
        rows, length = embeddings.shape[:2]
        if rows > 2 if where == "decoding" else rows == 1 and length > 20:
            refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return hidden(self, embeddings, **options)

    def encode(pixels: Tensor) -> Tensor:
        nonlocal refused
        if len(pixels) > 1:
            refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return model.embed_images(pixels)

    if where == "images":
        engine.image_cache.encode = encode
    else:
        monkeypatch.setattr(Layers, "hidden", scarce)
    for found, reference in zip(_answers(engine, requests), expected, strict=True):
        _alike(found, reference)
    assert refused


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Tensor:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Layers, "hidden", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        _answers(_engine(), [Generate(Prompt("a")), Generate(Prompt("b"))])


def test_answers_do_not_switch_gradients_off_for_the_caller() -> None:
    for _ in _engine().answers([Generate(Prompt("a"), max_tokens=1), LogLikelihood(Prompt("b"), ("c",))]):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


@dataclass(frozen=True)
class _Case:
    request: Request
    output: Output | Failure


@pytest.mark.parametrize(
    "case",
    [
        _Case(LogLikelihood(Prompt("a"), ()), Likelihoods((), (), ())),
        _Case(LogLikelihood(Prompt("a"), ("", "")), Likelihoods((0.0, 0.0), (0, 0), (True, True))),
        _Case(Generate(Prompt("a"), choices=()), Failure("there are no choices to choose from")),
        _Case(Generate(Prompt("a"), max_tokens=0), Completion("", 0, False, 0.0)),
    ],
)
def test_requests_for_nothing_are_answered(case: _Case) -> None:
    assert _answers(_engine(), [case.request]) == [case.output]
