"""A rationale before the answer: where it stands in every form of prompt, what is kept, and options that round-trip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from kosmos_eval.errors import KosmosEvalError, UnknownName
from kosmos_eval.evaluation.chain_of_thought import INTRODUCE, ChainOfThought, ReasonedTask
from kosmos_eval.evaluation.evaluator import evaluate, evaluate_settings
from kosmos_eval.evaluation.plan import plan
from kosmos_eval.evaluation.run_folder import RunFolder
from kosmos_eval.evaluation.setup import load_task
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.model import Model
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.registry import TASKS
from kosmos_eval.request import Completion, Generate, Likelihoods, LogLikelihood, Request
from kosmos_eval.sample import Sample
from kosmos_eval.source import Source
from kosmos_eval.task import Score, Task, TaskInfo, info

PICTURE, OTHER = Image(b"a"), Image(b"b")
ASKED = Sample("1", Prompt(PICTURE, "Question: what? Answer:"), "x")
SHOWN = Sample("2", Prompt(OTHER, "Question: what? Answer:"), "y")
TEXT = Sample("3", Prompt("Is it so?"), "yes")


@dataclass(frozen=True)
class Plain(Task):
    """Asks what a sample says."""

    source: Source = field(default_factory=Source)
    loud: bool = False

    info = TaskInfo(metric="right")

    def samples(self) -> Sequence[Sample]:
        return [TEXT]

    def examples(self) -> Sequence[Sample]:
        return []

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        return [LogLikelihood(few_shot(sample, shots), (" x", " yes"))]

    def score(self, sample: Sample, outputs: Sequence[Likelihoods]) -> Score:
        return Score({"right": float(len(outputs))}, "x", {"own": 1})

    def aggregate(self, samples: Sequence[Sample], scores: Sequence[Score], *, seed: int) -> Mapping[str, Metric]:
        return {"right": Metric(scores[0].values["right"], None, None, 1)} if scores else {}


@dataclass(frozen=True)
class InContext(Plain):
    """Asks for the same ending in two contexts."""

    contexts: tuple[Prompt, ...] = ()

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        return [LogLikelihood(Prompt(context), (" end",)) for context in self.contexts]


@dataclass(frozen=True)
class Talk(Plain):
    """Says one turn after the other, each after those before with their answers."""

    turns: tuple[Prompt, ...] = ()

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        return self.follow_up(sample, shots, ())

    def follow_up(self, sample: Sample, shots: Sequence[Sample], outputs: Sequence[Completion]) -> Sequence[Request]:
        if len(outputs) == len(self.turns):
            return ()
        said = [Prompt(turn, f" {output.text}\n") for turn, output in zip(self.turns, outputs, strict=False)]
        return [Generate(Prompt.join([*(shot.shown for shot in shots), Prompt(*said, self.turns[len(said)])]), 5)]


def second(task: Any, sample: Sample, shots: Sequence[Sample] = (), said: str = " It is\na cat. ") -> list[Prompt]:
    reasoned = ChainOfThought(task)
    return [request.prompt for request in reasoned.follow_up(sample, shots, [Completion(said)])]


def test_first_the_pictures_are_introduced() -> None:
    assert ChainOfThought(Plain()).requests(ASKED, [SHOWN]) == [Generate(Prompt(PICTURE, INTRODUCE), 128)]
    (request,) = ChainOfThought(Plain(), "Why?", 7).requests(TEXT, [])
    assert request == Generate(Prompt("Is it so? Why?"), 7)


def test_then_the_rationale_stands_between_the_picture_and_the_question() -> None:
    assert second(Plain(), ASKED) == [Prompt(PICTURE, "It is a cat. Question: what? Answer:")]
    shown = Prompt(OTHER, "Question: what? Answer: y\n", PICTURE)
    assert second(Plain(), ASKED, [SHOWN]) == [Prompt(shown, "It is a cat. Question: what? Answer:")]


def test_in_a_text_the_rationale_stands_before_the_question() -> None:
    shot = Sample("4", Prompt("Or so?"), "no")
    assert second(Plain(), TEXT, [shot]) == [Prompt("Or so? no\nIt is a cat. Is it so?")]


def test_an_empty_rationale_changes_nothing() -> None:
    assert second(Plain(), ASKED, said="  \n") == [ASKED.prompt]


def test_a_prompt_that_ends_with_a_picture_gets_the_rationale_after_it() -> None:
    assert second(Plain(), Sample("5", Prompt("This:", PICTURE))) == [Prompt("This:", PICTURE, "It is a cat.")]


def test_the_prompt_without_the_picture_that_a_rule_compares_with_stays() -> None:
    task = InContext(contexts=(ASKED.prompt, Prompt("Answer:")))
    assert second(task, ASKED) == [Prompt(PICTURE, "It is a cat. Question: what? Answer:"), Prompt("Answer:")]


def test_where_contexts_hold_the_choices_only_what_they_share_is_introduced() -> None:
    contexts = (Prompt("Al saw Bo. Al"), Prompt("Al saw Bo. Bo"))
    task, sample = InContext(contexts=contexts), Sample("6", Prompt("Al saw Bo. Bo"), "end")
    (request,) = ChainOfThought(task, "Why?").requests(sample, [])
    assert request.prompt == Prompt("Al saw Bo. Why?")
    assert second(task, sample) == [Prompt("It is a cat. Al saw Bo. Al"), Prompt("It is a cat. Al saw Bo. Bo")]


def test_the_values_are_the_tasks_and_the_rationale_is_kept() -> None:
    score = ChainOfThought(Plain()).score(ASKED, [Completion(" It is\na cat."), Likelihoods((-1.0,), (1,), (True,))])
    assert score == Score({"right": 1.0}, "x", {"own": 1, "rationale": "It is a cat."})


def test_what_a_task_offers_it_still_offers() -> None:
    reasoned = ChainOfThought(Plain())
    assert reasoned.choose_shots(reasoned.samples()[0], 1) is None
    assert info(reasoned).metric == "right"


@dataclass
class Speaker(Model):
    """Says the same of everything."""

    name: str = "speaker"
    fingerprint: str = "1"

    def fits(self, request: Request) -> bool:
        return True

    def answers(self, requests: Sequence[Request]) -> Any:
        for index, request in enumerate(requests):
            yield (
                index,
                Completion("so") if isinstance(request, Generate) else Likelihoods((0, -1), (1, 1), (True,) * 2),
            )


def test_both_stages_are_asked_in_a_run() -> None:
    report = evaluate(Speaker(), {"plain": ChainOfThought(Plain())})
    assert report.score("plain") == 100.0
    assert report.rows[0].note == f"after '{INTRODUCE}'"


def test_any_task_takes_a_rationale_as_an_option_and_run_json_makes_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "plain", Plain)
    task = load_task("plain", Source(), {"rationale": "Why?", "loud": True})
    assert task == ChainOfThought(Plain(loud=True), "Why?")
    given = task.options()
    assert {name: given[name] for name in ("loud", "rationale", "rationale_tokens")} == {
        "loud": True,
        "rationale": "Why?",
        "rationale_tokens": 128,
    }
    assert load_task("plain", Source(**given.pop("source")), given) == task
    with pytest.raises(UnknownName, match="no option of plain is called 'reason'"):
        load_task("plain", Source(), {"rationale": "Why?", "reason": 1})


@pytest.mark.parametrize("given", [{"rationale": " "}, {"rationale": "Why?", "rationale_tokens": 0}])
def test_a_rationale_that_is_not_asked_for_or_has_no_room_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(KosmosEvalError, match="expected words that ask for it, and at least 1 token"):
        ChainOfThought(Plain(), **given)


@dataclass(frozen=True)
class Twice(ReasonedTask):
    """Asks twice."""

    source: Source = Source()
    rationale: str = "Why?"
    rationale_tokens: int = 128
    task = Plain()

    info = TaskInfo(metric="other")


def test_a_task_may_have_a_rationale_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "twice", Twice)
    assert info(Twice).metric == "other"
    task = load_task("twice", Source(), {"rationale_tokens": 9})
    assert task == Twice(rationale_tokens=9)
    (request,) = task.requests(ASKED, [])
    assert (request.prompt, request.max_tokens) == (Prompt(PICTURE, "Why?"), 9)
    given = task.options()
    assert load_task("twice", Source(**given.pop("source")), given) == task


def told(*turns: Prompt, shots: Sequence[Sample] = (), rationale: str = "A cat.") -> list[Prompt]:
    """Every prompt of a talk, answered a1, a2, ..."""
    task, sample = ChainOfThought(Talk(turns=turns), "Why?"), Sample("7", Prompt.join(turns, separator="\n"))
    requests, outputs, prompts = task.requests(sample, shots), [Completion(rationale)], []
    while requests:
        prompts.append(requests[0].prompt)
        requests = task.follow_up(sample, shots, outputs)
        outputs.append(Completion(f"a{len(outputs)}"))
    return prompts


def test_a_rationale_about_a_picture_stays_where_it_is_in_every_later_turn() -> None:
    assert told(Prompt(PICTURE, "Q1"), Prompt("Q2"), Prompt("Q3")) == [
        Prompt(PICTURE, "Why?"),
        Prompt(PICTURE, "A cat. Q1"),
        Prompt(PICTURE, "A cat. Q1 a1\nQ2"),
        Prompt(PICTURE, "A cat. Q1 a1\nQ2 a2\nQ3"),
    ]


def test_a_rationale_about_a_text_stays_before_it_in_every_later_turn() -> None:
    shown = Sample("8", Prompt("S"), "s. ")
    assert told(Prompt("Q1"), Prompt("Q2")) == [Prompt("Q1 Why?"), Prompt("A cat. Q1"), Prompt("A cat. Q1 a1\nQ2")]
    assert told(Prompt("Q1"), Prompt("Q2"), shots=[shown])[1:] == [
        Prompt("S s. A cat. Q1"),
        Prompt("S s. A cat. Q1 a1\nQ2"),
    ]


def test_pictures_of_later_turns_are_not_introduced_and_do_not_move_the_rationale() -> None:
    assert told(Prompt(PICTURE, "Q1"), Prompt(OTHER, "Q2")) == [
        Prompt(PICTURE, "Why?"),
        Prompt(PICTURE, "A cat. Q1"),
        Prompt(PICTURE, "A cat. Q1 a1\n", OTHER, "Q2"),
    ]
    assert told(Prompt("Q1"), Prompt(OTHER, "Q2"), shots=[SHOWN]) == [
        Prompt("Q1 Why?"),
        Prompt(OTHER, "Question: what? Answer: yA cat. Q1"),
        Prompt(OTHER, "Question: what? Answer: yA cat. Q1 a1\n", OTHER, "Q2"),
    ]
    assert told(Prompt(PICTURE, OTHER), Prompt("Q2"))[1:] == [
        Prompt(PICTURE, OTHER, "A cat."),
        Prompt(PICTURE, OTHER, "A cat. a1\nQ2"),
    ]


@dataclass(frozen=True)
class BothOrders(Plain):
    """Asks one way round, then the other."""

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        return [LogLikelihood(few_shot(sample, shots), (" yes",))]

    def follow_up(self, sample: Sample, shots: Sequence[Sample], outputs: Sequence[Likelihoods]) -> Sequence[Request]:
        turned = replace(sample, prompt=Prompt("Is B larger than A?"))
        return [] if len(outputs) > 1 else self.requests(turned, shots)


def test_a_stage_with_a_prompt_of_its_own_has_the_rationale_too() -> None:
    task, sample = ChainOfThought(BothOrders()), Sample("9", Prompt("Is A larger than B?"))
    said, found = Completion("So."), Likelihoods((-1.0,), (1,), (True,))
    (first,) = task.follow_up(sample, [TEXT], [said])
    (turned,) = task.follow_up(sample, [TEXT], [said, found])
    assert first.prompt == Prompt("Is it so? yes\nSo. Is A larger than B?")
    assert turned.prompt == Prompt("Is it so? yes\nSo. Is B larger than A?")
    assert task.follow_up(sample, [TEXT], [said, found, found]) == []


def test_a_prompt_that_does_not_end_with_the_question_is_refused() -> None:
    @dataclass(frozen=True)
    class Reversed(Plain):
        def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
            return [LogLikelihood(Prompt(sample.prompt, *(shot.shown for shot in shots)), (" x",))]

    with pytest.raises(KosmosEvalError, match=r"a rationale has no place in 'Is it so.* without a rationale"):
        second(Reversed(), TEXT, [TEXT])


@dataclass
class Narrow(Speaker):
    """Reads so many characters."""

    room: int = 0

    def fits(self, request: Request) -> bool:
        return len(request.prompt.text()) <= self.room


@dataclass(frozen=True)
class Several(Plain):
    def examples(self) -> Sequence[Sample]:
        return [Sample(name, Prompt("Or so?"), "no") for name in "abc"]


@pytest.mark.parametrize(("room", "shown"), [(42, 3.0), (41, 2.0), (22, 1.0), (21, 0.0)])
def test_demonstrations_are_left_out_until_every_stage_fits(room: int, shown: float) -> None:
    # "Is it so? Why?" has 14 characters, "so Is it so?" 12, and every demonstration, "Or so? no" and a line break, 10.
    report = evaluate(Narrow(room=room), {"plain": ChainOfThought(Several(), "Why?")}, shots=[3])
    assert (report.rows[0].effective_shots, report.failed) == (shown, 0)


def test_a_later_stage_that_is_too_long_by_itself_fails_its_sample_and_is_not_scored() -> None:
    said = "so, as far as can be told from here,"

    @dataclass
    class Talkative(Narrow):
        def answers(self, requests: Sequence[Request]) -> Any:
            return ((index, Completion(said)) for index, _ in enumerate(requests))

    run, settings = RunFolder(), plan({"plain": ChainOfThought(Plain(), "Why?")})
    ((_, report),) = evaluate_settings(Talkative(room=40), settings, run)
    (record,) = run.of(SettingKey("plain"))
    assert (report.failed, record.score) == (1, None)
    assert record.error == "the prompt is longer than the model's context, even without demonstrations"
    assert record.outputs == (Completion(said),)
