"""The scenes of the synthetic splits, their captions and their questions."""

import random
import re
from collections import Counter, defaultdict
from io import BytesIO
from itertools import islice

import pytest
from PIL import Image

from kosmos_tasks.synthetic.scene_captions import PATTERNS, caption, captions
from kosmos_tasks.synthetic.scene_questions import ANSWERS, askable, questions
from kosmos_tasks.synthetic.scenes import COLORS, KINDS, SIDE, SIZES, Scene, Thing, content, draw, sample, scenes

STAR = Thing("star", "orange", "large", 0, 0, 0, 0)
RING = Thing("ring", "blue", "small", 1, 0, 0, 0)
HEART = Thing("heart", "red", "small", 1, 1, 0, 0)
PAIR = Scene(2, 1, (STAR, RING), "white")
CORNER = Scene(2, 2, (STAR, RING, HEART), "gray")


def texts(scene: Scene) -> dict[str, str]:
    return {question.text: question.answer for question in askable(scene, random.Random(0))}


def test_a_thing_is_drawn_in_its_place_and_color() -> None:
    image = draw(PAIR)
    assert image.getpixel((24, 48)) == COLORS["orange"]
    assert image.getpixel((72, 48)) == (255, 255, 255)  # the hole of the ring
    assert image.getpixel((72 - 7, 48)) == COLORS["blue"]
    assert image.getpixel((2, 2)) == (255, 255, 255)


def test_nothing_touches_another_thing_or_the_border() -> None:
    for number in range(2000):
        scene = sample(random.Random(number))
        boxes = []
        for thing in scene.things:
            half = SIZES[thing.size] / 2
            x = (2 * thing.column + 1) * SIDE / (2 * scene.columns) + thing.dx
            y = (2 * thing.row + 1) * SIDE / (2 * scene.rows) + thing.dy
            assert half < x < SIDE - half
            assert half < y < SIDE - half
            boxes.append((x, y, half))
        for index, (x, y, half) in enumerate(boxes):
            assert all(max(abs(x - u), abs(y - v)) > half + other for u, v, other in boxes[:index])


def test_scenes_have_one_to_four_things_of_every_kind_color_and_size() -> None:
    drawn = [sample(random.Random(number)) for number in range(500)]
    things = [thing for scene in drawn for thing in scene.things]
    assert {len(scene.things) for scene in drawn} == {1, 2, 3, 4}
    assert {thing.kind for thing in things} == set(KINDS)
    assert len(KINDS) == len(COLORS) == 8
    assert {(thing.color, thing.size) for thing in things} == {(color, size) for color in COLORS for size in SIZES}


def test_the_plainest_caption_tells_size_color_kind_and_relation() -> None:
    assert caption(PAIR, PATTERNS[2, 1, 2][0], sized=True) == "a large orange star to the left of a small blue ring"
    assert caption(CORNER, PATTERNS[2, 2, 3][0], sized=False) == (
        "a blue ring above a red heart and to the right of an orange star"
    )


def test_five_references_differ_and_name_every_thing() -> None:
    for row, (_, scene) in zip(captions("train", 300), scenes("train"), strict=False):
        assert len(set(row["captions"])) == 5
        for text in row["captions"]:
            assert all(f"{thing.color} {thing.kind}" in text for thing in scene.things)


def test_no_caption_describes_two_contents_so_none_of_the_test_occurs_in_train() -> None:
    described: dict[str, set[str]] = defaultdict(set)
    for split in ("train", "test"):
        for row, (identity, scene) in zip(captions(split, 800, seed=5), scenes(split, 5), strict=False):
            assert row["id"] == identity
            for text in row["captions"]:
                described[re.sub(r"\b(large|big|small|little|tiny) ", "", text)].add(f"{split} {content(scene)}")
    assert all(len(contents) == 1 for contents in described.values())
    assert len(described) > 3000


def test_no_constant_caption_fits_more_than_a_few_pictures() -> None:
    rows = list(captions("test", 300))
    most = Counter(text for row in rows for text in set(row["captions"])).most_common(1)[0][1]
    assert most <= 6


def test_questions_of_a_known_scene_have_the_right_answers() -> None:
    asked = texts(CORNER)
    assert asked["What color is the star?"] == "orange"
    assert asked["What shape is the red thing?"] == "heart"
    assert asked["Is the orange star large or small?"] == "large"
    assert asked["How many things are there?"] == "3"
    assert asked["Is the orange star to the left of the blue ring?"] == "yes"
    assert asked["Is the blue ring below the red heart?"] == "no"
    assert asked["What shape is below the blue ring?"] == "heart"
    assert asked["What color is the thing to the left of the blue ring?"] == "orange"
    assert asked["Where is the red heart relative to the blue ring?"] == "below"
    assert asked["Are the blue ring and the red heart the same size?"] == "yes"
    assert asked["Are the star and the ring the same color?"] == "no"


def test_nothing_is_asked_about_things_on_a_diagonal_or_a_kind_that_stands_twice() -> None:
    assert not [text for text in texts(CORNER) if "orange star" in text and "red heart" in text and "size" not in text]
    twins = Scene(2, 1, (STAR, Thing("star", "blue", "small", 1, 0, 0, 0)), "white")
    assert "What color is the star?" not in texts(twins)


def test_ten_answers_score_one_for_the_main_answer() -> None:
    for row in questions("test", 300):
        assert len(row["answers"]) == 10
        assert row["answers"].count(row["answers"][0]) >= 7
        assert row["answers"][0] in ANSWERS[row["question_type"]]


def test_answers_and_question_types_are_balanced() -> None:
    counts = Counter((row["question_type"], row["answers"][0]) for row in questions("test", 300))
    types = Counter(kind for kind, answer in counts.elements())
    assert len(types) == len(ANSWERS) >= 8
    assert max(types.values()) - min(types.values()) <= 4
    for kind, possible in ANSWERS.items():
        given = [counts[kind, answer] for answer in possible]
        assert max(given) - min(given) <= 2, kind


def test_three_questions_share_a_scene_and_its_picture() -> None:
    rows = list(questions("train", 300))
    images = {row["image_id"]: row["image"]["bytes"] for row in rows}
    assert all(images[row["image_id"]] == row["image"]["bytes"] for row in rows)
    assert len(images) <= 110
    Image.open(BytesIO(rows[0]["image"]["bytes"])).verify()


def test_scenes_of_questions_and_captions_have_the_same_sides() -> None:
    asked = {row["image_id"] for row in questions("test", 300)}
    described = {row["id"] for row in captions("train", 500)}
    assert not asked & described
    tested = {repr(content(scene)) for _, scene in islice(scenes("test"), 1000)}
    learnt = {repr(content(scene)) for _, scene in islice(scenes("train", 9), 4000)}
    assert not tested & learnt


@pytest.mark.parametrize("key", ["question", "question_type"])
def test_a_guess_by_the_text_alone_stays_low(key: str) -> None:
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for row in questions("train", 3000):
        seen[row[key]][row["answers"][0]] += 1
        seen[row["question_type"]][row["answers"][0]] += 1
    right = 0.0
    tested = list(questions("test", 600))
    for row in tested:
        guess = (seen.get(row[key]) or seen[row["question_type"]]).most_common(1)[0][0]
        right += min(row["answers"].count(guess) / 3, 1)
    assert right / len(tested) < 0.4
