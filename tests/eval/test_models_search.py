"""The search that every local model uses, without a model."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from kosmos_eval.evaluation.evaluator import digest
from kosmos_eval.models.decoding import Search, Trie
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Completion, Generate

WORDS = 12
BOS, PAD, EOS = 0, 1, 2


_ALPHABET = "<-$abcdefghijk"


def _letters(tokens: Sequence[int]) -> str:
    return "".join(_ALPHABET[token] for token in tokens if token > EOS)


def _bigrams(seed: int) -> Tensor:
    """A language model (V, V): the log-probability of each token after each."""
    return (3 * torch.randn(WORDS, WORDS, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)


def _searched(table: Tensor, request: Generate, first: int = 3) -> Completion:
    search = Search(request, decode=_letters, ends=(EOS,))
    going = True
    while going:
        after = torch.stack([table[beam.tokens[-1] if beam.tokens else first] for beam in search.beams])
        sums = torch.tensor([[beam.logprob] for beam in search.beams])
        best = (after + sums).flatten().topk(min(search.candidates, after.numel()))
        found = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        going = bool(search.advance([(value, *divmod(index, WORDS)) for value, index in found]))
    return search.completion()


@lru_cache(maxsize=1)
def _hf() -> Any:
    """A transformers model that generates from a table of bigrams."""
    from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import CausalLMOutput

    class Bigrams(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
        config_class = PretrainedConfig

        def __init__(self) -> None:
            super().__init__(PretrainedConfig(vocab_size=WORDS, is_encoder_decoder=False, num_hidden_layers=1))
            self.table = torch.nn.Parameter(torch.zeros(WORDS, WORDS))

        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object) -> object:
            return CausalLMOutput(logits=self.table[input_ids])

        def prepare_inputs_for_generation(
            self, input_ids: Tensor, attention_mask: Tensor, **_: object
        ) -> dict[str, Tensor]:
            return {"input_ids": input_ids}

    return Bigrams().eval()


@given(
    seed=st.integers(0, 10_000),
    beams=st.integers(1, 5),
    longest=st.integers(1, 8),
    penalty=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
    early=st.booleans(),
)
@example(seed=0, beams=3, longest=5, penalty=0.6, early=True)
@settings(max_examples=80, deadline=None)
def test_beam_search_is_that_of_transformers(seed: int, beams: int, longest: int, penalty: float, early: bool) -> None:
    model, table = _hf(), _bigrams(seed)
    model.table.data = table
    ids = model.generate(
        torch.tensor([[3]]),
        attention_mask=torch.ones(1, 1, dtype=torch.long),
        max_new_tokens=longest,
        do_sample=False,
        use_cache=False,
        pad_token_id=1,
        eos_token_id=EOS,
        **({"num_beams": beams, "early_stopping": early, "length_penalty": penalty} if beams > 1 else {}),
    )[0, 1:].tolist()
    ids = ids[: ids.index(EOS) + 1] if EOS in ids else ids
    request = Generate(Prompt("x"), longest, beams=beams, length_penalty=penalty, early_stopping=early)
    found = _searched(table, request)
    steps = sorted(zip([3, *ids], ids, strict=False))
    letters = [3, *(_ALPHABET.index(letter) for letter in found.text)]
    tied = sorted(pairwise(letters)) == steps  # the same bigrams in another order
    assert found.text == _letters(ids) or tied
    assert (found.tokens, found.finished) == (len(ids), EOS in ids)
    assert found.logprob == pytest.approx(sum(table[a, b].item() for a, b in steps), abs=1e-4)


def test_greedy_ends_at_the_end_of_text_and_counts_it() -> None:
    table = torch.full((WORDS, WORDS), -9.0)
    table[3, 4] = table[4, 5] = table[5, EOS] = -0.5
    assert _searched(table, Generate(Prompt("x"))) == Completion("bc", 3, True, pytest.approx(-1.5))  # type: ignore[arg-type]


def test_the_text_is_cut_before_the_earliest_stop_string_also_across_tokens() -> None:
    table = torch.full((WORDS, WORDS), -9.0)
    table[3, 4] = table[4, 5] = table[5, 6] = table[6, 7] = -0.5
    found = _searched(table, Generate(Prompt("x"), stop=("d", "cd", "")))
    assert (found.text, found.tokens, found.finished) == ("b", 3, True)


def test_a_poor_text_that_stops_does_not_shut_out_a_better_one_that_ends() -> None:
    """Of the candidates of the second step only the best two may finish: "de" does, "be" comes third."""
    table = torch.full((WORDS, WORDS), -50.0)
    table[3, 4], table[3, 6] = -0.1, -3.0
    table[4, 5], table[6, 7], table[4, 7], table[5, EOS] = -0.1, -0.1, -4.0, -0.1
    found = _searched(table, Generate(Prompt("x"), beams=2, stop=("e",)))
    assert found == Completion("bc", 3, True, pytest.approx(-0.3))  # type: ignore[arg-type]


def test_the_length_penalty_chooses_between_finished_texts() -> None:
    """Ending at once has -1.0 over 1 token; three tokens more have -1.6 over 4."""
    table = torch.full((WORDS, WORDS), -50.0)
    table[3, EOS], table[3, 4] = -1.0, -0.5
    table[4, 5], table[5, 6], table[6, EOS] = -0.5, -0.5, -0.1
    short = _searched(table, Generate(Prompt("x"), beams=2, length_penalty=0.0))
    long = _searched(table, Generate(Prompt("x"), beams=2, length_penalty=1.0))
    assert (short.text, long.text) == ("", "bcd")


def test_at_the_longest_length_running_texts_count_as_unfinished() -> None:
    table = torch.full((WORDS, WORDS), -9.0)
    table[3, 3] = -0.1
    found = _searched(table, Generate(Prompt("x"), max_tokens=4, beams=3))
    assert (found.text, found.tokens, found.finished) == ("aaaa", 4, False)


def test_dead_ends_are_never_taken() -> None:
    search = Search(Generate(Prompt("x"), beams=2), decode=_letters, ends=(EOS,))
    assert search.advance([(-1.0, 0, 4), (-math.inf, 0, 5)]) == [0]
    assert len(search.beams) == 1


def test_without_early_stopping_a_longer_text_is_followed_while_it_scores_higher() -> None:
    """After three steps "b" and "c" are finished with -0.75 a token and "de" with -0.5; "dee" ends with -0.475."""
    table = torch.full((WORDS, WORDS), -50.0)
    table[3, 4], table[3, 5], table[3, 6] = -0.5, -0.5, -0.7
    table[4, EOS], table[5, EOS], table[6, 7] = -1.0, -1.0, -0.4
    table[7, 7], table[7, EOS] = -0.4, -0.4
    early, late = (_searched(table, Generate(Prompt("x"), 4, beams=3, early_stopping=early)) for early in (True, False))
    assert (early.text, late.text) == ("de", "dee")


def test_of_choices_with_the_same_tokens_the_first_is_found_and_a_long_one_is_not_shut_out() -> None:
    trie = Trie.of([("one", [4]), ("same", [4]), ("two", [5]), ("long", [6, 7, 8])], end=EOS)
    assert trie.texts == {1: "one", 2: "two", 5: "long"} and trie.depth == 4
    table = torch.full((WORDS, WORDS), -9.0)
    table[3, 4], table[3, 5], table[3, 6] = -1.0, -1.1, -1.2
    table[4, EOS] = table[5, EOS] = -2.0
    table[6, 7] = table[7, 8] = table[8, EOS] = -0.1
    request = Generate(Prompt("x"), beams=3, choices=("one", "same", "two", "long"))
    search = Search(request, decode=_letters, ends=(EOS,), choices=trie)
    going = True
    while going:
        found = [
            (beam.logprob + table[beam.tokens[-1] if beam.tokens else 3, token].item(), index, token)
            for index, (beam, allowed) in enumerate(zip(search.beams, search.allowed() or [], strict=True))
            for token in allowed.tolist()
        ]
        going = bool(search.advance(sorted(found, reverse=True)[: search.candidates]))
    assert search.completion().text == "long"


def test_several_tokens_may_end_a_text_and_need_more_candidates() -> None:
    search = Search(Generate(Prompt("x"), beams=2), decode=_letters, ends=(EOS, 4))
    assert search.candidates == 6
    assert search.advance([(-1.0, 0, 5), (-1.5, 0, 4), (-2.0, 0, EOS), (-3.0, 0, 6)]) == [0, 0]
    assert [beam.tokens for beam in search.beams] == [(5,), (6,)]
    assert search.advance([(-1.1, 0, EOS), (-3.1, 1, 4)]) == []
    assert search.completion() == Completion(_letters([5]), 2, True, -1.1)


def test_early_stopping_is_part_of_what_is_asked_only_where_it_is_not_the_default() -> None:
    usual, peer = Generate(Prompt("x"), beams=5), Generate(Prompt("x"), beams=5, early_stopping=False)
    assert digest([usual]) == "a38aee7ab6aa81b6"
    assert digest([peer]) != digest([usual])
