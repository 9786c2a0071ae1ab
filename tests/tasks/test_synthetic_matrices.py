"""The Raven matrices of the synthetic splits: one right answer, and nothing to be learnt from the candidates alone."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache
from itertools import islice, pairwise

import pytest

from kosmos_tasks.synthetic.matrices import VALUES, Panel, Puzzle, answers, draw, fill, possible, puzzles, rows, rules

ATTRIBUTES = ("shape", "size", "color", "number", "position")
TURNED = {1: 2, 2: 4, 4: 8, 8: 1}


@cache
def drawn(split: str, count: int) -> tuple[Puzzle, ...]:
    return tuple(puzzle for _, puzzle in islice(puzzles(split), count))  # type: ignore[arg-type]


def turned(position: int) -> int:
    return sum(TURNED[bit] for bit in TURNED if position & bit)


def holds(rule: str, attribute: str, rows: list[list[int]]) -> bool:
    """Whether the rows of a whole matrix follow a rule, judged anew and not by the generator's tables."""
    if rule == "constant":
        return all(len(set(row)) == 1 for row in rows)
    if rule == "distribute-three":
        return len({frozenset(row) for row in rows}) == 1 and len(set(rows[0])) == 3
    if attribute == "position":
        if rule == "arithmetic":
            return all(a & b == 0 and a | b == c for a, b, c in rows)
        forward = all(turned(a) == b for row in rows for a, b in pairwise(row))
        return forward or all(turned(b) == a for row in rows for a, b in pairwise(row))
    if rule == "arithmetic":
        return all(a + b == c for a, b, c in rows) or all(a - b == c for a, b, c in rows)
    steps = {b - a for row in rows for a, b in pairwise(row)}
    return len(steps) == 1 and steps <= {1, -1, 2, -2}


def solved(puzzle: Puzzle, candidate: Panel) -> bool:
    """Whether a candidate completes every attribute by its named rule."""
    panels, width = [*puzzle.context, candidate], puzzle.width
    for attribute, rule in puzzle.rules:
        values = [getattr(panel, attribute) for panel in panels]
        if not holds(rule, attribute, [values[i : i + width] for i in range(0, width * width, width)]):
            return False
    return True


def test_exactly_one_candidate_follows_the_rules() -> None:
    for split in ("train", "test"):
        for puzzle in drawn(split, 400):
            right = [index for index, candidate in enumerate(puzzle.candidates) if solved(puzzle, candidate)]
            assert right == [puzzle.target]
            assert len(set(puzzle.candidates)) == 6


def test_no_other_rule_leads_to_another_candidate() -> None:
    for puzzle in drawn("test", 300):
        width = puzzle.width
        for attribute, _ in puzzle.rules:
            values = [getattr(panel, attribute) for panel in puzzle.context]
            *full, begun = [values[i : i + width] for i in range(0, len(values), width)]
            fitting = {
                value
                for value in VALUES[attribute]
                for rule in rules(attribute, width)
                if holds(rule, attribute, [*full, [*begun, value]])
            }
            assert fitting == {getattr(puzzle.candidates[puzzle.target], attribute)}


@pytest.mark.parametrize(("full", "begun", "ends"), [
    ([(1, 2, 3), (1, 2, 3)], (2, 3), {1, 4}),  # distribution or progression; the sum, 5, is no value
    ([(1, 2, 3), (1, 2, 3)], (1, 1), {2}),
    ([(1, 2, 3), (2, 3, 1)], (3, 1), {2}),
    ([(1, 2, 3), (1, 2, 3)], (2, 1), {3}),  # sum and distribution agree
    ([(1, 2, 3), (1, 2, 3)], (1, 2), {3}),
])  # fmt: skip
def test_possible_ends_are_those_of_every_rule_that_fits(
    full: list[tuple[int, ...]], begun: tuple[int, ...], ends: set[int]
) -> None:
    assert possible("number", full, begun) == ends


def test_every_rule_leaves_at_least_three_answers_and_reaches_each() -> None:
    for width in (2, 3):
        for attribute in ATTRIBUTES:
            for rule in rules(attribute, width):
                reached = answers(attribute, rule, width)
                assert len(reached) >= 3
                for answer in reached:
                    filled = fill(attribute, rule, width, answer=answer, rng=random.Random(answer))
                    assert filled[-1][-1] == answer
                    assert holds(rule, attribute, [list(line) for line in filled])


