import dataclasses

import pytest
import torch
from torch.nn import functional as F

from kosmos_model.modeling.config import PRESETS
from kosmos_model.modeling.resampler import CrossAttention, Perceiver, Resampler, build_resampler

NANO = PRESETS["kosmos-nano"]


@torch.no_grad()
def plain(attention):
    """Make every projection the identity."""
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
        torch.nn.init.eye_(projection.weight)
        if projection.bias is not None:
            torch.nn.init.zeros_(projection.bias)


def test_one_latent_attends_to_the_image_and_to_itself():
    resampler = Resampler(2, 2, latents=1, heads=1)
    plain(resampler.x_attn)
    with torch.no_grad():
        resampler.dense.weight.copy_(torch.eye(2) * 2)
        resampler.dense.bias.zero_()
        resampler.latent_query.copy_(torch.tensor([[2**0.5, 0.0]]))
    # keys (0, 2) and (sqrt 2, 0); scores over sqrt 2 are 0 and sqrt 2; so the weights are 1 : e ** sqrt 2
    weight = torch.tensor(2**0.5).exp() / (1 + torch.tensor(2**0.5).exp())
    expected = torch.stack([weight * 2**0.5, (1 - weight) * 2])
    torch.testing.assert_close(resampler(torch.tensor([[[0.0, 1.0]]]))[0, 0], expected)


def test_heads_attend_apart():
    attention = CrossAttention(2, heads=2, head_width=1, bias=False)
    plain(attention)
    context = torch.tensor([[[10.0, 0.0], [0.0, 10.0]]])
    pooled = attention(torch.tensor([[[10.0, 10.0]]]), context)
    torch.testing.assert_close(pooled, torch.tensor([[[10.0, 10.0]]]))  # one head sees the first, the other the second


@pytest.mark.parametrize("local", [False, True])
def test_the_order_of_image_tokens_matters_to_local_latents_alone(local):
    resampler = build_resampler(dataclasses.replace(NANO, local_latents=local))
    features = torch.randn(2, 37, NANO.vision_width)
    assert torch.allclose(resampler(features), resampler(features.flip(1)), atol=1e-4) != local


def test_images_are_pooled_apart():
    resampler = build_resampler(NANO)
    features = torch.randn(3, 37, NANO.vision_width)
    torch.testing.assert_close(resampler(features)[1:2], resampler(features[1:2]))


def test_the_published_form_is_the_connector_of_kosmos_2():
    from transformers import Kosmos2Config
    from transformers.models.kosmos2.modeling_kosmos2 import Kosmos2ImageToTextProjection

    config = Kosmos2Config(
        text_config={"embed_dim": 8, "attention_heads": 2}, vision_config={"hidden_size": 6}, latent_query_num=3
    )
    config.text_config._attn_implementation = "eager"
    theirs = Kosmos2ImageToTextProjection(config).eval()
    ours = Resampler(6, 8, latents=3, heads=2).eval()
    ours.load_state_dict(theirs.state_dict())
    features = torch.randn(2, 5, 6)
    torch.testing.assert_close(ours(features), theirs(features)[0])


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_every_form_gives_as_many_embeddings_as_latents_and_learns(depth):
    resampler = build_resampler(dataclasses.replace(NANO, resampler_depth=depth))
    pooled = resampler(torch.randn(2, 37, NANO.vision_width))
    assert pooled.shape == (2, NANO.latents, NANO.width)
    (pooled * torch.randn_like(pooled)).sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in resampler.parameters())


def test_a_perceiver_that_attends_to_nothing_passes_its_latents_on():
    perceiver = Perceiver(4, 4, latents=2, depth=2)
    with torch.no_grad():
        for layer in perceiver.layers:
            layer.x_attn.out_proj.weight.zero_()
            layer.ffn[-1].weight.zero_()
        torch.nn.init.eye_(perceiver.dense.weight)
        perceiver.dense.bias.zero_()
    torch.testing.assert_close(perceiver(torch.randn(1, 3, 4))[0], F.layer_norm(perceiver.latent_query, (4,)))


def test_local_latents_begin_by_looking_at_their_own_part_of_the_image():
    torch.manual_seed(0)
    resampler = build_resampler(dataclasses.replace(NANO, local_latents=True))
    assert isinstance(resampler, Perceiver)
    attention, tokens = resampler.layers[0].x_attn, resampler.layers[0].token_norm(torch.zeros(37, NANO.vision_width))
    queries = attention.q_proj(resampler.layers[0].latent_norm(resampler.latent_query)).unflatten(-1, (8, 64))
    keys = attention.k_proj(tokens + resampler.places)[1:].unflatten(-1, (8, 64))
    weights = (torch.einsum("qhd,khd->qhk", queries, keys) / 8).softmax(-1).mean(1).view(8, 6, 6)
    row = weights.sum(2) @ torch.arange(6.0)  # the middle of what each latent looks at
    column = weights.sum(1) @ torch.arange(6.0)
    assert row.view(4, 2).mean(1).diff().min() > 0.5
    assert column.view(4, 2).mean(0).diff().min() > 0.5


def test_without_a_side_latents_look_everywhere_alike():
    assert Perceiver(4, 4, latents=2, depth=1).places is None
    assert not build_resampler(dataclasses.replace(NANO, local_latents=False)).state_dict().keys() & {"places"}


def test_attention_dropout_is_for_training_only():
    resampler = Resampler(4, 4, latents=2, heads=1, dropout=0.5)
    features = torch.randn(1, 30, 4)
    assert not torch.equal(resampler(features), resampler(features))
    resampler.eval()
    assert torch.equal(resampler(features), resampler(features))


@pytest.mark.parametrize("depth", [0, 1])
def test_images_begin_as_large_as_words(depth):
    from kosmos_model.modeling.kosmos import build

    sizes, pixels = {}, torch.randn(4, 3, NANO.image_size, NANO.image_size)
    for scaled in (True, False):
        model = build(dataclasses.replace(NANO, resampler_depth=depth, scale_embedding=scaled), seed=0)
        pooled = model.embed_images(pixels)
        sizes[scaled] = (model.decoder.embed_scale * pooled.std()).item()
        assert (model.decoder.embed_scale * model.decoder.embed_tokens.weight.std()).item() == pytest.approx(
            1 if scaled else NANO.width**-0.5, rel=0.05
        )
    assert sizes[True] == pytest.approx(sizes[False], rel=1e-4)
