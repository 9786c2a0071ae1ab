import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

from kosmos_model.modeling.config import PRESETS
from kosmos_model.modeling.kosmos import build, positions_of, splice, text_weights
from tests.model.conftest import NARROW

TINY = dataclasses.replace(NARROW, vocab_size=20, patch_size=4, vision_layers=2)
BOS, PAD, EOS, SLOT, IMAGE, IMAGE_END = 0, 1, 2, 4, 5, 6
BLOCK = [IMAGE, SLOT, SLOT, IMAGE_END]


@pytest.fixture
def tiny():
    return build(TINY, seed=1).eval()


def test_splice_fills_slots_in_reading_order():
    tokens = torch.tensor([[9, 4, 4], [4, 9, 4]])
    embedded = torch.full((2, 3, 1), -1.0)
    images = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    assert splice(tokens, embedded, images, 4)[..., 0].tolist() == [[-1, 1, 2], [3, -1, 4]]


def test_splice_counts_its_slots():
    tokens, embedded = torch.tensor([[4, 9, 4]]), torch.zeros(1, 3, 1)
    with pytest.raises(ValueError, match=r"the tokens keep 2 slots, but images \(2, 2, 1\) fill 4"):
        splice(tokens, embedded, torch.zeros(2, 2, 1), 4)
    with pytest.raises(ValueError, match=r"the tokens keep 2 slots, but images \(0, 2, 1\) fill 0"):
        splice(tokens, embedded, torch.zeros(0, 2, 1), 4)


def test_splice_passes_gradient_to_images_and_to_words_but_not_to_slots():
    tokens = torch.tensor([[9, 4]])
    embedded, images = torch.zeros(1, 2, 3, requires_grad=True), torch.zeros(1, 1, 3, requires_grad=True)
    splice(tokens, embedded, images, 4).sum().backward()
    assert embedded.grad.tolist() == [[[1, 1, 1], [0, 0, 0]]]
    assert images.grad.tolist() == [[[1, 1, 1]]]


def test_splice_takes_images_of_another_precision():
    spliced = splice(torch.tensor([[4]]), torch.zeros(1, 1, 1), torch.ones(1, 1, 1, dtype=torch.bfloat16), 4)
    assert spliced.dtype == torch.float32
    assert spliced.item() == 1


def test_absolute_positions_count_what_is_no_padding():
    tokens = torch.tensor([[BOS, 9, 9, PAD, PAD], [PAD, PAD, BOS, 9, EOS]])
    assert positions_of(tokens).tolist() == [[0, 1, 2, -1, -1], [-1, -1, 0, 1, 2]]


