"""Classification with descriptions: both prompts, lenient scores, a user's groups, CUB's folders, what can be wrong."""

import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Generate
from kosmos_eval.source import Source
from kosmos_tasks.cub_descriptions import CUBDescriptions, names

BIRDS = ["three toed woodpecker", "downy woodpecker"]
DESCRIBED = (
    "Description of three toed woodpecker: It has black and white stripes throughout the body and a yellow crown. "
    "Description of downy woodpecker: It has white spots on its black wings and some red on its crown."
)
PENGUINS = {
    "kind": "penguin",
    "categories": [
        {"name": "gentoo", "description": "It has an orange bill.", "images": "g"},
        {"name": "royal", "description": "It has a yellow crest.", "images": "r"},
    ],
}


def pictures(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        PIL.Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number:04d}.jpg")


def at(root: Path, count: int = 2, **options: Any) -> CUBDescriptions:
    pictures(root / "cub" / "images" / "187.American_Three_toed_Woodpecker", count)
    pictures(root / "cub" / "images" / "192.Downy_Woodpecker", count)
    return CUBDescriptions(Source("data", root), **options)


def test_the_zero_shot_prompts_are_the_papers_with_and_without_descriptions(tmp_path: Path) -> None:
    task = at(tmp_path)
    sample = task.samples()[0]
    shown = Image(tmp_path / "cub/images/187.American_Three_toed_Woodpecker/0000.jpg")
    question = "Question:what is the name of the woodpecker in the picture"
    assert task.requests(sample, []) == [
        Generate(Prompt(DESCRIBED, shown, f"{question}? Answer:"), 20, stop=("\n",)),
        Generate(Prompt(shown, f"{question}, three toed or downy? Answer:"), 20, stop=("\n",)),
    ]


def test_the_one_shot_prompts_show_another_picture_with_its_name(tmp_path: Path) -> None:
    task = at(tmp_path)
    sample, *_, shot = task.samples()
    described, plain = task.requests(sample, [shot])
    asked = "<image>Question:what is the name of the woodpecker in the picture"
    assert described.prompt.text() == f"{DESCRIBED}{asked}? Answer: downy woodpecker\n{DESCRIBED}{asked}? Answer:"
    choice = f"{asked}, three toed or downy? Answer:"
    assert plain.prompt.text() == f"{choice} downy woodpecker\n{choice}"


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("three toe woodpecker", True),  # the paper counts it
        ("Three-toed woodpecker.", True),
        ("a three toed", True),
        ("downy woodpecker", False),
        ("three toed or downy woodpecker", False),
        ("woodpecker", False),
        ("three", False),
        ("", False),
    ],
)
def test_an_answer_is_right_where_it_names_the_category_and_not_the_other(answer: str, right: bool) -> None:
    assert names(answer, BIRDS[0], BIRDS) is right


def test_short_words_are_not_taken_for_one_another() -> None:
    assert not names("for sparrow", "fox sparrow", ["fox sparrow", "black throated sparrow"])
    assert names("black throat sparrow", "black throated sparrow", ["fox sparrow", "black throated sparrow"])


def test_both_answers_are_marked(tmp_path: Path) -> None:
    task = at(tmp_path)
    score = task.score(task.samples()[2], [Completion(" downy"), Completion("three toed")])
    assert dict(score.values) == {"accuracy_with_descriptions": 1.0, "accuracy_without_descriptions": 0.0}
    assert (score.answer, score.record) == ("downy", {"without_descriptions": "three toed"})


def test_the_first_images_of_each_category_are_asked_about(tmp_path: Path) -> None:
    assert [s.id.rpartition("/")[2] for s in at(tmp_path, 3, images=2).samples()] == ["0000", "0001"] * 2


def test_a_users_groups_take_the_place_of_the_papers(tmp_path: Path) -> None:
    for name in ("g", "r"):
        pictures(tmp_path / name, 1)
    (tmp_path / "groups.json").write_text(json.dumps([PENGUINS]))
    first, second = CUBDescriptions(Source("data", tmp_path)).samples()
    assert (first.kind, first.target, second.target) == ("penguin", "gentoo penguin", "royal penguin")
    assert "Description of royal penguin: It has a yellow crest." in first.extra["described"].text()


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (
            {"categories": PENGUINS["categories"][:1]},
            r"group 1 of .*groups\.json has 'categories' .*; expected two categ",
        ),
        ({"kind": ""}, r"group 1 of .*groups\.json has 'kind' ''; expected some text"),
        ({"categories": [{"name": "x"}] * 2}, r"\{\"name\": \"x\"\} has no 'description'"),
    ],
)
def test_a_malformed_group_is_named(tmp_path: Path, broken: dict[str, Any], problem: str) -> None:
    (tmp_path / "groups.json").write_text(json.dumps([PENGUINS | broken]))
    with pytest.raises(BadData, match=problem):
        CUBDescriptions(Source("data", tmp_path)).samples()


def test_the_release_is_read_as_it_unpacks_without_what_macos_hid_in_it(tmp_path: Path) -> None:
    for name in ("187.American_Three_toed_Woodpecker", "192.Downy_Woodpecker"):
        pictures(tmp_path / "cub" / "CUB_200_2011" / "images" / name, 2)
        (tmp_path / "cub" / "CUB_200_2011" / "images" / name / "._0000.jpg").write_bytes(b"Mac OS X")
    assert len(CUBDescriptions(Source("data", tmp_path)).samples()) == 4


def test_a_category_without_images_is_named(tmp_path: Path) -> None:
    pictures(tmp_path / "Downy_Woodpecker", 1)
    with pytest.raises(BadData, match="has no folder American_Three_toed_Woodpecker with images"):
        CUBDescriptions(Source("data", tmp_path)).samples()


def test_generated_creatures_are_balanced_and_not_on_both_sides() -> None:
    task = CUBDescriptions()
    samples, shown = list(task.samples()), list(task.examples())
    assert {name for sample in samples for name in sample.choices}.isdisjoint(n for shot in shown for n in shot.choices)
    first = [sample.target == sample.choices[0] for sample in samples]
    assert sum(first) == len(samples) / 2
    assert all(sample.extra["described"].text().count("Description of ") == 2 for sample in samples)


def test_real_woodpeckers_load(real_data: Path) -> None:
    samples = CUBDescriptions(Source("data", real_data)).samples()
    assert [sample.target for sample in samples] == [BIRDS[0]] * 6 + [BIRDS[1]] * 6
    assert all(sample.prompt.images[0].pixels().width > 100 for sample in samples)
