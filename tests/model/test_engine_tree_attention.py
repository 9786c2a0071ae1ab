import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from kosmos_model.engine import tree_attention
from kosmos_model.engine.token_tree import Tree
from kosmos_model.engine.tree_attention import TreeAttention, tree_mask

sequences = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=12)


def _path(tree: Tree, node: int) -> list[int]:
    return [*_path(tree, int(tree.parents[node])), node] if node >= 0 else []


@pytest.mark.parametrize("size", [1, 3, 64])
@given(sequences=sequences, share=st.floats(0, 0.99))
@settings(max_examples=40, deadline=None)
def test_every_node_attends_to_what_is_above_it_and_to_itself(
    size: int, sequences: list[list[int]], share: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_attention, "SHORT", size)
        tree = Tree.build(sequences)
        start = int(share * len(tree))
        above = np.array(_path(tree, start)[:-1], dtype=np.int64)
        q, k, v = torch.randn(3, len(tree), 2, 4, generator=torch.Generator().manual_seed(0))
        kept = torch.tensor([0, len(above)])
        layer = TreeAttention(
            tree_mask(tree, above, start, len(tree), like=q), k[above], v[above], kept=kept.clamp(max=len(tree) - start)
        )
        attended = layer.attend(q[None, start:], k[None, start:], v[None, start:])
    assert attended.shape == (1, len(tree) - start, 2, 4)
    for node, found in zip(range(start, len(tree)), attended[0], strict=True):
        path = _path(tree, node)
        alone = scaled_dot_product_attention(
            q[[node]].transpose(0, 1), k[path].transpose(0, 1), v[path].transpose(0, 1)
        )
        torch.testing.assert_close(found, alone[:, 0])
    slots = torch.cat([k[above], k[start:]])
    torch.testing.assert_close(layer.keys, slots[layer.kept])
