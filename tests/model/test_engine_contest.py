from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos_eval.prompt import Prompt
from kosmos_eval.request import LogLikelihood
from kosmos_model.engine import contest as module
from kosmos_model.engine.contest import TIE, Contest, course
from kosmos_model.engine.wording import Endings, endings
from kosmos_model.text import NANO, Tokenizer

TOKENIZER = Tokenizer.read(NANO)
RULES = ("sum", "mean per token", "mean per character")

strings = st.lists(st.text(alphabet="ab c", max_size=6).map(" {}".format), min_size=1, max_size=14).map(tuple)


def _decided(contest: Contest, after: Endings, logprobs: list[np.ndarray]) -> None:
    """Run contests on a table of log-probabilities, (E,) for each request."""
    rows = np.arange(contest.rows)
    nodes = np.full((len(rows), 1), -1)
    real = np.ones_like(nodes, dtype=bool)
    while real.any():
        row, column = np.nonzero(real)
        which, edges = contest.edges(nodes[row, column])
        found = np.array([logprobs[r][e] for r, e in zip(row[which], edges, strict=True)])
        contest.learn(row, nodes[row, column], found=(which, edges, found, found > -1))
        nodes = contest.next(rows)
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
    _, after = endings(TOKENIZER, Prompt("x"), texts, terminated=terminated)
    route = course(LogLikelihood(Prompt("x"), texts, best=best, by=by), after)
    if route is None:
        assert best >= len(texts)
        return
    random = np.random.default_rng(seed)
    logprobs = [-random.exponential(scale, len(after.tokens)) for _ in range(2)]
    contest = Contest(route, [best, 1])
    _decided(contest, after, logprobs)
    bounds = np.cumsum([0, *after.lengths])
    for row, wanted in ((0, best), (1, 1)):
        exact = np.array([logprobs[row][after.edges[a:b]].sum() for a, b in pairwise(bounds)])
        found = contest.likelihoods(row)
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
    _, after = endings(TOKENIZER, Prompt("x"), texts, terminated=True)
    route = course(LogLikelihood(Prompt("x"), texts, best=1), after)
    assert route is not None
    first = {token: -0.1 if token == after.tokens[after.edges[0]] else -9.0 for token in after.tokens.tolist()}
    contest = Contest(route, [1])
    _decided(contest, after, [np.array([first[token] for token in after.tokens.tolist()])])
    found = contest.likelihoods(0)
    assert found.at_most == (False, True)
    assert found.logprobs[1] == -18.0  # after " b c": the second token was computed beside " a", the third never
    assert contest.computed.tolist() == [2]


def test_where_all_are_wanted_there_is_no_contest() -> None:
    _, after = endings(TOKENIZER, Prompt("x"), (" a", " b"), terminated=True)
    assert course(LogLikelihood(Prompt("x"), (" a", " b")), after) is None
    assert course(LogLikelihood(Prompt("x"), (" a", " b"), best=2), after) is None


def test_where_a_token_runs_across_the_boundary_there_is_no_contest() -> None:
    prompt, texts = Prompt("Wh"), ("at", " at", " a cat")
    _, after = endings(TOKENIZER, prompt, texts, terminated=True)
    if len(TOKENIZER.encode("What")) == 1:
        assert course(LogLikelihood(prompt, texts, best=1), after) is None


def _begun(pace: dict[str, float]) -> Contest:
    """A contest by mean that has seen the first tokens, each with the log-probability of its letter."""
    texts = tuple(f" {a} {b} {c}" for a in "abcd" for b in "efgh" for c in "klmn")
    _, after = endings(TOKENIZER, Prompt("x"), texts, terminated=True)
    route = course(LogLikelihood(Prompt("x"), texts, best=1, by="mean per token"), after)
    assert route is not None
    contest, logprobs = Contest(route, [1]), np.full(len(after.tokens), -3.0)
    for letter, logprob in pace.items():
        (token,) = TOKENIZER.encode(f" {letter}")
        logprobs[(after.nodes < 0) & (after.tokens == token)] = logprob
    which, edges = contest.edges(np.array([-1]))
    contest.learn(np.array([0]), np.array([-1]), found=(which, edges, logprobs[edges], logprobs[edges] > -1))
    return contest


def test_where_all_begin_alike_they_are_scored_together_at_once() -> None:
    contest, rows = _begun({}), np.array([0])
    assert contest.hopeless(rows).tolist() == [0]
    assert contest.computed.tolist() == [0]
    contest.give_up(rows)
    assert (contest.next(rows) < 0).all()


def test_where_one_begins_much_better_it_is_sought() -> None:
    contest, rows = _begun({"a": -0.1}), np.array([0])
    assert not len(contest.hopeless(rows))
    assert (contest.next(rows) >= 0).any()


def test_it_is_told_again_when_what_began_well_goes_on_badly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 4)
    contest, rows = _begun({"a": -0.1}), np.array([0])
    assert not len(contest.hopeless(rows))
    nodes = contest.next(rows)[0]
    while not len(contest.hopeless(rows)):
        nodes = nodes[nodes >= 0]
        assert len(nodes)
        which, edges = contest.edges(nodes)
        found = which, edges, np.full(len(edges), -40.0), np.zeros(len(edges), dtype=bool)
        contest.learn(np.zeros_like(nodes), nodes, found=found)
        nodes = contest.next(rows)[0]
    assert contest.computed[0] < len(contest.course.endings.tree) / 2
