from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos_eval.prompt import Prompt
from kosmos_eval.request import LogLikelihood
from kosmos_model.engine import best_first as module
from kosmos_model.engine.best_first import TIE, BestFirstSearch, trie_index
from kosmos_model.engine.encoding import ContinuationTree, continuation_tree
from kosmos_model.modeling.tokenizer import NANO, Tokenizer

TOKENIZER = Tokenizer.read(NANO)
RULES = ("sum", "mean per token", "mean per character")

strings = st.lists(st.text(alphabet="ab c", max_size=6).map(" {}".format), min_size=1, max_size=14).map(tuple)


def _decided(search: BestFirstSearch, after: ContinuationTree, logprobs: list[np.ndarray]) -> None:
    """Run searches on a table of log-probabilities, (E,) for each request."""
    rows = np.arange(search.rows)
    nodes = np.full((len(rows), 1), -1)
    real = np.ones_like(nodes, dtype=bool)
    while real.any():
        row, column = np.nonzero(real)
        which, edges = search.edges(nodes[row, column])
        found = np.array([logprobs[r][e] for r, e in zip(row[which], edges, strict=True)])
        search.update(row, nodes[row, column], found=(which, edges, found, found > -1))
        nodes = search.next_nodes(rows)
        real = nodes >= 0


@given(
    texts=strings,
    seed=st.integers(0, 99),
    best=st.integers(1, 4),
    by=st.sampled_from(RULES),
    terminated=st.booleans(),
    scale=st.sampled_from([0.0, 0.5, 5.0]),
)
@settings(max_examples=100, deadline=None)
def test_the_best_are_exact_and_the_others_bounded(
    texts: tuple[str, ...],
    seed: int,
    best: int,
    by: Literal["sum", "mean per token", "mean per character"],
    terminated: bool,
    scale: float,
) -> None:
    _, after = continuation_tree(TOKENIZER, Prompt("x"), texts, terminated=terminated)
    route = trie_index(LogLikelihood(Prompt("x"), texts, best=best, by=by), after)
    if route is None:
        assert best >= len(texts)
        return
    random = np.random.default_rng(seed)
    logprobs = [-random.exponential(scale, len(after.tokens)) for _ in range(2)]
    search = BestFirstSearch(route, [best, 1])
    _decided(search, after, logprobs)
    bounds = np.cumsum([0, *after.lengths])
    for row, wanted in ((0, best), (1, 1)):
        exact = np.array([logprobs[row][after.edges[a:b]].sum() for a, b in pairwise(bounds)])
        found = search.likelihoods(row)
        certain = ~np.array(found.at_most or [False] * len(texts))
        given_ = np.array(found.logprobs)
        assert given_[certain] == pytest.approx(exact[certain])
        assert (given_ >= exact - 1e-9).all()
        marks, real = given_ / route.divisors, exact / route.divisors
        last = np.sort(real)[-wanted]
        assert certain[real >= last - TIE / 2].all()
        assert np.sort(marks)[-wanted:] == pytest.approx(np.sort(real)[-wanted:])
        assert found.tokens == after.lengths


def test_what_cannot_win_is_never_computed() -> None:
    texts = (" a", " b c d e")
    _, after = continuation_tree(TOKENIZER, Prompt("x"), texts, terminated=True)
    route = trie_index(LogLikelihood(Prompt("x"), texts, best=1), after)
    assert route is not None
    first = {token: -0.1 if token == after.tokens[after.edges[0]] else -9.0 for token in after.tokens.tolist()}
    search = BestFirstSearch(route, [1])
    _decided(search, after, [np.array([first[token] for token in after.tokens.tolist()])])
    found = search.likelihoods(0)
    assert found.at_most == (False, True)
    assert found.logprobs[1] == -18.0  # after " b c": the second token was computed beside " a", the third never
    assert search.computed.tolist() == [2]


def test_where_all_are_wanted_there_is_no_contest() -> None:
    _, after = continuation_tree(TOKENIZER, Prompt("x"), (" a", " b"), terminated=True)
    assert trie_index(LogLikelihood(Prompt("x"), (" a", " b")), after) is None
    assert trie_index(LogLikelihood(Prompt("x"), (" a", " b"), best=2), after) is None


def test_where_a_token_runs_across_the_boundary_there_is_no_contest() -> None:
    prompt, texts = Prompt("Wh"), ("at", " at", " a cat")
    _, after = continuation_tree(TOKENIZER, prompt, texts, terminated=True)
    if len(TOKENIZER.encode("What")) == 1:
        assert trie_index(LogLikelihood(prompt, texts, best=1), after) is None


