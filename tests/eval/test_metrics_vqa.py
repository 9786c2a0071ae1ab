import json
import os
from pathlib import Path

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.metrics.vqa import CONTRACTIONS, accuracy, lenient_accuracy, normalise, percentage


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Tree.", "tree"),
        ("an apple a day", "apple day"),
        ("none", "0"),
        ("Ten", "10"),
        ("eleven", "eleven"),
        ("blue/green", "blue green"),
        ("blue / green", "blue green"),
        ("blue, green/red", "blue green red"),
        ("t-shirt", "t shirt"),
        ("t-shirt - red", "tshirt red"),
        ("1,000", "1000"),
        ("1,000 t-shirts", "1000 tshirts"),
        ("1.5", "1.5"),
        (".5", ".5"),
        ("5.", "5"),
        ("p.m.", "pm"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),
        ("couldnt've", "couldn't've"),
        ("ow'sat", "ow'sat"),
        ("'ow'sat", "'ow's'at"),
        ("somebody'd", "somebodyd"),
        ("Im", "im"),
        ("lets", "lets"),
        ("dog's: big", "dog's: big"),
        ("", ""),
    ],
)
def test_normalisation_is_the_official_one(text, expected):
    assert normalise(text) == expected


def test_only_the_first_32_full_stops_go():
    assert normalise("a." * 33) == "a" * 33 + "."


def test_contractions_are_those_of_the_official_table():
    # 120 entries, less the four with a capital (text is lower case by then) and the two that map to themselves.
    assert len(CONTRACTIONS) == 114
    assert {key for key in CONTRACTIONS if key != key.lower()} == set()


@pytest.mark.parametrize(
    ("matches", "expected"),
    [
        (0, 0),
        (1, 9 * (1 / 3) / 10),
        (2, (2 * (1 / 3) + 8 * (2 / 3)) / 10),
        (3, (3 * (2 / 3) + 7) / 10),
        (4, 1),
        (9, 1),
    ],
)
def test_accuracy_is_the_mean_over_leaving_out_each_human(matches, expected):
    assert accuracy("Yes.", ["yes"] * matches + ["no"] * (10 - matches)) == pytest.approx(expected)


def test_equal_answers_of_different_humans_all_count():
    # Without ids the official code takes them for one human, and three of ten would earn 0.
    assert accuracy("left", ["left"] * 3 + ["right"] * 7) == pytest.approx(0.9)


def test_nothing_is_normalised_where_all_humans_agree():
    assert accuracy("The yes.", ["yes"] * 10) == 0
    assert accuracy("Black.", ["Black."] * 10) == 1
    assert accuracy("The yes.", ["yes"] * 9 + ["no"]) == 1


def test_white_space_around_an_answer_goes_even_where_all_humans_agree():
    assert accuracy("\tice cream\n", ["ice cream"] * 9 + [" ice cream "]) == 1
    assert accuracy("ice\ncream", ["ice\tcream"] * 10) == 1


def test_human_answers_are_normalised_like_the_prediction():
    assert accuracy("two dogs", ["2 dogs", "Two dogs.", "the 2 dogs", "two, dogs", "3"]) == 1


def test_the_lenient_variant_always_normalises_and_is_the_same_elsewhere():
    assert lenient_accuracy("The yes.", ["yes"] * 10) == 1
    assert lenient_accuracy("Yes.", ["yes"] * 2 + ["no"] * 8) == accuracy("Yes.", ["yes"] * 2 + ["no"] * 8)


def test_a_single_human_answer_left_out_leaves_nothing_to_match():
    assert accuracy("yes", ["yes"]) == 0


def test_a_question_without_human_answers_is_refused():
    with pytest.raises(BadData, match="no human answers to score 'yes' against"):
        accuracy("yes", [])


REFERENCE = ["always_yes", "first_human_answer", "most_common_answer", "first_answer_noisy"]


@pytest.mark.realdata
@pytest.mark.parametrize("name", REFERENCE)
def test_real_answer_files_get_the_official_figures(name):
    folder = os.environ.get("KOSMOS_EVAL_DATA")
    if not folder:
        pytest.skip("KOSMOS_EVAL_DATA is not set")
    root = Path(folder)
    expected = json.loads((root / "reference_scores.json").read_text())["vqav2/results"][name]
    annotations = json.loads((root / "vqav2/v2_mscoco_train2014_annotations.json").read_text())["annotations"]
    given = json.loads((root / f"vqav2/results/v2_OpenEnded_mscoco_train2014_{name}_results.json").read_text())
    answers = {row["question_id"]: row["answer"] for row in given}
    marks = {
        row["question_id"]: accuracy(answers[row["question_id"]], [human["answer"] for human in row["answers"]])
        for row in annotations
    }
    types = {row["question_id"]: row["answer_type"] for row in annotations}
    assert percentage(list(marks.values())) == expected["overall"]
    for kind, figure in expected["perAnswerType"].items():
        assert percentage([mark for question, mark in marks.items() if types[question] == kind]) == figure
    for question, figure in expected.get("per_question", {}).items():
        assert percentage([marks[int(question)]]) == figure
