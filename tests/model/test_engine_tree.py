import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos_model.engine.token_tree import Tree, attach, common

Sequences = list[list[int]]
sequences = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=12)


def _path(tree: Tree, node: int) -> list[int]:
    tokens: list[int] = []
    while node >= 0:
        tokens.insert(0, int(tree.tokens[node]))
        node = int(tree.parents[node])
    return tokens


def test_a_tree_by_hand() -> None:
    tree = Tree.build([[5, 6, 7], [5, 6, 8, 9], [5, 6], [4]])
    assert tree.tokens.tolist() == [4, 5, 6, 7, 8, 9]
    assert tree.depths.tolist() == [0, 0, 1, 2, 2, 3]
    assert tree.ends.tolist() == [1, 6, 6, 4, 6, 6]
    assert tree.parents.tolist() == [-1, -1, 1, 2, 2, 4]
    assert tree.leaves.tolist() == [3, 5, 2, 0]


@settings(max_examples=50, deadline=None)
@given(sequences)
def test_every_sequence_is_a_path_and_every_prefix_stands_once(given_sequences: Sequences) -> None:
    tree = Tree.build(given_sequences)
    assert [_path(tree, leaf) for leaf in tree.leaves] == given_sequences
    assert len(tree) == len({tuple(s[: i + 1]) for s in given_sequences for i in range(len(s))})
    for node in range(len(tree)):
        below = [other for other in range(len(tree)) if node in _above(tree, other)]
        assert below == list(range(node, tree.ends[node]))


def _above(tree: Tree, node: int) -> set[int]:
    return {node} | _above(tree, int(tree.parents[node])) if node >= 0 else set()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), sequences), max_size=4), sequences)
def test_grafted_trees_continue_the_nodes_they_are_put_on(
    branches: list[tuple[int, Sequences]], stock: Sequences
) -> None:
    tree = Tree.build(stock)
    nodes = [place % len(tree) for place, _ in branches]
    built = [Tree.build(inner) for _, inner in branches]
    whole, places, starts = attach(tree, nodes, built)
    assert [_path(whole, leaf) for leaf in whole.leaves] == stock
    for (_, inner), scion, node, place, start in zip(branches, built, nodes, places, starts, strict=True):
        assert _path(whole, place) == _path(tree, node)
        assert [_path(whole, leaf + start) for leaf in scion.leaves] == [_path(tree, node) + one for one in inner]
    assert len(whole) == len(tree) + sum(map(len, built))
    assert all(len(_path(whole, node)) == whole.depths[node] + 1 for node in range(len(whole)))
    for node in range(len(whole)):
        assert [o for o in range(len(whole)) if node in _above(whole, o)] == list(range(node, whole.ends[node]))


@pytest.mark.parametrize(("one", "other", "length"), [([1, 2], [1, 3], 1), ([1], [1, 2], 1), ([], [1], 0)])
def test_common_counts_the_tokens_both_begin_with(one: list[int], other: list[int], length: int) -> None:
    assert common(one, other) == length