class _Table:
    """A search by mean among 64 strings, whose tokens have the log-probability of their letter, or -3."""

    def __init__(self, letters: dict[str, float]) -> None:
        texts = tuple(f" {a} {b} {c}" for a in "abcd" for b in "efgh" for c in "klmn")
        _, self.after = continuation_tree(TOKENIZER, Prompt("x"), texts, terminated=True)
        route = trie_index(LogLikelihood(Prompt("x"), texts, best=1, by="mean per token"), self.after)
        assert route is not None
        self.search, self.logprobs = BestFirstSearch(route, [1]), np.full(len(self.after.tokens), -3.0)
        for letter, logprob in letters.items():
            (token,) = TOKENIZER.encode(f" {letter}")
            self.logprobs[self.after.tokens == token] = logprob
        self.update(np.array([-1]))

    def update(self, nodes: np.ndarray) -> None:
        which, edges = self.search.edges(nodes)
        logprobs = self.logprobs[edges]
        self.search.update(np.zeros_like(nodes), nodes, found=(which, edges, logprobs, logprobs > -1))

    def step(self) -> np.ndarray:
        """Compute the next nodes, and return those."""
        nodes = self.search.next_nodes(np.array([0]))[0]
        assert (nodes >= 0).any()
        self.update(nodes[nodes >= 0])
        chosen: np.ndarray = nodes[nodes >= 0]
        return chosen

    @property
    def not_worth_pruning(self) -> bool:
        return bool(len(self.search.not_worth_pruning(np.array([0]))))


def test_where_all_begin_alike_they_are_scored_together_after_a_step() -> None:
    table, rows = _Table({}), np.array([0])
    assert not table.not_worth_pruning
    while not table.not_worth_pruning:
        table.step()
    assert table.search.computed.tolist() == [4 + module.FEWEST]
    table.search.stop(rows)
    assert (table.search.next_nodes(rows) < 0).all()


def test_where_one_is_much_better_it_is_sought_to_its_end() -> None:
    table = _Table({"a": -0.1, "e": -0.1, "k": -0.1, "b": -20.0, "c": -20.0, "d": -20.0})
    for _ in range(3):
        assert not table.not_worth_pruning
        table.step()
    assert not table.not_worth_pruning
    assert np.isfinite(table.search.threshold).all()
    assert table.search.computed[0] < len(table.after.tree) / 2


def test_it_is_told_again_when_what_began_well_goes_on_badly() -> None:
    table = _Table({**dict.fromkeys("aefgh", -0.1), **dict.fromkeys("klmn", -40.0)})
    table.search.judged[:] = 4
    told: list[bool] = []
    while not any(told):
        table.step()
        told.append(table.not_worth_pruning)
    assert told == [False, True]
    assert table.search.judged.tolist() == [2 * (4 + module.FEWEST)]


def test_a_mean_follows_what_is_likely_token_by_token_until_one_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEWEST", 1)
    table = _Table({"a": -2.0, "b": -1.9, "f": -0.5, "m": -0.5})  # "b f" is less likely than "a", but not by token
    seen = [table.step().tolist() for _ in range(3)]
    spoken = [TOKENIZER.decode(table.after.tree.tokens[nodes].tolist()).strip() for nodes in seen]
    assert spoken == ["b", "f", "m"]


@pytest.mark.parametrize("by", ["sum", "mean per token"])
def test_a_step_has_half_as_many_nodes_as_all_before_it(by: Literal["sum", "mean per token"]) -> None:
    texts = tuple(f" {a} {b} {c}" for a in "abcdefgh" for b in "abcdefgh" for c in "abcdefgh")
    _, after = continuation_tree(TOKENIZER, Prompt("x"), texts, terminated=True)
    route = trie_index(LogLikelihood(Prompt("x"), texts, best=1, by=by), after)
    assert route is not None
    search, nodes = BestFirstSearch(route, [1]), np.array([-1])
    widths: list[int] = []
    while len(nodes):
        which, edges = search.edges(nodes)
        found = which, edges, np.full(len(edges), -1.0), np.zeros(len(edges), dtype=bool)
        search.update(np.zeros_like(nodes), nodes, found=found)
        nodes = search.next_nodes(np.array([0]))[0]
        nodes = nodes[nodes >= 0]
        widths.append(len(nodes))
    assert widths[:6] == [8, 16, 16, 20, 30, 45]
    assert max(widths) <= module.MOST
