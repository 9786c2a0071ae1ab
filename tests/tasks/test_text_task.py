"""Tasks made of rows: their options survive a run's file, they say what they are, the rule is the user's."""

from kosmos_eval.build import build_task, task_options
from kosmos_eval.registry import named
from kosmos_eval.request import Likelihoods
from kosmos_eval.source import Source
from kosmos_eval.task import about


def test_options_are_the_source_and_the_rule_and_make_the_task_again() -> None:
    task = build_task("copa", Source(), {"rule": "mean per token"})
    given = task_options(task)
    assert given == {"source": {"kind": "mini", "root": None, "split": None, "revision": None}, "rule": task.rule}
    assert build_task("copa", Source(**given.pop("source")), given) == task


def test_a_task_says_what_it_is_and_what_its_headline_is_called() -> None:
    headlines = {name: about(named("task", name)).metric for name in ("piqa", "copa", "memory_color")}
    assert headlines == {"piqa": "acc_norm", "copa": "acc", "memory_color": "accuracy"}
    assert str(named("task", "piqa").__doc__).splitlines()[0] == "Which of two ways reaches a goal."


def test_the_users_rule_gives_the_first_mark() -> None:
    task = build_task("piqa", Source(), {"rule": "mean per token"})
    sample = task.samples()[0]
    marks = task.score(sample, [Likelihoods((-4.0, -4.0), (4, 2), (False, False))]).marks
    assert list(marks) == ["acc_per_token", "acc_norm", "acc"]
    assert marks["acc_per_token"] == float(sample.target == sample.choices[0])
    assert "by mean per token of log-probabilities" in task.notes
