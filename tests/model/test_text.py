import subprocess
import sys
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos_eval.errors import ModelError
from kosmos_eval.prompt import Image, Prompt
from kosmos_model.modeling.tokenizer import BOS, IMAGE, IMAGE_END, NANO, SLOT, SPECIALS, Tokenizer, train
from kosmos_model.training.train_tokenizer import main, texts
from kosmos_tasks.lessons import scenes
from kosmos_tasks.lessons.texts import texts as nano_texts

TEXTS = ["Question: what color is the star? Answer: red", "a large red star above a small blue ring"] * 3


@pytest.fixture(scope="module")
def nano():
    return Tokenizer.read(NANO, slots=2)


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text(alphabet=" \n\t\u2581aé<>s/x04{1F600}\x00"))
def test_any_text_comes_back_letter_by_letter(nano, text):
    assert nano.decode(nano.encode(text)) == text


@settings(max_examples=200, deadline=None)
@given(st.text(), st.text(), st.sampled_from([" ", "\n"]))
def test_a_continuation_joins_its_prompt_wherever_a_word_begins(nano, before, after, start):
    assert nano.encode(before) + nano.encode(start + after) == nano.encode(before + start + after)


@pytest.mark.parametrize("special", SPECIALS)
def test_no_text_can_write_a_special_token(nano, special):
    ids = nano.encode(f"{special} and {special}")
    assert min(ids) >= len(SPECIALS)
    assert nano.decode(ids) == f"{special} and {special}"


def test_special_tokens_are_dropped_when_decoding(nano):
    assert nano.decode([BOS, IMAGE, SLOT, IMAGE_END, *nano.encode(" yes"), 2]) == " yes"


def test_a_lone_surrogate_counts_as_the_replacement_character(nano):
    assert nano.decode(nano.encode("a\ud800b")) == "a\ufffdb"


def test_a_character_cut_short_is_replaced_and_not_fatal(nano):
    assert nano.decode(nano.encode("é")[:1]) == "\ufffd"


def test_a_prompt_is_begun_once_and_its_images_keep_their_slots(nano):
    cat, dog = Image("cat.jpg"), Image("dog.jpg")
    ids, images = nano.prompt(Prompt("It is", cat, dog, " yes"))
    block = [IMAGE, SLOT, SLOT, IMAGE_END]
    assert ids == [BOS, *nano.encode("It is"), *block, *block, *nano.encode(" yes")]
    assert images == (cat, dog)


def test_the_empty_prompt_is_the_beginning_alone(nano):
    assert nano.prompt(Prompt()) == ([BOS], ())


def test_the_same_texts_train_the_same_tokenizer(tmp_path):
    first = train(TEXTS, vocab_size=400, path=tmp_path / "a.spm")
    train(iter(TEXTS), vocab_size=400, path=tmp_path / "b.spm")
    assert (tmp_path / "a.spm").read_bytes() == (tmp_path / "b.spm").read_bytes() == first.proto
    assert len(first) == 400


def test_poor_texts_give_a_smaller_vocabulary_that_still_spells_everything(tmp_path):
    tokenizer = train(["ab"], vocab_size=2000, path=tmp_path / "small.spm")
    specials, newline, single_bytes, printable, merged = 10, 1, 256, 95, 1
    assert len(tokenizer) == specials + newline + single_bytes + printable + merged
    assert tokenizer.decode(tokenizer.encode("für 3 €\n")) == "für 3 €\n"


@pytest.mark.parametrize("texts", [[], ["", "\n"], ["\u2581"]])
def test_a_tokenizer_needs_texts(tmp_path, texts):
    with pytest.raises(ModelError, match="needs texts to learn from"):
        train(texts, vocab_size=400, path=tmp_path / "none.spm")


def test_a_vocabulary_without_room_for_the_bytes_is_refused_in_one_line(tmp_path):
    with pytest.raises(ModelError, match="a tokenizer of 100 pieces cannot be trained") as refused:
        train(TEXTS, vocab_size=100, path=tmp_path / "none.spm")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "none.spm").exists()


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path):
    (tmp_path / "wrong.spm").write_bytes(b"\x80\x04 not a SentencePiece model")
    with pytest.raises(ModelError, match=r"wrong.spm: the tokenizer is not a SentencePiece model"):
        Tokenizer.read(tmp_path / "wrong.spm")


def test_a_missing_tokenizer_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read the tokenizer .*none.spm: No such file"):
        Tokenizer.read(tmp_path / "none.spm")


def test_a_tokenizer_with_other_special_tokens_is_refused(tmp_path):
    import io

    from sentencepiece import SentencePieceTrainer

    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=written, vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    with pytest.raises(ModelError, match=r"the tokenizer begins with <unk> <s> </s> .* expected <s> <pad> </s> <unk>"):
        Tokenizer(written.getvalue())


def test_the_tokenizer_needs_no_torch():
    probe = (
        "import sys; from kosmos_model.modeling.tokenizer import NANO, Tokenizer; "
        "Tokenizer.read(NANO); print('torch' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, env={"PYTHONPATH": ".:model"}
    )
    assert run.stdout == "False\n"


def test_the_shipped_tokenizer_is_small_and_fits_its_preset(nano):
    from kosmos_model.modeling.config import PRESETS

    assert len(nano) == PRESETS["kosmos-nano"].vocab_size
    assert NANO.stat().st_size < 100_000
    assert nano.encode("\n") != nano.encode("\\n")
    assert len(nano.encode("\n")) == 1


def test_the_command_trains_on_files(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("\n".join(TEXTS))
    out = tmp_path / "own.spm"
    assert main([str(out), str(tmp_path / "text.txt"), "--vocab-size", "400"]) == 0
    assert capsys.readouterr().out == f"{out}: 400 pieces\n"
    assert out.read_bytes() == train(TEXTS, vocab_size=400, path=tmp_path / "same.spm").proto


def test_the_command_trains_on_a_dataset_that_is_named_as_in_a_recipe(tmp_path, capsys):
    named = ["--dataset", "kosmos_tasks.lessons.scenes:sentences", "--items", "300", "--vocab-size", "400"]
    assert main([str(tmp_path / "own.spm"), *named]) == 0
    assert Tokenizer.read(tmp_path / "own.spm").encode("An image of")
    assert main([str(tmp_path / "own.spm"), "--dataset", "nowhere:texts"]) == 2
    assert "dataset 'nowhere:texts' cannot be loaded" in capsys.readouterr().err


def test_lessons_are_read_with_their_answers():
    (lesson,) = islice(scenes.digits(3), 1)
    assert list(texts([lesson[:1]])) == [f"The photo of the {lesson[0].target}"]


@pytest.mark.parametrize(("content", "message"), [(None, "No such file"), (b"a\xff", "is no UTF-8 text")])
def test_the_command_says_in_one_line_what_it_cannot_read(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "text.txt").write_bytes(content)
    assert main([str(tmp_path / "own.spm"), str(tmp_path / "text.txt")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_nano_reads_its_tasks_in_whole_words(nano):
    texts = list(nano_texts(0, 20))
    assert any(text.startswith("An image of a") for text in texts)
    text = "An image of a large red star to the left of a small blue ring"
    assert len(nano.encode(text)) == len(text.split())
