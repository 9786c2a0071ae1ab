"""The episodes with invented names."""

import random
from collections import Counter
from itertools import islice

import pytest

from kosmos_tasks.synthetic.new_words import MIDDLES, ROUNDS, Episode, Thing, View, draw, episodes, invent, rows
from kosmos_tasks.synthetic.recipe import Split, side


def drawn(split: Split, count: int, *, ways: int = 2, seed: int = 0) -> list[Episode]:
    return [episode for _, episode in islice(episodes(split, seed, ways=ways), count)]


@pytest.mark.parametrize("ways", [2, 3, 5])
def test_each_round_shows_each_name_once(ways: int) -> None:
    (row,) = rows("train", 1, ways=ways)
    shown = [demonstration["name"] for demonstration in row["demonstrations"]]
    assert len(row["names"]) == len(set(row["names"])) == ways
    for start in range(0, ROUNDS * ways, ways):
        assert sorted(shown[start : start + ways]) == sorted(row["names"])
    assert len(shown) == ROUNDS * ways
    assert row["name"] in row["names"]


def test_the_query_is_a_new_picture_of_a_thing_shown() -> None:
    for row in rows("test", 5):
        pictures = [demonstration["image"]["bytes"] for demonstration in row["demonstrations"]]
        assert row["image"]["bytes"] not in pictures
        assert len(set(pictures)) == len(pictures)
    for episode in drawn("test", 300):
        asked, view = episode.shown[-1]
        assert asked in [index for index, _ in episode.shown[:2]]
        assert view not in [other for _, other in episode.shown[:-1]]


def test_names_and_outlines_of_the_test_never_occur_in_train() -> None:
    tested = drawn("test", 500)
    names = {name for episode in tested for name in episode.names}
    outlines = {thing.outline for episode in tested for thing in episode.things}
    for seed in (0, 4):
        learnt = drawn("train", 1000, seed=seed)
        assert not names & {name for episode in learnt for name in episode.names}
        assert not outlines & {thing.outline for episode in learnt for thing in episode.things}
    assert all(side(name) == "test" for name in names)


def test_neither_place_nor_recency_tells_the_name() -> None:
    tested = drawn("test", 1000)
    first = sum(episode.shown[-1][0] == 0 for episode in tested)
    latest = sum(episode.shown[-1][0] == episode.shown[-2][0] for episode in tested)
    opening = sum(episode.shown[-1][0] == episode.shown[0][0] for episode in tested)
    assert all(440 < number < 560 for number in (first, latest, opening))


def test_names_have_six_letters_so_none_begins_another() -> None:
    names = {invent(random.Random(number)) for number in range(3000)}
    assert {len(name) for name in names} == {6}
    assert len(names) > 2800
    assert Counter(name[2:4] in MIDDLES for name in names) == {True: len(names)}


def test_things_of_an_episode_differ_in_outline_and_color() -> None:
    for episode in drawn("train", 300, ways=5):
        assert len({thing.outline for thing in episode.things}) == 5
        assert len({thing.color for thing in episode.things}) == 5


def test_a_thing_stays_inside_its_picture_and_is_large_enough_to_see() -> None:
    for outline in range(60):
        thing = Thing(outline, "black", "plain", "red")
        for view in (View(-8, -8, 100, 20), View(8, 8, 100, -20), View(0, 0, 75, 0)):
            image = draw(thing, view).convert("L").point([255 - level for level in range(256)])
            box = image.getbbox()
            assert box is not None
            assert min(box[0], box[1], 96 - box[2], 96 - box[3]) >= 2
            assert sum(level > 128 for level in image.tobytes()) > 150
