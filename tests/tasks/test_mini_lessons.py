import re
from itertools import islice

import pytest

from kosmos_eval.source import Source
from kosmos_tasks import raven_iq
from kosmos_tasks.coco_caption import CocoCaption
from kosmos_tasks.cub_descriptions import CUBDescriptions
from kosmos_tasks.hateful_memes import HatefulMemes
from kosmos_tasks.imagenet import ImageNet
from kosmos_tasks.mini import digits, lessons, lookups, matrices, memes, new_words, opinions, pages, scenes
from kosmos_tasks.mini.recipe import side
from kosmos_tasks.new_words import NewWords
from kosmos_tasks.rendered_sst2 import RenderedSST2
from kosmos_tasks.websrc import WebSRC

STREAMS = (
    lessons.things,
    lessons.words,
    lessons.captions,
    lessons.questions,
    lessons.opinions,
    lessons.sentiments,
    lessons.digits,
    lessons.matrices,
    lessons.missing,
    lessons.panels,
    lessons.memes,
    lessons.unclear,
    lookups.new_words,
    lookups.creatures,
    lookups.pages,
)
IN_WORDS = (lookups.pairs, lookups.repeats, lookups.names, lessons.sentences)


def some(stream, count=40, seed=0):
    return list(islice(stream(seed), count))


@pytest.mark.parametrize("stream", [*STREAMS, *IN_WORDS], ids=lambda stream: stream.__name__)
def test_a_stream_is_its_seed(stream):
    assert some(stream, 5, seed=3) == some(stream, 5, seed=3)
    assert some(stream, 5, seed=3) != some(stream, 5, seed=4)


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.__name__)
def test_every_sample_of_a_lesson_has_an_answer_and_every_lesson_begins_with_a_picture(stream):
    for lesson in some(stream):
        assert all(sample.target for sample in lesson)
        assert lesson[0].prompt.images


def drawn_by(stream, module, name, monkeypatch, *, holder=lessons):
    """What a stream has drawn: the first arguments of a drawing function."""
    seen = []
    original = getattr(module, name)

    def watched(item, *rest):
        seen.append(item)
        return original(item, *rest)

    monkeypatch.setattr(holder, name, watched)
    some(stream, 60)
    assert seen
    return seen


@pytest.mark.parametrize("stream", [lessons.things, lessons.captions, lessons.questions])
def test_no_scene_of_the_test_side_is_ever_drawn(stream, monkeypatch):
    assert {side(scenes.content(scene)) for scene in drawn_by(stream, scenes, "draw", monkeypatch)} == {"train"}


def test_no_digit_of_the_test_side_is_ever_drawn(monkeypatch):
    found = drawn_by(lessons.digits, digits, "draw", monkeypatch, holder=digits)
    assert {side(digit.pixels, digits.TEST_SHARE) for digit in found} == {"train"}


@pytest.mark.parametrize("stream", [lookups.new_words, lookups.creatures])
def test_no_new_thing_of_the_test_side_is_ever_drawn(stream, monkeypatch):
    found = drawn_by(stream, new_words, "draw", monkeypatch, holder=new_words)
    assert {side(thing.outline) for thing in found} == {"train"}


@pytest.mark.parametrize("stream", [lookups.repeats, lookups.names, lookups.new_words, lookups.creatures])
def test_no_invented_name_of_the_test_side_is_ever_told(stream):
    named = [name for lesson in some(stream) for sample in lesson for name in sample.target.split()]
    assert {side(name) for name in named if name != "creature"} == {"train"}


def test_no_page_and_no_meme_of_the_test_side_is_ever_drawn(monkeypatch):
    assert {side(page) for page in drawn_by(lookups.pages, pages, "render", monkeypatch, holder=pages)} == {"train"}
    known = {text for _, (text, _) in memes.memes("test")}
    assert not known & set(drawn_by(lessons.memes, opinions, "render", monkeypatch, holder=opinions))


@pytest.mark.parametrize("stream", [lessons.opinions, lessons.sentiments])
def test_no_opinion_of_the_test_side_is_ever_drawn_or_read(stream, monkeypatch):
    known = {opinion.text for _, opinion in islice(opinions.opinions("test"), 3000)}
    assert not known & set(drawn_by(stream, opinions, "render", monkeypatch, holder=opinions))
    assert not known & set(some(lessons.sentences, 400))


@pytest.mark.parametrize("stream", [lessons.matrices, lessons.missing, lessons.panels])
def test_matrices_come_from_the_training_side(stream, monkeypatch):
    found = []
    original = matrices.puzzles

    def puzzles(split, seed):
        for identity, puzzle in original(split, seed):
            found.append(puzzle)
            yield identity, puzzle

    monkeypatch.setattr(matrices, "puzzles", puzzles)
    some(stream)
    assert {side((puzzle.width, puzzle.context)) for puzzle in found} == {"train"}


