from itertools import islice, product
from statistics import mean

import pytest

from kosmos_tasks import raven_iq
from kosmos_tasks.lessons import matrices as lessons
from kosmos_tasks.synthetic import matrices
from kosmos_tasks.synthetic.recipe import side


def some(stream, count=40):
    return list(islice(stream(0), count))


@pytest.fixture
def drawn(monkeypatch):
    """The puzzles that a stream takes its lessons from."""
    found = []
    original = matrices.puzzles

    def puzzles(split, seed):
        for identity, puzzle in original(split, seed):
            found.append(puzzle)
            yield identity, puzzle

    monkeypatch.setattr(matrices, "puzzles", puzzles)
    return found


@pytest.mark.parametrize("stream", [lessons.candidates, lessons.matrices, lessons.missing, lessons.panels])
def test_matrices_come_from_the_training_side(stream, drawn):
    some(stream)
    assert {side((puzzle.width, puzzle.context)) for puzzle in drawn} == {"train"}


@pytest.mark.parametrize("stream", [lessons.candidates, lessons.matrices])
def test_candidates_are_asked_for_as_the_task_does(stream):
    for first, *others in some(stream):
        *context, candidate = first.prompt.images
        assert first.prompt == raven_iq.question(context, candidate)
        for sample in others:
            assert raven_iq.question(context, *sample.prompt.images).text().endswith(sample.prompt.text())


def test_a_puzzle_has_a_lesson_with_its_right_candidate_and_one_with_a_wrong_one(drawn):
    shown = [sample for (sample,) in some(lessons.matrices, 200)]
    rights = {lessons.picture(matrices.draw(puzzle.candidates[puzzle.target])).digest for puzzle in drawn}
    for one, other in zip(shown[::2], shown[1::2], strict=True):
        assert one.prompt.images[:-1] == other.prompt.images[:-1]
        assert {one.target, other.target} == {"Yes", "No"}
        assert (one if one.target == "Yes" else other).prompt.images[-1].digest in rights


def test_candidates_are_of_the_puzzle_and_the_right_one_is_among_them_three_times_in_four(drawn):
    found = 0
    some(lessons.candidates, 200)
    puzzles = {tuple(lessons.picture(matrices.draw(panel)) for panel in puzzle.context): puzzle for puzzle in drawn}
    for first, *others in some(lessons.candidates, 200):
        puzzle = puzzles[first.prompt.images[:-1]]
        right, *wrong = (lessons.picture(matrices.draw(panel)) for panel in by_rank(puzzle))
        shown = [sample.prompt.images[-1] for sample in (first, *others)]
        assert len(set(shown)) == lessons.SHOWN
        assert {*shown} <= {right, *wrong}
        assert [sample.target for sample in (first, *others)] == ["Yes" if one == right else "No" for one in shown]
        found += right in shown
    assert 0.65 < found / 200 < 0.85


def by_rank(puzzle):
    """The candidates of a puzzle, the right one first."""
    return sorted(puzzle.candidates, key=lambda panel: panel != puzzle.candidates[puzzle.target])


def test_every_other_wrong_candidate_is_of_the_puzzle_and_others_differ_in_more(drawn):
    own, differing = 0, {True: [], False: []}
    shown = [sample for (sample,) in some(lessons.matrices, 400)]
    panels = {lessons.picture(matrices.draw(panel)): panel for panel in every_panel()}
    for sample in shown:
        if sample.target == "Yes":
            continue
        *context, candidate = (panels[image] for image in sample.prompt.images)
        puzzle = next(puzzle for puzzle in drawn if list(puzzle.context) == context)
        of_puzzle = candidate in puzzle.candidates
        own += of_puzzle
        right = puzzle.candidates[puzzle.target]
        differing[of_puzzle].append(sum(value != getattr(right, name) for name, value in vars(candidate).items()))
    assert 0.4 < own / 200 < 0.65
    assert mean(differing[True]) + 0.5 < mean(differing[False])


def every_panel():
    return (matrices.Panel(*values) for values in product(range(5), range(1, 5), range(5), range(1, 16)))


def test_most_matrices_are_plain():
    sizes = [len(lesson[0].prompt.images) for lesson in some(lessons.missing, 300)]
    assert set(sizes) == {3, 8}
    assert 0.7 < sizes.count(3) / len(sizes) < 0.9


def test_a_panel_in_words_tells_number_size_shade_shape_and_places():
    panel = matrices.Panel(shape=1, size=1, color=4, position=0b1000)
    assert lessons.described(panel) == "one tiny black square at bottom left"
