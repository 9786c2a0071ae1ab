"""RelativeSize: both orders, the paper's one apart, and what can be wrong."""

from pathlib import Path

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.fewshot.selection import random_shots
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_eval.task import means
from kosmos_tasks.relative_size import RelativeSize


def at(root: Path, text: str = "bus apple\ncow hen\n") -> RelativeSize:
    (root / "sizePairsFull.txt").write_text(text)
    return RelativeSize(Source("data", root))


def test_the_zero_shot_prompt_is_the_papers_in_both_orders(tmp_path: Path) -> None:
    task = at(tmp_path)
    first, second, *_ = task.samples()
    assert task.requests(first, []) == [LogLikelihood(Prompt("Is bus larger than apple?"), (" Yes", " No"))]
    assert task.requests(second, []) == [LogLikelihood(Prompt("Is apple larger than bus?"), (" Yes", " No"))]
    assert [sample.target for sample in (first, second)] == ["Yes", "No"]


def test_the_one_shot_prompt_shows_another_pair_above(tmp_path: Path) -> None:
    task = at(tmp_path)
    sample = task.samples()[0]
    (shot,) = random_shots(sample, task.examples(), 1, seed=0, task="relative_size")
    (request,) = task.requests(sample, [shot])
    assert shot.prompt in (Prompt("Is cow larger than hen?"), Prompt("Is hen larger than cow?"))
    assert request.prompt == Prompt(shot.prompt, f" {shot.target}\n", sample.prompt)


def test_who_always_says_yes_is_at_chance_and_at_the_top_of_the_papers_row(tmp_path: Path) -> None:
    task = at(tmp_path)
    samples = task.samples()
    yes = Likelihoods((-1.0, -2.0), (1, 1), (True, False))
    found = means(samples, [task.score(sample, [yes]) for sample in samples])
    assert {name: metric.value for name, metric in found.items()} == {
        "accuracy": 0.5,
        "accuracy[larger first]": 1.0,
        "accuracy[smaller first]": 0.0,
    }
    assert found["accuracy"].chance == 0.5


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"line 2 of .*sizePairsFull\.txt is 'one two three'; expected two things"):
        at(tmp_path, "bus apple\none two three\n").samples()


def test_no_generated_pair_is_on_both_sides() -> None:
    task = RelativeSize()
    assert len(task.samples()) > 10
    assert {sample.group for sample in task.samples()}.isdisjoint(shot.group for shot in task.examples())


def test_real_pairs_load_in_both_orders(real_data: Path) -> None:
    samples = list(RelativeSize(Source("data", real_data)).samples())
    assert len(samples) == 2 * 486
    assert len({sample.group for sample in samples}) == 486
    assert samples[0].prompt == Prompt("Is aeroplane larger than apple?")
