import pytest

from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.sample import Sample
from kosmos_model.data.documents import lesson, packed, whole
from kosmos_model.modeling.tokenizer import BOS, EOS, IMAGE, IMAGE_END, NANO, SLOT, Tokenizer

TOKENIZER = Tokenizer.read(NANO, slots=2)
CAT, DOG = Image(b"cat"), Image(b"dog")
WEATHER = Sample("a", Prompt(CAT, "Question: is it wet? Answer:"), target="no")
SHAPE = Sample("b", Prompt("Look:", DOG, "Question: which shape? Answer:"), target="a star")


def counted(document, weight):
    return TOKENIZER.decode(
        token for token, given in zip(document.tokens, document.weights, strict=True) if given == weight
    )


def test_a_lesson_has_the_tokens_of_the_few_shot_prompt_its_answer_and_the_end():
    document = lesson([WEATHER, SHAPE], TOKENIZER, kind="questions")
    asked, images = TOKENIZER.prompt(Prompt(few_shot(SHAPE, [WEATHER]), " a star"))
    assert list(document.tokens) == [*asked, EOS]
    assert document.images == images == (CAT, DOG)


def test_the_loss_of_a_lesson_is_on_all_text_and_never_on_an_image():
    document = lesson([WEATHER], TOKENIZER, kind="questions")
    given = [token for token, weight in zip(document.tokens, document.weights, strict=True) if weight == 0]
    assert given == [BOS, IMAGE, SLOT, SLOT, IMAGE_END]
    assert counted(document, 1.0) == "Question: is it wet? Answer: no"
    assert document.weights[-1] == 1.0


def test_prompts_may_count_less_than_answers_and_what_ends_them():
    document = lesson([WEATHER, SHAPE], TOKENIZER, kind="questions", prompt_weight=0.25)
    assert counted(document, 1.0) == " no\n a star"
    assert counted(document, 0.25) == "Question: is it wet? Answer:Look:Question: which shape? Answer:"


def test_texts_are_packed_whole_each_with_its_own_beginning_and_end():
    one, two, three = (list(TOKENIZER.encode(text)) for text in ("a red star", "a ring", "two big hearts"))
    length = len(one) + len(two) + 4
    first, second = packed(["a red star", "a ring", "two big hearts"], TOKENIZER, kind="text", length=length)
    assert list(first.tokens) == [BOS, *one, EOS, BOS, *two, EOS]
    assert list(second.tokens) == [BOS, *three, EOS]
    assert [token for token, weight in zip(first.tokens, first.weights, strict=True) if not weight] == [BOS, BOS]


def test_a_text_that_is_too_long_is_parted_between_sentences_and_nothing_is_lost():
    text = "A red star. Above it a blue ring! Is it big?\nNo."
    documents = list(packed([text, "Two hearts."], TOKENIZER, kind="text", length=14))
    assert all(len(document) <= 14 for document in documents)
    said = [TOKENIZER.decode(document.tokens) for document in documents]
    assert "".join(said) == text + "Two hearts."
    assert all(part.endswith((".", "!", "?")) for part in said)
    assert [document.tokens.count(EOS) for document in documents][-1] >= 1
    assert sum(document.tokens.count(EOS) for document in documents) == 2


@pytest.mark.parametrize("length", [4, 6])
def test_a_sentence_that_is_too_long_is_cut(length):
    documents = list(packed(["a red star above a blue ring"], TOKENIZER, kind="text", length=length))
    assert all(len(document) <= length for document in documents)
    assert "".join(TOKENIZER.decode(document.tokens) for document in documents) == "a red star above a blue ring"


def test_an_interleaved_document_is_the_papers_sequence_with_all_its_text_counted():
    (document,) = whole(Prompt(CAT, "A cat.", DOG, "A dog."), TOKENIZER, kind="pages", length=64)
    shown = [IMAGE, SLOT, SLOT, IMAGE_END]
    first, second = TOKENIZER.encode("A cat."), TOKENIZER.encode("A dog.")
    assert list(document.tokens) == [BOS, *shown, *first, *shown, *second, EOS]
    assert document.images == (CAT, DOG)
    assert counted(document, 1.0) == "A cat.A dog."
    assert document.weights[-1] == 1.0


def test_a_long_interleaved_document_is_parted_with_each_image_before_its_sentence():
    prompt = Prompt("First a cat sat here.", CAT, "This is it. It is red.", DOG, "That is a dog.", CAT)
    documents = list(whole(prompt, TOKENIZER, kind="pages", length=16))
    assert all(len(document) <= 16 for document in documents)
    assert [image for document in documents for image in document.images] == [CAT, DOG]
    assert [document.tokens.count(EOS) for document in documents] == [0] * (len(documents) - 1) + [1]
    for document in documents:
        assert document.tokens.count(SLOT) == 2 * len(document.images)


def test_what_has_no_text_is_no_document():
    assert not list(whole(Prompt(CAT), TOKENIZER, kind="pages", length=16))
