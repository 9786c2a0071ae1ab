import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kosmos_eval.models.decoding import Search
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Completion, Generate
from kosmos_model.engine.encoding import choices, continuation_tree, prompt_ids
from kosmos_model.modeling.tokenizer import EOS, NANO, SLOT, Tokenizer

TOKENIZER = Tokenizer.read(NANO, slots=3)


def _chosen(texts: tuple[str, ...], wanted: str, *, beams: int = 1) -> Completion:
    """What is found when the tokens of one choice are likely and all others not."""
    prompt = Prompt("The photo of the")
    root, trie = choices(TOKENIZER, prompt, texts)
    request = Generate(prompt, beams=beams, choices=texts, max_tokens=1)
    search = Search(request, decode=TOKENIZER.decode, ends=(EOS,), choices=trie)
    likely = [*TOKENIZER.encode(prompt.text() + wanted)[root - 1 :], EOS]
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
    root, trie = choices(TOKENIZER, prompt, (whole[2:],))
    assert root == 1
    search = Search(Generate(prompt, choices=(whole[2:],)), decode=TOKENIZER.decode, ends=(EOS,), choices=trie)
    assert search.advance([(-1.0, 0, TOKENIZER.encode(whole)[0])]) == [0]
    assert search.advance([(-1.5, 0, EOS)]) == []
    assert search.completion().text == whole[2:]


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
