import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kosmos_model.modeling.attention import MultiheadAttention, TorchScaleAttention
from kosmos_model.modeling.decoder import Decoder, KosmosDecoder, TextEmbedding, build_decoder
from tests.model.conftest import TINY

SMALL = replace(TINY, vocab_size=50, layers=3)
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def decoder() -> KosmosDecoder:
    torch.manual_seed(0)
    return build_decoder(SMALL).eval()


@pytest.fixture(scope="module")
def stock(decoder: KosmosDecoder) -> Decoder:
    model = Decoder(decoder.args, TextEmbedding(SMALL.vocab_size, SMALL.width)).eval()
    model.load_state_dict(decoder.state_dict())  # strict: the same names
    return model


def _embeddings(rows: int, length: int) -> Tensor:
    return torch.randn(rows, length, SMALL.width, generator=torch.Generator().manual_seed(length))


def _stock_hidden(stock: Decoder, embeddings: Tensor, padding: Tensor | None = None) -> Tensor:
    tokens = torch.zeros(embeddings.shape[:2], dtype=torch.long)
    states: Tensor = stock(tokens, padding, token_embeddings=embeddings, features_only=True)[0]
    return states


@pytest.mark.parametrize("length", [1, 2, 7, 150, 1025])
@torch.no_grad()
def test_a_full_pass_equals_torchscale(decoder: KosmosDecoder, stock: Decoder, length: int) -> None:
    embeddings = _embeddings(2, length)
    torch.testing.assert_close(decoder.hidden(embeddings), _stock_hidden(stock, embeddings), **CLOSE)


@pytest.mark.parametrize("chunks", [[20, 20], [1] * 40, [13, 1, 1, 20, 5]])
@torch.no_grad()
def test_a_chunked_pass_equals_torchscale(decoder: KosmosDecoder, stock: Decoder, chunks: list[int]) -> None:
    embeddings = _embeddings(3, 40)
    cache = decoder.cache(embeddings, capacity=8)  # grows on the way
    parts = [decoder.hidden(chunk, cache=cache) for chunk in embeddings.split(chunks, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), _stock_hidden(stock, embeddings), **CLOSE)
    assert cache.used == 40


@torch.no_grad()
def test_the_class_alone_is_a_drop_in_with_torchscales_masks(decoder: KosmosDecoder, stock: Decoder) -> None:
    embeddings = _embeddings(2, 12)
    padding = torch.arange(12) >= torch.tensor([[12], [7]])
    real = ~padding
    torch.testing.assert_close(
        _stock_hidden(decoder, embeddings, padding)[real], _stock_hidden(stock, embeddings, padding)[real], **CLOSE
    )
    ours, theirs = decoder.layers[0].self_attn, stock.layers[0].self_attn
    assert isinstance(ours, MultiheadAttention)
    assert type(theirs) is TorchScaleAttention
    mask = torch.full((12, 12), -math.inf).triu(1)
    expected = theirs(embeddings, embeddings, embeddings, attn_mask=mask)[0]
    torch.testing.assert_close(ours(embeddings, embeddings, embeddings, attn_mask=mask)[0], expected, **CLOSE)


@given(padding=st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
@torch.no_grad()
def test_no_padding_gives_nan(decoder: KosmosDecoder, padding: list[list[bool]]) -> None:
    mask = torch.tensor(padding)
    assert _stock_hidden(decoder, _embeddings(len(padding), 6), mask).isfinite().all()


@torch.no_grad()
def test_right_padding_changes_nothing_before_it(decoder: KosmosDecoder) -> None:
    embeddings = _embeddings(2, 10)
    padded = torch.nn.functional.pad(embeddings, (0, 0, 0, 5), value=3.0)
    torch.testing.assert_close(decoder.hidden(padded)[:, :10], decoder.hidden(embeddings), **CLOSE)


@torch.no_grad()
def test_branches_of_a_tree_equal_the_sequences_alone(decoder: KosmosDecoder) -> None:
    prefix, left, right = _embeddings(1, 5), _embeddings(1, 3), _embeddings(1, 4)
    cache = decoder.cache(prefix, capacity=12)
    decoder.hidden(prefix, cache=cache)
    visible = torch.ones(1, 7, 12, dtype=torch.bool)
    visible[0, :, 5:] = torch.block_diag(torch.ones(3, 3).tril(), torch.ones(4, 4).tril()).bool()
    positions = torch.tensor([[5, 6, 7, 5, 6, 7, 8]])
    both = decoder.hidden(torch.cat([left, right], 1), positions=positions, longest=9, visible=visible, cache=cache)
    for branch, states in ((left, both[:, :3]), (right, both[:, 3:])):
        alone = decoder.hidden(torch.cat([prefix, branch], 1))[:, 5:]
        torch.testing.assert_close(states, alone, **CLOSE)


@torch.no_grad()
def test_selected_rows_of_a_cache_continue_as_the_whole(decoder: KosmosDecoder) -> None:
    embeddings, end = _embeddings(3, 6), _embeddings(3, 2)
    cache = decoder.cache(embeddings, capacity=6)
    decoder.hidden(embeddings, cache=cache)
    rows = torch.tensor([2, 0, 2])
    chosen = cache.select(rows, torch.arange(6).expand(3, 6), spare=2)
    continued = decoder.hidden(end[rows], cache=chosen)
    alone = decoder.hidden(torch.cat([embeddings, end], 1))[:, 6:]
    torch.testing.assert_close(continued, alone[rows], **CLOSE)


@torch.no_grad()
def test_xpos_stays_exact_in_bfloat16_at_far_positions(decoder: KosmosDecoder) -> None:
    attention = decoder.layers[0].self_attn
    half = build_decoder(SMALL).layers[0].self_attn.bfloat16()
    half.load_state_dict(attention.state_dict())
    states = _embeddings(1, 2000)
    expected, actual = attention(states, states, states)[0], half(*[states.bfloat16()] * 3)[0].float()
    assert ((actual - expected).norm() / expected.norm()).item() < 0.01


def test_gradients_flow_through_every_weight_in_training() -> None:
    torch.manual_seed(0)
    decoder = build_decoder(replace(SMALL, dropout=0.1, attention_dropout=0.1)).train()
    with torch.inference_mode():
        decoder.eval().hidden(_embeddings(1, 100))  # what evaluation leaves behind must not disturb training
    decoder.train()
    decoder.logits(decoder.hidden(decoder.embed_tokens(torch.arange(40)[None]))).logsumexp(-1).sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in decoder.parameters())


@torch.no_grad()
def test_attention_dropout_acts_in_training_alone(decoder: KosmosDecoder) -> None:
    dropping = build_decoder(replace(SMALL, attention_dropout=0.5)).train()
    states = _embeddings(1, 20)
    assert not torch.equal(dropping.hidden(states), dropping.hidden(states))
    dropping.eval()
    assert torch.equal(dropping.hidden(states), dropping.hidden(states))
