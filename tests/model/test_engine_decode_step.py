from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kosmos_model.engine import layers as module
from kosmos_model.engine.decode_step import DecodeStep, KVCache
from kosmos_model.engine.layers import Layers
from kosmos_model.modeling.config import KosmosConfig
from kosmos_model.modeling.decoder import KosmosDecoder, build_decoder
from tests.model.conftest import TINY

SMALL = replace(TINY, vocab_size=40)
LENGTHS = (5, 9, 3)
COMMON = 3


def _decoder(config: KosmosConfig = SMALL) -> KosmosDecoder:
    torch.manual_seed(0)
    return build_decoder(config).eval()


def _texts() -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    common = torch.randint(7, 40, (COMMON,), generator=random)
    return [torch.cat([common, torch.randint(7, 40, (n + 2 - COMMON,), generator=random)]) for n in LENGTHS]


def _slots(decoder: KosmosDecoder, texts: list[Tensor], *, shared: int) -> tuple[KVCache, Tensor]:
    """What is left of texts without their last two tokens, in rows of one width, and which slots count."""
    width = max(LENGTHS) - shared
    rows, seen = [], torch.zeros(len(texts), 1, width, dtype=torch.bool)
    for row, (text, length) in enumerate(zip(texts, LENGTHS, strict=True)):
        embeddings = decoder.embed_tokens(text[None, :length])
        cache = decoder.cache(embeddings, capacity=length)
        decoder.hidden(embeddings, cache=cache)
        kept = torch.stack([torch.cat([layer.keys, layer.values]) for layer in cache.layers])  # (L, 2, H, T, d)
        rows.append(kept)
        seen[row, 0, : length - shared] = True
    own = torch.stack(
        [torch.nn.functional.pad(kept[..., shared:, :], (0, 0, 0, width - kept.shape[3] + shared)) for kept in rows],
        dim=2,
    )
    return KVCache(rows[0][..., :shared, :].contiguous(), own, width), seen


@torch.no_grad()
def _stepped(decoder: KosmosDecoder, *, shared: int) -> Tensor:
    """The states of the last two tokens of each text, (B, 2, D), a step each."""
    texts, step = _texts(), DecodeStep(Layers(decoder))
    slots, visible = _slots(decoder, texts, shared=shared)
    found = []
    for number in range(2):
        visible = torch.cat([visible, torch.ones(len(texts), 1, 1, dtype=torch.bool)], dim=2)
        tokens = torch.stack([text[length + number] for text, length in zip(texts, LENGTHS, strict=True)])
        positions = torch.tensor(LENGTHS)[:, None] + number
        found.append(step(tokens[:, None], positions=positions, longest=max(LENGTHS) + 2, visible=visible, slots=slots))
    return torch.cat(found, dim=1)


@torch.no_grad()
def _whole(decoder: KosmosDecoder) -> Tensor:
    return torch.cat([decoder.hidden(decoder.embed_tokens(text[None]))[:, -2:] for text in _texts()])


@pytest.mark.parametrize("shared", [0, 1, COMMON])
@pytest.mark.parametrize("positions", ["xpos", "sinusoidal"])
def test_steps_give_the_states_of_whole_texts(positions: str, shared: int) -> None:
    decoder = _decoder(replace(SMALL, positions=positions, scale_embedding=True))
    assert torch.allclose(_stepped(decoder, shared=shared), _whole(decoder), atol=1e-5)


def test_through_its_modules_a_decoder_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where its weights are spread over processes, and only modules gather them."""
    apart = _stepped(_decoder(), shared=COMMON)
    made = Layers.__init__

    def spread(self: Layers, decoder: KosmosDecoder) -> None:
        made(self, decoder)
        self._layers = None

    monkeypatch.setattr(Layers, "__init__", spread)
    assert torch.allclose(_stepped(_decoder(), shared=COMMON), apart, atol=1e-6)


@pytest.mark.parametrize("limit", ["COPIED", "BLOCKED"])
def test_however_weights_are_laid_out_the_states_are_the_same(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = _stepped(_decoder(), shared=1)
    monkeypatch.setattr(module, limit, 0)  # nothing copied; or every weight in blocks
    assert torch.allclose(_stepped(_decoder(), shared=1), usual, atol=1e-6)


@torch.no_grad()
def test_scores_are_the_decoders_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCKED", 0)
    decoder, states = _decoder(), torch.randn(2, 3, 32)
    assert torch.allclose(Layers(decoder).logits(states), decoder.logits(states), atol=1e-5)


def test_in_bfloat16_a_step_is_as_near_to_fp32_as_a_whole_text_is() -> None:
    exact = _whole(_decoder())
    apart = (_whole(_decoder().bfloat16()).float() - exact).abs().mean()
    assert (_stepped(_decoder().bfloat16(), shared=COMMON).float() - exact).abs().mean() < 1.5 * apart


@torch.no_grad()
def test_beams_of_a_row_see_their_own_ancestors_only() -> None:
    decoder, text = _decoder(), _texts()[0]
    step = DecodeStep(Layers(decoder))
    slots, seen = _slots(decoder, [*_texts()], shared=0)
    slots, seen = KVCache(slots.shared, slots.own[:, :, :1], slots.used), seen[:1]
    first, second = torch.tensor([[11, 12]]), torch.tensor([[13, 14]])
    own = torch.eye(2, dtype=torch.bool)[None]
    visible = torch.cat([seen.expand(-1, 2, -1), own], dim=2)
    at = torch.tensor([[LENGTHS[0]]])
    step(first, positions=at, longest=20, visible=visible, slots=slots)
    crossed = torch.cat([visible.flip(1), own], dim=2)  # each continues the other beam's token
    states = step(second, positions=at + 1, longest=20, visible=crossed, slots=slots)
    for beam, tokens in enumerate(([12, 13], [11, 14])):
        whole = torch.cat([text[: LENGTHS[0]], torch.tensor(tokens)])
        assert torch.allclose(states[0, beam], decoder.hidden(decoder.embed_tokens(whole[None]))[0, -1], atol=1e-5)


def test_rows_that_join_keep_their_slots_and_selected_ones_move() -> None:
    shared = torch.zeros(1, 2, 1, 0, 1)
    one = KVCache(shared, torch.tensor([1.0, 2.0]).view(1, 1, 1, 1, 2, 1).expand(1, 2, 1, 1, 2, 1), 2)
    other = KVCache(shared, torch.tensor([3.0, 4.0, 5.0]).view(1, 1, 1, 1, 3, 1).expand(1, 2, 1, 1, 3, 1), 3)
    both = one.joined(other, spare=1)
    assert both.own[0, 0, :, 0, :, 0].tolist() == [[1, 2, 0, 0], [3, 4, 5, 0]]
    assert both.used == 3
    kept = both.select(torch.tensor([1]), torch.tensor([[2, 0]]), spare=0)
    assert kept.own[0, 1, :, 0, :, 0].tolist() == [[5, 3]]
    kept.reserve(1)
    assert kept.own.shape[4] > 2
    assert kept.own[0, 1, 0, 0, :2, 0].tolist() == [5, 3]