def test_only_text_is_predicted():
    caption = [BOS, *BLOCK, 11, 12, EOS, PAD]
    text = [BOS, 11, 12, EOS, PAD]
    interleaved = [BOS, 11, *BLOCK, 12, *BLOCK, EOS]
    weights = {
        name: text_weights(torch.tensor([tokens]), TINY.given)[0].tolist()
        for name, tokens in (("caption", caption), ("text", text), ("interleaved", interleaved))
    }
    assert weights == {
        "caption": [0, 0, 0, 0, 0, 1, 1, 1, 0],
        "text": [0, 1, 1, 1, 0],
        "interleaved": [0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
    }


def test_the_first_word_of_a_caption_is_predicted_from_the_end_of_its_image(tiny):
    tokens, pixels = torch.tensor([[BOS, *BLOCK, 11, EOS]]), torch.randn(1, 3, 16, 16)
    logs = tiny(tokens, pixels).log_softmax(-1)[0]
    assert tokens[0, 4] == IMAGE_END
    torch.testing.assert_close(tiny.loss(tokens, pixels), -(logs[4, 11] + logs[5, EOS]) / 2)


def test_padding_changes_no_loss(tiny):
    short, long = [BOS, 11, EOS], [BOS, 12, 13, 14, EOS]
    each = [tiny.loss(torch.tensor([tokens])) for tokens in (short, long)]
    both = tiny.loss(torch.tensor([[*short, PAD, PAD], long]))
    torch.testing.assert_close(both, (2 * each[0] + 4 * each[1]) / 6)


def test_weights_say_which_tokens_count_and_how_much(tiny):
    tokens = torch.tensor([[BOS, 11, 12, EOS]])
    logs = tiny(tokens).log_softmax(-1)[0]
    weighted = tiny.loss(tokens, weights=torch.tensor([[9.0, 0.0, 1.0, 3.0]]))
    torch.testing.assert_close(weighted, -(logs[1, 12] + 3 * logs[2, EOS]) / 4)


def test_a_batch_without_a_token_to_predict_is_refused(tiny):
    with pytest.raises(ValueError, match="without a token to predict"):
        tiny.loss(torch.tensor([[BOS, PAD]]))


def test_a_fresh_model_knows_nothing(tiny):
    tokens = torch.randint(7, 20, (8, 12), generator=torch.Generator().manual_seed(0))
    assert abs(tiny.loss(tokens).item() - math.log(20)) < 0.7


def test_a_later_token_changes_no_earlier_logit(tiny):
    tokens = torch.tensor([[BOS, 11, *BLOCK, 12, 13]])
    other, pixels = tokens.clone(), torch.randn(1, 3, 16, 16)
    other[0, 6] = 14
    before, after = tiny(tokens, pixels), tiny(other, pixels)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().amax(-1).min() > 1e-4


def test_a_later_image_changes_no_earlier_logit(tiny):
    tokens = torch.tensor([[BOS, *BLOCK, 11, *BLOCK, 12]])
    pixels = torch.randn(2, 3, 16, 16)
    other = pixels.clone()
    other[1] = torch.randn(3, 16, 16)
    before, after = tiny(tokens, pixels), tiny(tokens, other)
    second_slot = 7
    torch.testing.assert_close(before[:, :second_slot], after[:, :second_slot])
    assert (before[:, second_slot:] - after[:, second_slot:]).abs().amax(-1).min() > 1e-5


def test_swapped_images_are_another_prompt(tiny):
    tokens, pixels = torch.tensor([[BOS, *BLOCK, *BLOCK, 12]]), torch.randn(2, 3, 16, 16)
    assert (tiny(tokens, pixels) - tiny(tokens, pixels.flip(0)))[0, -1].abs().max() > 1e-5


def test_a_batch_reads_each_image_where_its_row_has_it(tiny):
    rows, pixels = [[BOS, *BLOCK, 11], [BOS, 11, *BLOCK]], torch.randn(2, 3, 16, 16)
    together = tiny(torch.tensor(rows), pixels)
    for index, row in enumerate(rows):
        torch.testing.assert_close(together[index : index + 1], tiny(torch.tensor([row]), pixels[index : index + 1]))


def test_the_whole_is_its_parts(tiny):
    tokens, pixels = torch.tensor([[BOS, *BLOCK, 11]]), torch.randn(1, 3, 16, 16)
    embedded = F.embedding(tokens, tiny.decoder.embed_tokens.weight).clone()
    embedded[0, 2:4] = tiny.resampler(tiny.vision(pixels))[0]
    torch.testing.assert_close(tiny(tokens, pixels), tiny.decoder.logits(tiny.decoder.hidden(embedded)))


def test_gradient_reaches_all_that_learns_and_nothing_frozen():
    from kosmos_model.modeling.vision import freeze_all_but_last_layer

    model = build(TINY, seed=0)
    freeze_all_but_last_layer(model.vision)
    model.loss(torch.tensor([[BOS, *BLOCK, 11, 12, EOS]]), torch.randn(1, 3, 16, 16)).backward()
    for name, weight in model.named_parameters():
        frozen = name.startswith("vision") and "encoder.layers.1." not in name and "post_layernorm" not in name
        assert (weight.grad is None) == frozen, name
        # a key's bias shifts all scores of a query alike, so that its gradient is zero but for rounding
        assert frozen or "k_proj.bias" in name or weight.grad.abs().sum() > 0, name


def test_text_alone_leaves_the_eyes_without_gradient():
    model = build(TINY, seed=0)
    model.loss(torch.tensor([[BOS, 11, 12, EOS]])).backward()
    assert all(weight.grad is None for part in (model.vision, model.resampler) for weight in part.parameters())
    assert all(weight.grad is not None for weight in model.decoder.parameters())


def test_one_batch_of_images_can_be_learned_by_heart():
    model = build(TINY, seed=0)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(6, 3, 16, 16, generator=generator)
    words = torch.randint(7, 20, (6, 3), generator=generator)
    tokens = torch.cat([torch.tensor([[BOS, *BLOCK]] * 6), words, torch.full((6, 1), EOS)], dim=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(300):
        loss = model.loss(tokens, pixels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.01:
            break
    assert loss < 0.01
    model.eval()
    told = model(tokens, pixels).argmax(-1)[:, 4:-1]
    assert torch.equal(told, tokens[:, 5:])
    assert not torch.equal(model(tokens, pixels.roll(1, 0)).argmax(-1)[:, 4:-1], tokens[:, 5:])


def test_the_seed_decides_the_weights_and_leaves_the_outside_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (build(TINY, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.rand(1), expected)
    for (name, weight), again in zip(one.named_parameters(), same.parameters(), strict=True):
        assert torch.equal(weight, again), name
    assert not torch.equal(one.decoder.embed_tokens.weight, other.decoder.embed_tokens.weight)
    assert not torch.equal(one.resampler.dense.weight, other.resampler.dense.weight)


def parameter_counts(model):
    counts = {name: sum(weight.numel() for weight in part.parameters()) for name, part in model.named_children()}
    return counts | {"total": sum(counts.values())}


def test_kosmos_1_has_the_parameters_of_the_paper():
    with torch.device("meta"):
        counts = parameter_counts(build(PRESETS["kosmos-1"], seed=0))
    assert counts == {
        "decoder": 24 * 50_378_752 + 64_007 * 2_048 + 2 * 2_048,  # 1,340.2M
        "vision": 303_179_776,
        "resampler": 19_015_680,
        "total": 1_662_375_936,
    }


@pytest.mark.parametrize(("depth", "billions"), [(0, 1.662), (2, 1.667), (6, 1.708)])
def test_a_perceiver_makes_kosmos_1_as_large_as_reported(depth, billions):
    with torch.device("meta"):
        model = build(dataclasses.replace(PRESETS["kosmos-1"], resampler_depth=depth), seed=0)
    assert round(parameter_counts(model)["total"] / 1e9, 3) == billions


def test_kosmos_nano_fits_in_16_mebibytes():
    assert parameter_counts(build(PRESETS["kosmos-nano"], seed=0))["total"] * 4 < 16 * 2**20
