import dataclasses

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from kosmos_eval.errors import ModelError
from kosmos_model.modeling import vision
from kosmos_model.modeling.config import KosmosConfig
from kosmos_model.modeling.image import to_tensor
from kosmos_model.modeling.vision import ConvStem, ImageEncoder, freeze_all_but_last_layer, load_clip

CONFIG = KosmosConfig(
    vocab_size=300,
    width=8,
    layers=1,
    heads=2,
    ffn=8,
    image_size=16,
    patch_size=4,
    vision_width=8,
    vision_layers=2,
    vision_heads=2,
    vision_ffn=16,
)
SHAPE = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}


def clip_vision(**changes):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    return CLIPVisionModel(CLIPVisionConfig(**(SHAPE | changes))).eval()


def whole_clip():
    from transformers import CLIPConfig, CLIPModel

    text = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 20,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=SHAPE)).eval()


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_every_token_comes_out_with_length_one(stem):
    encoder = ImageEncoder(dataclasses.replace(CONFIG, stem=stem))
    features = encoder(torch.randn(3, 3, 16, 16))
    assert features.shape == (3, 4 * 4 + 1, 8)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(3, 17))


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_every_weight_learns(stem):
    encoder = ImageEncoder(dataclasses.replace(CONFIG, stem=stem))
    features = encoder(torch.randn(3, 3, 16, 16))
    (features * torch.randn_like(features)).sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in encoder.parameters())


def test_the_conv_stem_sees_a_dot_only_around_its_place():
    stem = ConvStem(8, 8)
    assert stem(torch.zeros(1, 3, 32, 16)).shape == (1, 8, 4, 2)
    blank, dot = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    dot[..., 4:8, 20:24] = 1.0
    for layer in stem.layers:
        if isinstance(layer, torch.nn.GroupNorm):
            layer.forward = lambda grid: grid  # the norm is over the whole grid
    change = (stem(dot) - stem(blank)).abs().sum(dim=1)[0]
    assert {tuple(place) for place in change.nonzero().tolist()} == {
        (0, 2),
        (0, 3),
        (1, 2),
        (1, 3),
    }  # each sees 15 x 15


def test_freezing_leaves_the_last_layer_to_be_trained():
    encoder = ImageEncoder(CONFIG)
    freeze_all_but_last_layer(encoder)
    encoder(torch.randn(2, 3, 16, 16))[..., 0].sum().backward()
    learned = {name for name, weight in encoder.named_parameters() if weight.grad is not None}
    assert {name.split(".")[1] for name in learned} == {"encoder", "post_layernorm"}
    assert {name.split(".")[3] for name in learned if "encoder" in name} == {"1"}
    assert len(learned) == 16 + 2


@pytest.mark.parametrize("make", [clip_vision, whole_clip])
def test_pretrained_clip_gives_the_same_features(make, tmp_path):
    clip = make()
    clip.save_pretrained(tmp_path)
    vision = clip if make is clip_vision else clip.vision_model
    pixels = torch.randn(2, 3, 16, 16)
    encoder = ImageEncoder(CONFIG).eval()
    load_clip(encoder, tmp_path)
    inner = getattr(vision, "vision_model", vision)
    with torch.no_grad():
        expected = F.normalize(inner.post_layernorm(vision(pixels).last_hidden_state), dim=-1)
        torch.testing.assert_close(encoder(pixels), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 3}, "has num_hidden_layers 3, but this model 2; change its config"),
        ({"hidden_act": "gelu"}, "has hidden_act gelu, but this model quick_gelu; change its config"),
    ],
)
def test_another_clip_is_refused(change, message, tmp_path):
    clip_vision(**change).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=message):
        load_clip(ImageEncoder(CONFIG), tmp_path)


def test_an_empty_white_picture_is_no_signal_to_the_conv_stem():
    white = to_tensor(Image.new("RGB", (16, 16), "white"), 16)[None]
    stem = ConvStem(8, 8)
    assert torch.allclose(stem.layers(stem.ground - white), torch.zeros(1), atol=1e-4)


def test_clip_does_not_load_into_a_conv_stem(tmp_path):
    clip_vision().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="use stem='patch'"):
        load_clip(ImageEncoder(dataclasses.replace(CONFIG, stem="conv")), tmp_path)


def test_clip_as_a_pickle_is_refused(tmp_path):
    clip = clip_vision()
    clip.config.save_pretrained(tmp_path)
    torch.save(clip.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no CLIP in safetensors"):
        load_clip(ImageEncoder(CONFIG), tmp_path)


def test_clip_that_lacks_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    clip_vision().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: weight for name, weight in weights.items() if "layers.1" not in name}, tmp_path / "model.safetensors"
    )
    with pytest.raises(ModelError, match="lacks 16 weights"):
        load_clip(ImageEncoder(CONFIG), tmp_path)


def test_at_rest_an_image_is_encoded_once_and_is_not_learned_from():
    encoder, images = ImageEncoder(CONFIG), torch.randn(3, 3, 16, 16)
    expected = encoder(images)
    encoded = []
    encoder.model.register_forward_pre_hook(lambda _, given: encoded.append(len(given[0])))
    encoder.freeze(True)
    first, again = encoder(images[[0, 1, 0]]), encoder(images)
    encoder.freeze(True)
    assert torch.equal(encoder(images), again)
    assert encoded == [1, 1, 1]
    torch.testing.assert_close(again, expected)
    assert torch.equal(first, again[[0, 1, 0]])
    assert not again.requires_grad


def test_after_its_rest_an_encoder_is_trained_and_remembers_nothing():
    encoder, images = ImageEncoder(CONFIG), torch.randn(2, 3, 16, 16)
    encoder.freeze(True)
    before = encoder(images)
    encoder.freeze(False)
    encoder(images)[..., 0].sum().backward()
    with torch.no_grad():
        for weight in encoder.parameters():
            if weight.grad is not None:
                weight -= weight.grad
    encoder.freeze(True)
    assert not torch.allclose(encoder(images), before)


def test_an_encoder_at_rest_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(vision, "KNOWN", 2)
    encoder, images = ImageEncoder(CONFIG), torch.randn(3, 3, 16, 16)
    encoded = []
    encoder.model.register_forward_pre_hook(lambda _, given: encoded.append(given[0]))
    encoder.freeze(True)
    encoder(images)
    encoder(images[[2, 1, 0]])
    assert torch.equal(torch.cat(encoded), images[[0, 1, 2, 0]])
