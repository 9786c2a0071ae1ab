"""The named wordings of the tasks of the main job."""

from dataclasses import replace

import pytest

from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.evaluation.setup import load_task
from kosmos_eval.source import Source
from kosmos_tasks.raven_iq import RavenIQ

TASKS = {
    "coco_caption": ("An image of", "Caption:"),
    "vqav2": ("Question: what colour is the car? Answer:", "Q: what colour is the car? A:"),
    "rendered_sst2": ("Question: what is the sentiment of the opinion? Answer:", "Sentiment:"),
    "imagenet": ("The photo of the", "A photo of a"),
}


@pytest.mark.parametrize("name", [*TASKS, "raven_iq"])
def test_every_wording_asks_the_same_samples_in_other_words_and_the_papers_is_the_default(name):
    task = load_task(name, Source())
    assert next(iter(task.prompt_variants)) == task.prompt == "paper"
    assert len(task.prompt_variants) >= 3
    asked = {}
    for prompt in task.prompt_variants:
        worded = replace(task, prompt=prompt)
        sample, shot = worded.samples()[0], worded.examples()[0]
        assert sample.id == task.samples()[0].id
        requests = worded.requests(sample, [shot])
        assert [len(r.prompt.images) for r in requests] == [len(r.prompt.images) for r in task.requests(sample, [shot])]
        asked[prompt] = requests[0].prompt.text()
        assert "{" not in asked[prompt]
        assert asked[prompt].startswith(worded.requests(shot, [])[0].prompt.text() if name != "raven_iq" else "")
    assert len(set(asked.values())) == len(task.prompt_variants)


@pytest.mark.parametrize("name", TASKS)
def test_the_words_after_the_image_are_those_of_the_chosen_wording(name):
    task = load_task(name, Source())
    question = {"vqav2": "what colour is the car?"}.get(name, "")
    paper, short = (task.prompt_variants[prompt].format(question=question) for prompt in ("paper", "short"))
    assert (paper, short) == TASKS[name]
    (sample,) = replace(task, prompt="short").samples()[:1]
    assert sample.prompt.text().startswith("<image>" + short[:2])


def test_a_raven_puzzle_is_worded_around_its_images():
    task = RavenIQ(prompt="short")
    text = task.requests(task.samples()[0], [])[0].prompt.text()
    assert text.replace("<image>", "") == "Next:Correct?"
    assert text.endswith("Next:<image>Correct?")
    shown = task.examples()[0].prompt.text()
    assert shown.endswith("Next:<image>Correct?")


def test_an_unknown_wording_is_refused_by_name():
    with pytest.raises(KosmosEvalError, match="expected one of 'paper', 'short', 'instruction'"):
        load_task("vqav2", Source(), {"prompt": "shrot"})