def texts(stream, count=40):
    return {sample.prompt.text() for lesson in some(stream, count) for sample in lesson}


@pytest.mark.parametrize(("stream", "task"), [(lessons.captions, CocoCaption), (lessons.digits, ImageNet)])
def test_pictures_are_asked_about_as_the_task_does(stream, task):
    assert texts(stream) == {task(Source()).samples()[0].prompt.text()}


@pytest.mark.parametrize(
    ("stream", "task"), [(lookups.creatures, CUBDescriptions), (lookups.pages, WebSRC), (lessons.memes, HatefulMemes)]
)
def test_prompts_are_made_of_the_words_of_the_task(stream, task):
    sample = task(Source()).samples()[0]
    asked = next(lesson[0] for lesson in some(stream) if "what does" not in lesson[0].prompt.text())
    wanted = task(Source()).requests(sample, [])[0].prompt
    assert shape(asked.prompt.text()) == shape(wanted.text())


def shape(text):
    """A prompt without what differs from sample to sample."""
    text = re.sub(r"(Context: .*? )?Q: .*? A:", "Q: TEXT A:", text)
    return re.sub(r"Description of \w+ (\w+): [^.]*\.", r"Description of NAME \1: TEXT.", text)


def test_what_a_word_stands_for_was_shown_before():
    for lesson in some(lookups.pairs):
        *shown, first = lesson[0].prompt.text().split("\n")
        told = dict(line.split() for line in shown)
        assert [told[first], *(told[sample.prompt.text()] for sample in lesson[1:])] == [
            sample.target for sample in lesson
        ]


def test_a_row_of_names_is_followed_by_the_same_row():
    for (sample,) in some(lookups.repeats):
        assert sample.prompt.text() == sample.target
        assert 2 <= len(set(sample.target.split())) <= 10


def test_pictures_that_show_nothing_are_unanswerable_as_in_vizwiz():
    for (sample,) in some(lessons.unclear):
        (image,) = sample.prompt.images
        assert len(image.pixels().getcolors()) == 1
        assert sample.target == "unanswerable"


def test_sentiment_is_asked_for_as_the_task_does():
    assert RenderedSST2(Source()).samples()[0].prompt.text() in texts(lessons.opinions)
    assert texts(lessons.sentiments) == {RenderedSST2(Source()).samples()[0].prompt.text()}


def test_candidates_are_asked_for_as_the_task_does():
    asked = [lesson[-1] for lesson in some(lessons.matrices) if lesson[-1].target in ("Yes", "No")]
    assert asked
    for sample in asked:
        *context, candidate = sample.prompt.images
        assert sample.prompt == raven_iq.question(context, candidate)


@pytest.mark.parametrize("stream", [lookups.names, lookups.new_words])
def test_what_is_asked_of_new_things_was_shown_before(stream):
    for lesson in some(stream):
        shown = lesson[0].prompt.text()
        assert all(f"This is a {sample.target}\n" in shown for sample in lesson)


def test_new_things_are_shown_and_asked_about_as_the_task_does():
    task = NewWords(Source())
    query = task.samples()[0]
    (request,) = task.requests(query, task.draw(query, 1))
    first = next(lesson[0] for lesson in some(lookups.new_words))
    assert first.prompt.text().count("This is a") == 3
    without = [request.prompt.text(), first.prompt.text()]
    for name in (*query.choices, *lesson_names(first)):
        without = [text.replace(name, "NAME") for text in without]
    assert without[0] == without[1]


def test_things_told_in_words_keep_their_name():
    for lesson in some(lookups.names):
        lines = [line.removesuffix(" This is a") for line in lesson[0].prompt.text().split("\n")]
        told = dict(line.split(" This is a ") for line in lines[:-1])
        assert len(set(told.values())) == len(told) == 2
        assert [told[lines[-1]], *(told[sample.prompt.text().removesuffix(" This is a")] for sample in lesson[1:])] == [
            sample.target for sample in lesson
        ]


def test_most_matrices_are_plain():
    sizes = [len(lesson[0].prompt.images) for lesson in some(lessons.missing, 300)]
    assert set(sizes) == {3, 8}
    assert 0.7 < sizes.count(3) / len(sizes) < 0.9


def lesson_names(sample):
    return {line.split()[-1] for line in sample.prompt.text().split("\n")[:-1]}


def test_a_panel_in_words_tells_number_size_shade_shape_and_places():
    panel = matrices.Panel(shape=1, size=1, color=4, position=0b1000)
    assert lessons.described(panel) == "one tiny black square at bottom left"
