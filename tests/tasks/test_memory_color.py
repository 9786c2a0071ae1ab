"""MemoryColor: prompts with descriptors, both files, scores, and what can be wrong."""

from collections import Counter
from pathlib import Path

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_eval.task import means
from kosmos_tasks.memory_color import COLORS, MemoryColor

CSV = "Index,Descriptor,Item,Color\r\n1,a ,sunflower,yellow\r\n2,,grass,green\r\n"
JSON = (
    '{"descriptor": "a", "item": "sunflower", "label": "yellow"}\n{"descriptor": "", "item": "grass", "label": "red"}'
)


def at(root: Path, text: str = CSV, *, name: str = "memory_color_data.csv") -> MemoryColor:
    (root / name).write_text(text, newline="")
    return MemoryColor(Source("data", root))


def test_the_zero_shot_prompt_is_the_papers(tmp_path: Path) -> None:
    task = at(tmp_path)
    first, second = task.samples()
    assert task.requests(first, []) == [
        LogLikelihood(Prompt("The color of a sunflower is?"), tuple(f" {color}" for color in COLORS))
    ]
    assert second.prompt == Prompt("The color of grass is?")


def test_the_one_shot_prompt_shows_another_thing_above(tmp_path: Path) -> None:
    task = at(tmp_path)
    sample, shot = task.samples()
    (request,) = task.requests(sample, [shot])
    assert request.prompt == Prompt("The color of grass is? green\nThe color of a sunflower is?")


def test_the_likeliest_of_eleven_colors_counts(tmp_path: Path) -> None:
    task = at(tmp_path)
    logprobs = [-5.0] * 11
    logprobs[COLORS.index("yellow")] = -1.0
    output = Likelihoods(tuple(logprobs), (1,) * 11, (False,) * 11)
    scores = [task.score(sample, [output]) for sample in task.samples()]
    assert [score.values["accuracy"] for score in scores] == [1.0, 0.0]
    assert scores[0].answer == "yellow"
    assert means(task.samples(), scores)["accuracy"].chance == pytest.approx(1 / 11)


def test_the_authors_file_is_read_where_it_is_the_only_one(tmp_path: Path) -> None:
    alone, both = tmp_path / "alone", tmp_path / "both"
    alone.mkdir()
    both.mkdir()
    task = at(alone, JSON, name="memory_colors.jsonl")
    assert [sample.target for sample in task.samples()] == ["yellow", "red"]
    at(both, JSON, name="memory_colors.jsonl")
    assert [sample.target for sample in at(both).samples()] == ["yellow", "green"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [("3,a,sky,azure", "'Color' 'azure'; expected one of 'black'"), ("3,a", "'Item' ''; expected some text")],
)
def test_a_malformed_row_is_named(tmp_path: Path, row: str, problem: str) -> None:
    with pytest.raises(BadData, match=rf"line 4 of .*memory_color_data\.csv has {problem}"):
        at(tmp_path, f"{CSV}{row}\r\n").samples()


def test_no_generated_thing_is_on_both_sides() -> None:
    task = MemoryColor()
    assert len(task.samples()) > 20
    assert {sample.prompt for sample in task.samples()}.isdisjoint(shot.prompt for shot in task.examples())
    assert {sample.target for sample in task.samples()} == set(COLORS)


def test_real_things_load_with_their_colors(real_data: Path) -> None:
    samples = list(MemoryColor(Source("data", real_data)).samples())
    assert (len(samples), Counter(sample.target for sample in samples)["white"]) == (109, 25)
    pumpkin = next(sample for sample in samples if "pumpkin" in sample.prompt.text())
    assert (pumpkin.prompt, pumpkin.target) == (Prompt("The color of a pumpkin is?"), "red")
