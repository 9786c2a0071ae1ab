import math
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Completion, Generate
from kosmos_model.engine.encoding import choices, continuation_tree, prompt_ids
from kosmos_model.engine.search import Search
from kosmos_model.modeling.tokenizer import EOS, NANO, SLOT, Tokenizer

WORDS = 12
TOKENIZER = Tokenizer.read(NANO, slots=3)


_ALPHABET = "<-$abcdefghijk"


def _letters(tokens: Iterable[int]) -> str:
    return "".join(_ALPHABET[token] for token in tokens if token > EOS)


def _bigrams(seed: int) -> Tensor:
    """A language model (V, V): the log-probability of each token after each."""
    return (3 * torch.randn(WORDS, WORDS, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)


def _searched(table: Tensor, request: Generate, first: int = 3) -> Completion:
    search = Search(request, decode=_letters)
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
)
@example(seed=0, beams=3, longest=5, penalty=0.6)
@settings(max_examples=40, deadline=None)
def test_beam_search_is_that_of_transformers(seed: int, beams: int, longest: int, penalty: float) -> None:
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
        **({"num_beams": beams, "early_stopping": True, "length_penalty": penalty} if beams > 1 else {}),
    )[0, 1:].tolist()
    ids = ids[: ids.index(EOS) + 1] if EOS in ids else ids
    found = _searched(table, Generate(Prompt("x"), max_tokens=longest, beams=beams, length_penalty=penalty))
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


def _chosen(texts: tuple[str, ...], wanted: str, *, beams: int = 1) -> Completion:
    """What is found when the tokens of one choice are likely and all others not."""
    prompt = Prompt("The photo of the")
    trie = choices(TOKENIZER, prompt, texts)
    search = Search(Generate(prompt, beams=beams, choices=texts, max_tokens=1), decode=TOKENIZER.decode, choices=trie)
    likely = [*TOKENIZER.encode(prompt.text() + wanted)[trie.shared - 1 :], EOS]
    going = True
    while going:
        scored = [
            (beam.logprob - 1.0 - 2.0 * (tuple(likely[: len(beam.tokens) + 1]) != (*beam.tokens, token)), index, token)
            for index, (beam, allowed) in enumerate(zip(search.beams, search.allowed() or [], strict=True))
            for token in allowed.tolist()
        ]
        padded = [*sorted(scored, reverse=True), (-math.inf, 0, 0)]
        going = bool(search.advance(padded[: search.candidates]))
    return search.completion()


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("wanted", [" pig", " piggy bank", " pigeon"])
def test_choices_that_begin_others_and_those_that_do_not_are_all_reached(wanted: str, beams: int) -> None:
    found = _chosen((" pig", " piggy bank", " pigeon"), wanted, beams=beams)
    assert (found.text, found.finished) == (wanted, True)


def test_the_text_of_a_choice_is_the_choice_even_where_a_token_runs_across_the_boundary() -> None:
    whole = next(text for text in ("What", "Question", "image") if len(TOKENIZER.encode(text)) == 1)
    prompt = Prompt(whole[:2])
    trie = choices(TOKENIZER, prompt, (whole[2:],))
    assert trie.shared == 1
    search = Search(Generate(prompt, choices=(whole[2:],)), decode=TOKENIZER.decode, choices=trie)
    assert search.advance([(-1.0, 0, TOKENIZER.encode(whole)[0])]) == [0]
    assert search.advance([(-1.5, 0, EOS)]) == []
    assert search.completion().text == whole[2:]


def test_dead_ends_are_never_taken() -> None:
    search = Search(Generate(Prompt("x"), beams=2), decode=_letters)
    assert search.advance([(-1.0, 0, 4), (-math.inf, 0, 5)]) == [0]
    assert len(search.beams) == 1


@given(st.text(alphabet="ab \n", max_size=6), st.text(alphabet="ab \n", max_size=6))
def test_a_continuation_and_its_prompt_are_encoded_as_one_text(before: str, after: str) -> None:
    prompt = Prompt("x", before)
    root, found = continuation_tree(TOKENIZER, prompt, (after,), terminated=True)
    ids = [*TOKENIZER.prompt(prompt)[0][:root], *found.tree.tokens, found.tokens[found.edges[-1]]]
    assert ids == [*TOKENIZER.prompt(prompt + after)[0], EOS]
    assert root + found.depth == len(ids)


def test_every_image_has_slots_of_its_own() -> None:
    one, two = SimpleNamespace(digest="one"), SimpleNamespace(digest="two")
    tokenizer: Any = SimpleNamespace(
        slots=2, slot=SLOT, prompt=lambda _: ([0, 5, SLOT, SLOT, 6, 9, 5, SLOT, SLOT, 6], (two, one))
    )
    ids = prompt_ids(tokenizer, Prompt(), slots={"one": 100, "two": 102})
    assert ids == [0, 5, 102, 103, 6, 9, 5, 100, 101, 6]
