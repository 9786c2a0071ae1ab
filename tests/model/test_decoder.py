import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kosmos_model.modeling.config import PRESETS, KosmosConfig
from kosmos_model.modeling.decoder import build_decoder, sinusoids
from tests.model.conftest import TINY

SMALL = replace(TINY, vocab_size=50, layers=3)


def test_kosmos_1_has_the_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        decoder = build_decoder(PRESETS["kosmos-1"])
    assert sum(weight.numel() for weight in decoder.parameters()) == 24 * 50_378_752 + 64_007 * 2048 + 2 * 2048


@pytest.mark.parametrize("name", ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"])
def test_weights_are_xavier_with_the_gain_of_magneto(name: str) -> None:
    torch.manual_seed(0)
    config = replace(SMALL, width=256, ffn=512, layers=4)
    weights = [p for n, p in build_decoder(config).named_parameters() if n.endswith(f"{name}.weight")]
    fans = 256 + (512 if name.startswith("fc") else 256)
    gain = 1.0 if name in ("q_proj", "k_proj") else math.sqrt(math.log(8))
    assert torch.stack(weights).std().item() == pytest.approx(gain * math.sqrt(2 / fans), rel=0.01)
    torch_default = 1 / math.sqrt(3 * weights[0].shape[1])
    assert torch.stack(weights).std().item() != pytest.approx(torch_default, rel=0.05)


def test_biases_are_zero_and_embeddings_have_variance_one_over_width() -> None:
    torch.manual_seed(0)
    decoder = build_decoder(replace(SMALL, vocab_size=2000))
    assert not any(p.any() for n, p in decoder.named_parameters() if n.endswith("bias"))
    assert decoder.embed_tokens.weight.std().item() == pytest.approx(32**-0.5, rel=0.02)


def test_input_and_output_embeddings_are_one() -> None:
    decoder = build_decoder(SMALL)
    assert decoder.output_projection.weight is decoder.embed_tokens.weight
    states = torch.randn(2, 32)
    assert torch.equal(decoder.logits(states), states @ decoder.embed_tokens.weight.T)


def test_logits_are_fp32_whatever_the_weights_are() -> None:
    decoder = build_decoder(SMALL).bfloat16()
    assert decoder.logits(decoder.hidden(torch.randn(1, 3, 32).bfloat16())).dtype == torch.float32


def _embeddings(config: KosmosConfig = SMALL, rows: int = 2, length: int = 9) -> Tensor:
    return torch.randn(rows, length, config.width, generator=torch.Generator().manual_seed(1))


def test_checkpointed_training_has_the_same_gradients() -> None:
    decoder = build_decoder(SMALL).train()
    gradients = []
    for checkpointed in (False, True):
        decoder.checkpoint_activations = checkpointed
        decoder.zero_grad()
        decoder.hidden(_embeddings()).square().sum().backward()
        gradients.append({name: p.grad for name, p in decoder.named_parameters() if p.grad is not None})
    assert len(gradients[0]) == len(list(decoder.parameters())) - 1  # the embeddings are not in use here
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_positions_need_a_bound() -> None:
    with pytest.raises(ValueError, match="pass longest"):
        build_decoder(SMALL).hidden(_embeddings(), positions=torch.zeros(2, 9, dtype=torch.long))


ABSOLUTE = replace(SMALL, positions="sinusoidal", scale_embedding=True)


def test_sinusoids_begin_at_two_and_padding_has_none() -> None:
    found = sinusoids(torch.tensor([[0, 1, -1]]), longest=2, width=4)
    expected = [[math.sin(p), math.sin(p / 10_000), math.cos(p), math.cos(p / 10_000)] for p in (2, 3)]
    torch.testing.assert_close(found, torch.tensor([[*expected, [0.0] * 4]]))


@torch.no_grad()
def test_scaled_embeddings_are_multiplied_by_the_root_of_the_width_before_positions_are_added() -> None:
    torch.manual_seed(0)
    scaled, plain = build_decoder(ABSOLUTE).eval(), build_decoder(replace(ABSOLUTE, scale_embedding=False)).eval()
    plain.load_state_dict(scaled.state_dict())
    embeddings = _embeddings()
    torch.testing.assert_close(scaled.hidden(embeddings), plain.hidden(embeddings * math.sqrt(32)))
    by_hand = embeddings * math.sqrt(32) + sinusoids(torch.arange(9)[None], longest=9, width=32)
    for layer in scaled.layers:
        by_hand = layer(by_hand)[0]
    torch.testing.assert_close(scaled.hidden(embeddings), scaled.layer_norm(by_hand))


@torch.no_grad()
def test_absolute_positions_follow_the_cache_and_the_branches_of_a_tree() -> None:
    decoder = build_decoder(ABSOLUTE).eval()
    whole = _embeddings(rows=1, length=9)
    cache = decoder.cache(whole, capacity=4)
    parts = torch.cat([decoder.hidden(chunk, cache=cache) for chunk in whole.split([4, 1, 3, 1], 1)], 1)
    torch.testing.assert_close(parts, decoder.hidden(whole))
    prefix, left, right = whole.split([4, 2, 3], 1)
    cache = decoder.cache(prefix, capacity=9)
    decoder.hidden(prefix, cache=cache)
    visible = torch.ones(1, 5, 9, dtype=torch.bool)
    visible[0, :, 4:] = torch.block_diag(torch.ones(2, 2).tril(), torch.ones(3, 3).tril()).bool()
    places = torch.tensor([[4, 5, 4, 5, 6]])
    both = decoder.hidden(torch.cat([left, right], 1), positions=places, longest=7, visible=visible, cache=cache)
    for branch, states in ((left, both[:, :2]), (right, both[:, 2:])):
        torch.testing.assert_close(states, decoder.hidden(torch.cat([prefix, branch], 1))[:, 4:])


def test_xpos_models_have_no_absolute_positions_and_scale_embeddings_where_asked() -> None:
    decoder = build_decoder(SMALL)
    assert decoder.embed_scale == SMALL.width**0.5
    assert build_decoder(replace(SMALL, scale_embedding=False)).embed_scale == 1.0
    assert decoder.layers[0].self_attn.xpos is not None
    assert build_decoder(ABSOLUTE).layers[0].self_attn.xpos is None
