"""Rendered SST-2 by chain of thought: the paper's two prompts, its scores, and every task's rationale by an option."""

import pytest

from kosmos_eval.evaluation.setup import load_task
from kosmos_eval.models.scripted import load
from kosmos_eval.prompt import Prompt
from kosmos_eval.registry import named
from kosmos_eval.request import Completion, Generate, Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_eval.task import info
from kosmos_tasks.families.suites import KOSMOS1, SYNTHETIC
from kosmos_tasks.rendered_sst2_cot import RenderedSST2CoT

QUESTION = "Question: what is the sentiment of the opinion? Answer:"


def test_the_zero_shot_prompts_are_the_papers() -> None:
    task = RenderedSST2CoT()
    sample = task.samples()[0]
    (shown,) = sample.prompt.images
    assert task.requests(sample, []) == [Generate(Prompt(shown, "Introduce this picture in detail:"), 128)]
    assert task.follow_up(sample, [], [Completion(" It says good.")]) == [
        LogLikelihood(Prompt(shown, f"It says good. {QUESTION}"), (" negative", " positive"))
    ]


def test_the_one_shot_prompt_shows_an_answer_without_a_rationale() -> None:
    task = RenderedSST2CoT()
    sample, shot = task.samples()[0], task.examples()[0]
    assert task.requests(sample, [shot]) == task.requests(sample, [])
    (request,) = task.follow_up(sample, [shot], [Completion("It says good.")])
    assert request.prompt == Prompt(shot.shown, "\n", sample.prompt.images[0], f"It says good. {QUESTION}")


def test_the_answer_after_the_rationale_is_marked() -> None:
    task = RenderedSST2CoT()
    sample = next(sample for sample in task.samples() if sample.target == "positive")
    outputs = [Completion("It says good."), Likelihoods((-2.0, -1.0), (1, 1), (False, True))]
    score = task.score(sample, outputs)
    assert (dict(score.values), score.answer, score.record["rationale"]) == (
        {"accuracy": 1.0},
        "positive",
        "It says good.",
    )


def test_it_is_a_task_of_the_paper_with_a_headline_and_options_of_its_own() -> None:
    said = info(named("task", "rendered_sst2_cot"))
    assert (said.metric, said.suites, said.hub) == ("accuracy", (KOSMOS1, SYNTHETIC), "nateraw/rendered-sst2")
    task = load_task("rendered_sst2_cot", Source(), {"rule": "mean per token", "rationale": "Read it:"})
    (request,) = task.requests(task.samples()[0], [])
    assert request.prompt.text() == "<image>Read it:"
    assert "after 'Read it:'" in task.notes


@pytest.mark.parametrize("name", ["cub_descriptions", "hateful_memes", "websrc", "boolq", "memory_color", "winograd"])
def test_any_task_can_be_given_a_rationale(name: str) -> None:
    task = load_task(name, Source(), {"rationale": "Look:"})
    sample, model = task.samples()[0], load("so")
    outputs = [output for _, output in model.answers(task.requests(sample, []))]
    requests = task.follow_up(sample, [], outputs)
    assert any("so" in request.prompt.text() for request in requests)
    outputs += [output for _, output in model.answers(requests)]
    assert not task.follow_up(sample, [], outputs)
    assert task.score(sample, outputs).record["rationale"] == "so"