def test_all_rules_and_attributes_occur_and_some_rule_is_not_constant() -> None:
    used = Counter((puzzle.width, *pair) for puzzle in drawn("test", 600) for pair in puzzle.rules)
    assert set(used) == {(w, name, rule) for w in (2, 3) for name in ATTRIBUTES for rule in rules(name, w)}
    assert all({rule for _, rule in puzzle.rules} != {"constant"} for puzzle in drawn("test", 600))
    assert {rule for _, _, rule in used} == {"constant", "progression", "arithmetic", "distribute-three"}
    assert all(width == 3 for width, _, rule in used if rule in ("arithmetic", "distribute-three"))


def test_the_target_stands_in_each_place_equally_often() -> None:
    places = Counter(puzzle.target for puzzle in drawn("train", 3000))
    assert set(places) == set(range(6))
    assert all(abs(number - 500) < 4 * math.sqrt(3000 * 5 / 36) for number in places.values())


def distance(one: Panel, other: Panel) -> int:
    return sum(getattr(one, name) != getattr(other, name) for name in ("shape", "size", "color", "position"))


def told(panel: Panel) -> list[tuple[str, int]]:
    return [(name, getattr(panel, name)) for name in ATTRIBUTES]


def typical(puzzle: Puzzle) -> list[float]:
    """Each candidate by how common its values are among the candidates."""
    common = Counter(value for panel in puzzle.candidates for value in told(panel))
    return [sum(common[value] for value in told(panel)) for panel in puzzle.candidates]


def central(puzzle: Puzzle) -> list[float]:
    """Each candidate by its nearness to all others."""
    return [-sum(distance(one, other) for other in puzzle.candidates) for one in puzzle.candidates]


def crowded(puzzle: Puzzle) -> list[float]:
    """Each candidate by how many others differ in one attribute only."""
    return [sum(distance(one, other) == 1 for other in puzzle.candidates) for one in puzzle.candidates]


def dark(puzzle: Puzzle) -> list[float]:
    """Each candidate by its ink."""
    return [-sum(draw(candidate).convert("L").tobytes()) for candidate in puzzle.candidates]


def learnt(puzzle: Puzzle) -> list[float]:
    """Each candidate by how often its values were right among the training candidates."""
    right, offered = values_of_training()
    return [round(sum(right[value] / offered[value] for value in told(panel)), 9) for panel in puzzle.candidates]


@cache
def values_of_training() -> tuple[Counter[tuple[str, int]], Counter[tuple[str, int]]]:
    right: Counter[tuple[str, int]] = Counter()
    offered: Counter[tuple[str, int]] = Counter()
    for puzzle in drawn("train", 3000):
        for index, candidate in enumerate(puzzle.candidates):
            offered.update(told(candidate))
            right.update(told(candidate) if index == puzzle.target else [])
    return right, offered


@pytest.mark.parametrize("solver", [typical, central, crowded, dark, learnt])
def test_a_solver_that_sees_only_the_candidates_stays_at_chance(solver: Callable[[Puzzle], list[float]]) -> None:
    for sign in (1, -1):
        score = 0.0
        for puzzle in drawn("test", 1200):
            marks = [sign * mark for mark in solver(puzzle)]
            best = [index for index, mark in enumerate(marks) if mark == max(marks)]
            score += (puzzle.target in best) / len(best)
        assert abs(score / 1200 - 1 / 6) < 3.3 * math.sqrt(5 / 36 / 1200)


def test_every_place_among_the_candidates_looks_like_every_other() -> None:
    for puzzle in drawn("test", 300):
        profiles = {tuple(sorted(distance(one, other) for other in puzzle.candidates)) for one in puzzle.candidates}
        assert len(profiles) == 1


def test_no_matrix_is_on_both_sides() -> None:
    tested = {puzzle.context for puzzle in drawn("test", 1200)}
    assert not tested & {puzzle.context for puzzle in drawn("train", 3000)}
    assert not tested & {puzzle.context for _, puzzle in islice(puzzles("train", 8), 1500)}


def test_different_panels_have_different_pictures() -> None:
    images: dict[bytes, set[Panel]] = defaultdict(set)
    for shape in range(5):
        for size in range(1, 5):
            for color in range(5):
                panel = Panel(shape, size, color, 5)
                images[draw(panel).tobytes()].add(panel)
    assert len(images) == 100


def test_a_row_holds_the_pictures_of_its_configuration() -> None:
    for row in rows("test", 30):
        assert len(row["context"]) == {"2x2": 3, "3x3": 8}[row["configuration"]]
        assert len(row["candidates"]) == 6
        assert len({candidate["bytes"] for candidate in row["candidates"]}) == 6
        assert row["rules"].startswith("shape ")
