import random
from itertools import islice

import pytest

from kosmos_tasks.lessons import instructions
from kosmos_tasks.synthetic import opinions, scenes
from kosmos_tasks.synthetic.opinions import Opinion
from kosmos_tasks.synthetic.recipe import side
from kosmos_tasks.synthetic.scenes import Scene, Thing

OPINION = Opinion("the film is not bad", 1, ("bad", "film"))
ROW = Scene(2, 1, (Thing("star", "red", "large", 0, 0, 0, 0), Thing("ring", "blue", "small", 1, 0, 0, 0)), "white")
PLAIN = "a large red star to the left of a small blue ring"


@pytest.mark.parametrize(
    ("wanted", "output"),
    [
        (instructions.sentiment, "positive"),
        (instructions.first_word, "the"),
        (instructions.last_word, "bad"),
        (instructions.copy, "the film is not bad"),
        (instructions.length, "five"),
    ],
)
def test_an_opinion_is_what_is_asked_about(wanted, output):
    assert wanted(OPINION, random.Random(0)) == (OPINION.text, output)


@pytest.mark.parametrize(
    ("wanted", "output"),
    [(instructions.colors, "red blue"), (instructions.shapes, "star ring"), (instructions.number, "two")],
)
def test_a_description_is_what_is_asked_about(wanted, output):
    assert wanted(ROW, random.Random(0)) == (PLAIN, output)


def test_a_question_stands_behind_its_description():
    given, output = instructions.answer(ROW, random.Random(0))
    assert given.startswith(f"{PLAIN}. ") and given.endswith("?")
    assert output


def test_the_stream_is_its_seed_in_words_alone_with_every_instruction():
    some = list(islice(instructions.instructions(3), 400))
    assert some[:9] == list(islice(instructions.instructions(3), 9))
    assert some[:9] != list(islice(instructions.instructions(4), 9))
    assert all(len(lesson) == 1 and lesson[0].target and not lesson[0].prompt.images for lesson in some)
    asked = [way for ways in (instructions.OF_OPINIONS, instructions.OF_SCENES) for all in ways.values() for way in all]
    texts = [lesson[0].prompt.text() for lesson in some]
    assert all(any(text.startswith(way) for text in texts) for way in asked)


def test_no_opinion_and_no_scene_of_a_test_side_is_used(monkeypatch):
    seen = []
    plain = instructions._plain
    monkeypatch.setattr(instructions, "_plain", lambda scene: seen.append(scene) or plain(scene))
    known = {opinion.text for _, opinion in islice(opinions.opinions("test"), 2000)}
    assert not known & {given for _, given, _ in islice(instructions.triplets(0), 300)}
    assert seen and {side(scenes.content(scene)) for scene in seen} == {"train"}
