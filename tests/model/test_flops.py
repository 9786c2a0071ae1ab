from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kosmos_model.data.batches import MicroBatch
from kosmos_model.modeling.config import PRESETS
from kosmos_model.modeling.decoder import build_decoder
from kosmos_model.training.flops import Price
from kosmos_model.training.log import StepMetrics, summary

TINY = replace(
    PRESETS["kosmos-nano"], width=32, layers=3, heads=4, ffn=64, image_size=32, vision_width=16, vision_heads=2
)


def test_a_token_costs_what_torch_counts_of_the_decoders_matrices():
    price = Price.of(TINY, frozen=False, peak=1.0)
    decoder = build_decoder(TINY).train()
    embeddings = torch.randn(1, 64, 32, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        decoder.hidden(embeddings).sum().backward()
    counts = counter.get_flop_counts()["Global"]
    attention = sum(count for name, count in counts.items() if "attention" in str(name))
    assert price.token * 64 == counter.get_total_flops() - attention


def test_a_part_costs_its_tokens_its_pairs_its_predictions_and_its_images():
    price = Price(token=1000.0, pair=100.0, predicted=10.0, image=1.0, peak=1e4)
    part = MicroBatch(
        tokens=torch.tensor([[0, 8, 9, 2], [0, 8, 1, 1]]),  # four tokens, and two with padding
        weights=torch.tensor([[0.0, 1.0, 0.5, 1.0], [0.0, 1.0, 0.0, 0.0]]),
        kinds=torch.tensor([0, 0]),
        pixels=torch.zeros(3, 3, 2, 2),
        shown=torch.tensor([0, 1, 2, 0]),
    )
    assert price.part(part) == 6 * 1000 + (10 + 3) * 100 + 4 * 10 + 3
    assert price.utilisation([part, part], seconds=2.0) == pytest.approx(7343 / 1e4)


def test_a_frozen_image_encoder_costs_less():
    whole, frozen = (Price.of(TINY, frozen=frozen, peak=1.0).image for frozen in (False, True))
    assert 0 < frozen < whole


def test_nano_costs_six_operations_a_weight_and_token():
    price = Price.of(PRESETS["kosmos-nano"], frozen=False, peak=1.0)
    matrices = 4 * (4 * 128**2 + 2 * 128 * 512)
    assert (price.token, price.predicted) == (6 * matrices, 6 * 128 * 1024)


def test_where_the_peak_is_not_known_nothing_is_said_of_it():
    assert Price.on(torch.device("cpu"), TINY, frozen=False) is None
    assert "MFU" not in summary([StepMetrics(1, 1.0, 10, 1e-3, 1.0, {"text": 1.0})])
