"""New words: demonstrations of each name, prompts, ties, and what cannot be asked for."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kosmos_eval.errors import BadData, KosmosEvalError, UnknownName
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.sample import Sample
from kosmos_eval.source import Source
from kosmos_eval.task import means
from kosmos_tasks.families import splits
from kosmos_tasks.new_words import NewWords


def episode() -> Sample:
    shown = [(Image(f"{place}.png"), name) for place, name in enumerate(("bakvop", "nizgud", "nizgud", "bakvop"))]
    choices = ("bakvop", "nizgud")
    return Sample("e", Prompt(Image("q.png")), "nizgud", (), choices, "e", extra={"demonstrations": shown})


def likelihoods(*logprobs: float, tokens: tuple[int, ...] = (1, 1)) -> Likelihoods:
    return Likelihoods(logprobs, tokens, (False,) * len(logprobs))


def test_the_zero_shot_prompt_holds_no_name() -> None:
    (request,) = NewWords().requests(episode(), [])
    assert request == LogLikelihood(Prompt(Image("q.png")), (" bakvop", " nizgud"))


def test_one_shot_is_a_demonstration_of_each_name() -> None:
    task, sample = NewWords(), episode()
    (request,) = task.requests(sample, task.choose_shots(sample, 1))
    assert request.prompt == Prompt(Image("0.png"), " bakvop\n", Image("1.png"), " nizgud\n", Image("q.png"))


def test_another_wording_says_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NewWords.splits.sizes, "test", 1)
    monkeypatch.setattr(splits, "_rows", splits._rows.__wrapped__)
    task = NewWords(prompt="sentence")
    (sample,) = task.samples()
    (request,) = task.requests(sample, task.choose_shots(sample, 1))
    first, second = task.choose_shots(sample, 1)
    told = f"<image>This is a {first.target}\n<image>This is a {second.target}\n<image>This is a"
    assert request.prompt.text() == told


def test_fewer_shots_are_the_first_of_more() -> None:
    task, sample = NewWords(), episode()
    assert [shot.id for shot in task.choose_shots(sample, 2)] == ["e/0", "e/1", "e/2", "e/3"]
    assert list(task.choose_shots(sample, 2))[:2] == task.choose_shots(sample, 1)
    assert list(task.choose_shots(sample, 0)) == []


def test_more_shots_than_an_episode_has_are_refused() -> None:
    with pytest.raises(KosmosEvalError, match="an episode shows each name 2 times, not 3; lower --shots"):
        NewWords().choose_shots(episode(), 3)


def test_the_likeliest_name_counts_and_ties_share() -> None:
    task, sample = NewWords(), episode()
    assert task.score(sample, [likelihoods(-2, -1)]).values == {"accuracy": 1.0}
    lost = task.score(sample, [likelihoods(-1, -2)])
    assert (lost.values, lost.answer) == ({"accuracy": 0.0}, "bakvop")
    assert task.score(sample, [likelihoods(-1, -1)]).values == {"accuracy": 0.5}


def test_a_rule_weighs_the_number_of_tokens() -> None:
    output = likelihoods(-2, -3, tokens=(1, 3))
    assert NewWords().score(episode(), [output]).answer == "bakvop"
    assert NewWords(rule="mean per token").score(episode(), [output]).answer == "nizgud"


@pytest.mark.parametrize("ways", [2, 3])
def test_every_generated_episode_names_its_query_in_its_demonstrations(
    ways: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NewWords.splits.sizes, "test", 12)
    monkeypatch.setattr(splits, "_rows", splits._rows.__wrapped__)
    task = NewWords(ways=ways)
    samples = task.samples()
    assert len(samples) == 12
    for sample in samples:
        assert len(sample.choices) == ways
        shots = task.choose_shots(sample, 2)
        assert Counter(shot.target for shot in shots) == dict.fromkeys(sample.choices, 2)
        assert sample.target in sample.choices
        images = [image for shot in [*shots, sample] for image in shot.prompt.images]
        assert len(set(images)) == len(images), "no picture stands twice"
        assert images[0].pixels().size == (96, 96)


def test_chance_is_one_in_the_number_of_ways() -> None:
    score = NewWords().score(episode(), [likelihoods(-1, -1)])
    assert means([episode()], [score])["accuracy"].chance == 0.5


@pytest.mark.parametrize("ways", [1, 11])
def test_an_impossible_number_of_ways_is_refused(ways: int) -> None:
    with pytest.raises(KosmosEvalError, match=f"{ways} ways are asked for; expected 2 to 10"):
        NewWords(ways=ways)


@pytest.mark.parametrize("kind", ["data", "hub"])
def test_there_are_no_official_files(tmp_path: Path, kind: Any) -> None:
    with pytest.raises(BadData, match=f"new_words is generated and has no --{kind} source; run it without"):
        NewWords(Source(kind, tmp_path)).samples()


def test_an_unknown_split_lists_what_there_is() -> None:
    with pytest.raises(UnknownName, match="no split of new_words is called 'dev'; there are: test, train"):
        NewWords(Source(split="dev")).samples()
