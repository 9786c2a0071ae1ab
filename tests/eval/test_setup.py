from dataclasses import dataclass
from typing import Literal

import pytest

from kosmos_eval import Completion, Generate, Prompt, Sample, Score, Source, Task, evaluate, register
from kosmos_eval.errors import KosmosEvalError, PlugInError, UnknownName
from kosmos_eval.evaluation.run_config import RunConfig
from kosmos_eval.evaluation.setup import default_folder, load_model, load_task, load_tasks
from kosmos_eval.registry import MODELS, TASKS


@pytest.fixture(autouse=True)
def optional():
    @register("optional")
    @dataclass(frozen=True)
    class Optional(Task):
        """A task with options."""

        source: Source = Source()
        rule: Literal["sum", "mean"] = "sum"
        count: int = 3
        exact: bool = True
        scale: float = 1.0
        name: str | None = None

        def samples(self):
            return []

        examples = samples

        def requests(self, sample, shots):
            return []

        def score(self, sample, outputs):
            return Score()

    yield Optional
    del TASKS["optional"]


def test_options_are_read_as_json_where_they_parse():
    options = ["optional.rule=mean", "optional.count=5", "optional.exact=false", "optional.name=x", "optional.scale=2"]
    task = load_tasks(["optional"], Source(), options=options)["optional"]
    assert (task.rule, task.count, task.exact, task.name, task.scale) == ("mean", 5, False, "x", 2)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"rule": "maybe"}, "option of optional 'rule' is 'maybe'; expected one of 'sum', 'mean'"),
        ({"count": "x"}, "option of optional 'count' is 'x'; expected int"),
        ({"count": True}, "option of optional 'count' is True; expected int"),
        ({"exact": 1}, "option of optional 'exact' is 1; expected bool"),
        ({"name": 7}, "option of optional 'name' is 7; expected str | None"),
    ],
)
def test_a_value_of_the_wrong_type_says_what_was_expected(option, message):
    with pytest.raises(KosmosEvalError) as error:
        load_task("optional", Source(), option)
    assert str(error.value) == message


def test_an_unknown_option_is_refused_and_source_is_none():
    with pytest.raises(UnknownName, match="no option of optional is called 'rul'; did you mean 'rule'"):
        load_task("optional", Source(), {"rul": "sum"})
    with pytest.raises(UnknownName):
        load_task("optional", Source(), {"source": "x"})


def test_a_task_that_takes_no_source_is_one_line():
    register("bare")(type("Bare", (), {}))
    try:
        with pytest.raises(PlugInError, match="task 'bare' takes no source; give it a field: source: Source"):
            load_task("bare", Source())
    finally:
        del TASKS["bare"]


def test_a_split_is_for_all_or_by_task():
    for splits in ("val", "optional=val"):
        assert load_tasks(["optional"], Source(), splits=splits)["optional"].source.split == "val"
    with pytest.raises(UnknownName, match="no evaluated task is called 'other'"):
        load_tasks(["optional"], Source(), splits="other=val")


def test_the_default_folder_follows_the_options():
    def folder(seed):
        return default_folder(RunConfig(seed=seed), "hf:a/b")

    assert folder(0) == folder(0) != folder(1)
    assert folder(0).parts[:2] == ("results", "runs") and folder(0).name.startswith("hf-a-b-")


def test_a_configuration_tells_generated_samples_from_official_ones():
    sources = {"drawn": {"source": {"kind": "synthetic"}}, "official": {"source": {"kind": "data"}}, "own": {}}
    assert RunConfig(tasks=sources).synthetic == ("drawn",)


@dataclass(frozen=True)
class Bare:
    """A task whose author left the base class out."""

    source: Source = Source()
    word: str = "yes"

    def samples(self):
        return [Sample("1", Prompt("?"), self.word)]

    def examples(self):
        return []

    def requests(self, sample, shots):
        return [Generate(sample.prompt)]

    def score(self, sample, outputs):
        return Score({"accuracy": float(outputs[0].text == sample.target)})


@dataclass
class Parrot:
    """A model whose author left the base class out."""

    name: str = "parrot"
    fingerprint: str = "0"

    def fits(self, request):
        return True

    def answers(self, requests):
        return ((index, Completion("yes")) for index in range(len(requests)))


def test_a_registered_class_without_its_base_class_gets_the_defaults(monkeypatch):
    monkeypatch.setitem(TASKS, "bare", Bare)
    monkeypatch.setitem(MODELS, "parrot", Parrot)
    task = load_task("bare", Source(), {"word": "yes"})
    assert isinstance(task, Task) and task == load_task("bare", Source()) and task.options()["word"] == "yes"
    report = evaluate(load_model("parrot"), {"bare": task})
    assert report.score("bare") == 100
    monkeypatch.setitem(TASKS, "bare", type("Half", (), {"source": Source(), "samples": Bare.samples}))
    with pytest.raises(PlugInError, match="takes no source"):
        load_task("bare", Source())
