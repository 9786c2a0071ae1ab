from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from kosmos_model.engine.layers import Layers
from kosmos_model.engine.prefill import Budget, EmbeddingTable, prefill
from kosmos_model.engine.token_tree import Ints, Tree
from kosmos_model.modeling.decoder import build_decoder
from tests.model.conftest import TINY

SMALL = replace(TINY, vocab_size=40)
BEHIND = 2 * (32 * 32 + 2 * 32 * 64)  # operations of the last layer behind its attention
TREE = Tree.build([[7, 8, 9, 10, 11], [7, 8, 12, 13], [7, 8, 9, 14]])
ALL = np.arange(len(TREE))


def _walked(scored: Ints, continued: Ints, *, tokens: int, modules: bool = False) -> tuple[dict[int, Tensor], float]:
    """The states of the wanted nodes, and what they cost."""
    torch.manual_seed(0)
    decoder = build_decoder(SMALL).eval()
    layers = Layers(decoder)
    if modules:
        layers._layers = None  # as where weights are spread over processes
    found: dict[int, Tensor] = {}
    vectors = EmbeddingTable(decoder, torch.empty(0, 32))
    with torch.inference_mode():
        for batch in prefill(layers, TREE, vectors, budget=Budget(tokens, 100), scored=scored, continued=continued):
            wanted = np.union1d(scored, continued)
            nodes = wanted[batch.within(wanted)]
            found |= zip(nodes.tolist(), batch.of(nodes), strict=True)
    return found, layers.work.flops


@pytest.mark.parametrize("tokens", [1, 3, 100])
@pytest.mark.parametrize("modules", [False, True])
def test_wanted_states_are_the_same_whatever_else_is_wanted(tokens: int, modules: bool) -> None:
    usual, price = _walked(ALL, ALL, tokens=100)
    scored, continued = np.array([4, 6]), np.array([1])
    found, cheaper = _walked(scored, continued, tokens=tokens, modules=modules)
    assert sorted(found) == [1, 4, 6]
    for node, state in found.items():
        assert torch.allclose(state, usual[node], atol=1e-6)
    assert price - cheaper == (0 if modules else BEHIND * (len(TREE) - 3))


def test_a_state_that_was_not_wanted_is_not_taken_for_another() -> None:
    decoder = build_decoder(SMALL).eval()
    vectors, few = EmbeddingTable(decoder, torch.empty(0, 32)), np.array([2, 4])
    with torch.inference_mode():
        (batch,) = prefill(Layers(decoder), TREE, vectors, budget=Budget(100, 100), scored=few, continued=few[:0])
    for other in (3, 5):
        with pytest.raises(ValueError, match="the states of these nodes were not wanted"):
            batch.of(np.array([2, other]))
