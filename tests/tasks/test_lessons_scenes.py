import re
from itertools import islice, pairwise

import pytest

from kosmos_eval.source import Source
from kosmos_tasks.coco_caption import CocoCaption
from kosmos_tasks.cub_descriptions import CUBDescriptions
from kosmos_tasks.hateful_memes import HatefulMemes
from kosmos_tasks.imagenet import ImageNet
from kosmos_tasks.lessons import lookups, matrices
from kosmos_tasks.lessons import scenes as lessons
from kosmos_tasks.new_words import NewWords
from kosmos_tasks.rendered_sst2 import RenderedSST2
from kosmos_tasks.synthetic import digits, memes, new_words, opinions, pages, scenes
from kosmos_tasks.synthetic.recipe import side
from kosmos_tasks.websrc import WebSRC

STREAMS = (
    lessons.things,
    lessons.words,
    lessons.captions,
    lessons.questions,
    lessons.opinions,
    lessons.sentiments,
    lessons.digits,
    matrices.candidates,
    matrices.matrices,
    matrices.missing,
    matrices.panels,
    lessons.memes,
    lessons.unclear,
    lookups.colors,
    lookups.same,
    lookups.new_words,
    lookups.creatures,
    lookups.pages,
)
OTHERS = (lookups.pairs, lookups.told, lessons.sentences)


def some(stream, count=40, seed=0):
    return list(islice(stream(seed), count))


@pytest.mark.parametrize("stream", [*STREAMS, *OTHERS], ids=lambda stream: stream.__name__)
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


@pytest.mark.parametrize("stream", [lookups.colors, lookups.same, lookups.told, lookups.new_words, lookups.creatures])
def test_no_new_thing_of_the_test_side_is_ever_drawn(stream, monkeypatch):
    found = drawn_by(stream, new_words, "draw", monkeypatch, holder=new_words)
    assert {side(thing.outline) for thing in found} == {"train"}


@pytest.mark.parametrize("stream", [lookups.same, lookups.told, lookups.new_words, lookups.creatures])
def test_no_invented_name_of_the_test_side_is_ever_told(stream):
    named = [name for lesson in some(stream) for sample in lesson for name in sample.target.split()]
    assert {side(name) for name in named if name not in {"creature", *lessons.vocabulary()}} == {"train"}


def test_no_page_and_no_meme_of_the_test_side_is_ever_drawn(monkeypatch):
    assert {side(page) for page in drawn_by(lookups.pages, pages, "render", monkeypatch, holder=pages)} == {"train"}
    known = {text for _, (text, _) in memes.memes("test")}
    assert not known & set(drawn_by(lessons.memes, opinions, "render", monkeypatch, holder=opinions))


@pytest.mark.parametrize("stream", [lessons.opinions, lessons.sentiments])
def test_no_opinion_of_the_test_side_is_ever_drawn_or_read(stream, monkeypatch):
    known = {opinion.text for _, opinion in islice(opinions.opinions("test"), 3000)}
    assert not known & set(drawn_by(stream, opinions, "render", monkeypatch, holder=opinions))
    assert not known & set(some(lessons.sentences, 400))


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


def met(lesson):
    """The keys and answers of a lesson in order: words as they are, pictures as images."""
    first, *later = lesson
    lines, key = [], ""
    for part in first.prompt.parts:
        if not isinstance(part, str):
            key = part
            continue
        *ended, rest = part.split("\n")
        for line in ended:
            told = line.rsplit(" ", 1)
            lines.append((key or told[0], told[-1]))
            key = ""
        key = key or rest
    lines.append((key, first.target))
    return lines + [(sample.prompt.parts[0], sample.target) for sample in later]


@pytest.mark.parametrize("stream", [lookups.pairs, lookups.same])
def test_what_follows_a_word_or_a_picture_followed_it_before(stream):
    for lesson in some(stream):
        lines = met(lesson)
        shown = lines[: -len(lesson)]
        told = dict(shown)
        assert len(told) == len(shown) == len(set(told.values())) >= 2
        assert all(told[key] == answer for key, answer in lines[len(shown) :])


@pytest.mark.parametrize("stream", [lookups.told, lookups.new_words])
def test_every_name_that_is_asked_for_was_shown_once(stream):
    for lesson in some(stream):
        lines = met(lesson)
        shown = [answer for _, answer in lines[: -len(lesson)]]
        assert len(set(shown)) == len(shown) >= 2
        assert {answer for _, answer in lines} == set(shown)


def test_a_color_stands_right_after_its_picture():
    for lesson in some(lookups.colors):
        for sample in lesson:
            (image,) = sample.prompt.parts
            found = image.pixels().convert("RGB").getcolors(96 * 96)
            colors = {color for _, color in found if color != (255, 255, 255)}
            assert new_words.COLORS[sample.target] in colors


def test_things_are_told_by_their_color_or_shown():
    for lesson in some(lookups.told):
        lines = met(lesson)
        colors = {answer: key for key, answer in lines if isinstance(key, str)}
        assert set(colors.values()) <= set(new_words.COLORS)
        assert all(colors[answer] == key for key, answer in lines if isinstance(key, str))
    kinds = {isinstance(key, str) for lesson in some(lookups.told) for key, _ in met(lesson)}
    assert kinds == {True, False}


def test_neither_the_last_answer_nor_what_is_left_tells_the_next():
    answers = [[answer for _, answer in met(lesson)] for lesson in some(lookups.new_words, 400)]
    pairs = [(one, two) for lesson in answers if len(set(lesson)) == 2 for one, two in pairwise(lesson[1:])]
    assert 0.4 < sum(one == two for one, two in pairs) / len(pairs) < 0.6


def test_pictures_that_show_nothing_are_unanswerable_as_in_vizwiz():
    for (sample,) in some(lessons.unclear):
        (image,) = sample.prompt.images
        assert len(image.pixels().getcolors()) == 1
        assert sample.target == "unanswerable"


def test_sentiment_is_asked_for_as_the_task_does():
    assert RenderedSST2(Source()).samples()[0].prompt.text() in texts(lessons.opinions)
    assert texts(lessons.sentiments) == {RenderedSST2(Source()).samples()[0].prompt.text()}


def test_new_things_are_shown_and_asked_about_as_the_task_does():
    task = NewWords(Source())
    query = task.samples()[0]
    (request,) = task.requests(query, task.choose_shots(query, 1))
    first = next(lesson[0] for lesson in some(lookups.new_words) if len(lesson[0].prompt.images) == 3)
    without = [request.prompt.text(), first.prompt.text()]
    for name in (*query.choices, *(line.split()[-1] for line in first.prompt.text().split("\n")[:-1])):
        without = [text.replace(name, "NAME") for text in without]
    assert without[0] == without[1]
