import json
from dataclasses import dataclass
from math import inf, nan

import numpy as np
import pytest

from kosmos_eval import (
    Generate,
    Image,
    Likelihoods,
    LogLikelihood,
    Prompt,
    Sample,
    Samples,
    Score,
    evaluate,
    few_shot,
    report,
)
from kosmos_eval.analysis.compare import compare
from kosmos_eval.analysis.export import export
from kosmos_eval.analysis.leaderboard import update
from kosmos_eval.errors import BadData, KosmosEvalError, PlugInError, RunError
from kosmos_eval.evaluation.evaluator import build_requests
from kosmos_eval.evaluation.plan import plan
from kosmos_eval.evaluation.setup import load_task
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.registry import TASKS
from kosmos_eval.source import Source
from kosmos_eval.task import Task
from tests.fixtures.tasks import Calculator, Doubles, asked


def test_a_right_model_scores_all_and_a_report_finds_it():
    report = evaluate(Calculator(), {"doubles": Doubles()}, shots=(0, 2))
    assert report.score("doubles") == 100
    assert [(row.shots, row.n, row.failed, row.effective_shots) for row in report.rows] == [
        (0, 20, 0, 0),
        (2, 20, 0, 2),
    ]
    assert report.rows[0].low == pytest.approx(83.89, abs=0.01)  # Wilson, 20 of 20


def test_demonstrations_stand_before_the_question_with_their_answers():
    model = Calculator()
    evaluate(model, {"doubles": Doubles(1)}, shots=(1,))
    first, second = model.asked[0].split("\n")
    assert second == "2*0="
    question, answer = first.split("= ")
    assert int(answer) == 2 * int(question[2:])


def test_limit_does_not_change_the_prompts():
    every, few = Calculator(), Calculator()
    evaluate(every, {"doubles": Doubles()}, shots=(3,))
    evaluate(few, {"doubles": Doubles()}, shots=(3,), limit=5)
    assert len(few.asked) == 5
    assert set(few.asked) <= set(every.asked)


def test_growing_limits_are_nested():
    def ids(limit):
        return {s.id for s in plan({"d": Doubles()}, limit=limit, seed=1)[0].samples}

    assert ids(3) < ids(7) < ids(19) < ids(20) == ids(99)


def test_the_order_of_samples_changes_no_prompt():
    @dataclass(frozen=True)
    class Backwards(Doubles):
        def samples(self):
            return super().samples()[::-1]

    one, other = Calculator(), Calculator()
    evaluate(one, {"doubles": Doubles()}, shots=(2,))
    evaluate(other, {"doubles": Backwards()}, shots=(2,))
    assert sorted(one.asked) == sorted(other.asked)


def test_a_failure_is_counted_apart_and_never_scored():
    report = evaluate(Calculator(failing=("2*3=", "2*4=")), {"doubles": Doubles()})
    (row,) = report.rows
    assert (row.score, row.n, row.failed, report.failed) == (100, 18, 2, 2)


def test_a_task_whose_samples_all_fail_has_a_row_without_a_score():
    (row,) = evaluate(Calculator(failing=("2*0=",)), {"doubles": Doubles(1)}).rows
    assert row.score != row.score
    assert (row.n, row.failed) == (0, 1)


def test_an_image_that_does_not_exist_fails_its_sample_alone():
    @dataclass(frozen=True)
    class WithHole(Doubles):
        def samples(self):
            return [*super().samples(), Sample("hole", Prompt(Image("nowhere.png"), "2*1="), "2")]

    run, report = asked(Calculator(), {"doubles": WithHole()})
    assert (report.rows[0].n, report.failed) == (20, 1)
    assert "nowhere.png" in str(run.record(SettingKey("doubles"), "hole").error)


def test_whole_demonstrations_are_dropped_when_the_prompt_is_too_long_and_reported():
    model = Calculator(context=20)  # two lines such as '2*104= 208' fit beside the question, no more
    report = evaluate(model, {"doubles": Doubles()}, shots=(4,))
    assert report.rows[0].effective_shots == 1
    assert all(len(text) <= 20 and text.count("\n") == 1 for text in model.asked)


def test_a_prompt_that_never_fits_fails():
    report = evaluate(Calculator(context=3), {"doubles": Doubles(2)})
    assert report.failed == 2


def test_more_shots_than_demonstrations_stop_before_anything_is_asked():
    model = Calculator()
    with pytest.raises(KosmosEvalError, match="doubles: 11 shots are asked for, but there are only 10 demonstrations"):
        evaluate(model, {"doubles": Doubles()}, shots=(0, 11))
    assert not model.asked


def test_more_shots_than_a_task_draws_itself_stop_before_anything_is_asked():
    @dataclass(frozen=True)
    class Own(Doubles):
        def choose_shots(self, sample, count):
            raise KosmosEvalError(f"only 3 rounds, not {count}")

    model = Calculator()
    with pytest.raises(KosmosEvalError, match="only 3 rounds, not 4"):
        evaluate(model, {"own": Own()}, shots=(0, 4))
    assert not model.asked


def test_leave_one_out_is_reported_and_never_shows_the_question():
    @dataclass(frozen=True)
    class OneSplit(Doubles):
        def examples(self):
            return self.samples()

    model = Calculator()
    report = evaluate(model, {"doubles": OneSplit()}, shots=(19,))
    assert report.rows[0].note == "demonstrations from the evaluated split, the item itself left out"
    for text in model.asked:
        *shown, question = text.split("\n")
        assert not any(line.startswith(question) for line in shown)


def test_stages_see_earlier_answers_and_all_outputs_are_scored():
    @dataclass(frozen=True)
    class Twice(Doubles):
        def follow_up(self, sample, shots, outputs):
            return [Generate(Prompt(f"2*{outputs[-1].text}="))] if len(outputs) < 3 else []

        def score(self, sample, outputs):
            return Score({"accuracy": float(int(outputs[2].text) == 4 * int(sample.target))})

    assert evaluate(Calculator(), {"doubles": Twice()}).score("doubles") == 100


def test_a_failure_in_a_stage_ends_the_sample():
    @dataclass(frozen=True)
    class Twice(Doubles):
        def follow_up(self, sample, shots, outputs):
            return [Generate(Prompt(f"2*{outputs[-1].text}="))] if len(outputs) < 2 else []

    report = evaluate(Calculator(failing=("2*4=",)), {"doubles": Twice(3)})
    assert report.failed == 1  # 2*2 is 4, and its second stage fails


def test_a_model_that_leaves_requests_unanswered_is_a_bug():
    class Lazy(Calculator):
        def answers(self, requests):
            return iter(())

    with pytest.raises(RuntimeError, match="left 20 of 20 requests unanswered"):
        evaluate(Lazy(), {"doubles": Doubles()})


def test_a_finished_sample_is_not_asked_twice_unless_its_prompt_changed():
    run, _ = asked(Calculator(failing=("2*3=",)), {"doubles": Doubles()})
    again = Calculator()
    _, report = asked(again, {"doubles": Doubles()}, run)
    assert again.asked == ["2*3="]
    assert (report.rows[0].n, report.failed) == (20, 0)


@pytest.mark.parametrize("value", [nan, inf, "0.5", None])
def test_a_value_that_is_no_finite_number_is_refused_and_never_averaged(value):
    class Wrong(Doubles):
        def score(self, sample, outputs):
            return Score({"accuracy": value})

    with pytest.raises(PlugInError, match=r"wrong, sample t0: the value 'accuracy' is .*; expected a finite number"):
        evaluate(Calculator(), {"wrong": Wrong(1)})


@pytest.mark.parametrize("value", [True, 1, np.float32(1), np.bool_(True)])
def test_a_value_may_be_any_kind_of_number(value, tmp_path):
    class Right(Doubles):
        def score(self, sample, outputs):
            return Score({"accuracy": value})

    assert evaluate(Calculator(), {"right": Right()}, out=tmp_path).score("right") == 100


def test_a_score_that_is_none_is_refused_not_counted_as_failed():
    class Forgetful(Doubles):
        def score(self, sample, outputs):
            Score({"accuracy": 1.0})

    with pytest.raises(PlugInError, match=r"forgetful, sample t19: score\(\) gave .None.; expected a kosmos"):
        evaluate(Calculator(), {"forgetful": Forgetful()})


def test_samples_whose_values_have_other_names_are_not_averaged():
    class Moody(Doubles):
        def score(self, sample, outputs):
            return Score({"f1" if sample.id == "t3" else "accuracy": 1.0})

    with pytest.raises(
        PlugInError, match=r"sample t3 has \['f1'\], sample t0 \['accuracy'\]; give every sample the same"
    ):
        evaluate(Calculator(), {"moody": Moody()})


def test_two_samples_of_one_name_are_refused_before_one_replaces_the_other():
    class Twins(Doubles):
        def samples(self):
            return [Sample("t", Prompt("2*1="), "2"), Sample("t", Prompt("2*2="), "4")]

    with pytest.raises(BadData, match="twins has two samples called 't'; expected ids of their own"):
        evaluate(Calculator(), {"twins": Twins()})


def test_a_task_without_samples_is_refused():
    with pytest.raises(BadData, match="doubles has no samples; is its split empty"):
        evaluate(Calculator(), {"doubles": Doubles(0)})


def test_a_task_that_asks_nothing_is_refused_not_counted_as_failed():
    class Silent(Doubles):
        def requests(self, sample, shots):
            return []

    with pytest.raises(PlugInError, match=r"silent asks nothing about sample t0; expected requests\(\) to give some"):
        evaluate(Calculator(), {"silent": Silent()})


def test_a_task_that_lacks_a_method_stops_before_anything_is_asked(monkeypatch):
    @dataclass(frozen=True)
    class Half(Task):
        source: Source = Source()

        def samples(self):
            return Doubles().samples()

    monkeypatch.setitem(TASKS, "half", Half)
    with pytest.raises(PlugInError, match=r"task 'half' .* examples.*; kosmos_eval/task.py says what a task has"):
        load_task("half", Source())
    with pytest.raises(PlugInError, match="task 'half' is a dict; expected"):
        evaluate(Calculator(), {"half": {}})


def test_samples_may_be_generated():
    class Lazy(Doubles):
        def samples(self):
            yield from super().samples()

    assert evaluate(Calculator(), {"lazy": Lazy()}, limit=5).rows[0].n == 5


def test_a_log_probability_that_is_no_number_fails_its_sample_alone():
    class Chosen(Doubles):
        def requests(self, sample, shots):
            return [LogLikelihood(sample.prompt, ("a", "b"))]

        def score(self, sample, outputs):
            return Score({"accuracy": float(outputs[0].logprobs[0] > outputs[0].logprobs[1])})

    class Overflowing(Calculator):
        def answers(self, requests):
            for index, _ in enumerate(requests):
                yield index, Likelihoods((nan if index == 1 else -1.0, -2.0), (1, 1), (True, False))

    run, report = asked(Overflowing(), {"chosen": Chosen()})
    (row,) = report.rows
    assert (row.score, row.n, row.failed) == (100, 19, 1)
    assert "a log-probability that is not a finite number" in run.record(SettingKey("chosen"), "t1").error


def test_the_digest_of_a_prompt_covers_decoding():
    @dataclass(frozen=True)
    class Beams(Doubles):
        def requests(self, sample, shots):
            return [Generate(few_shot(sample, shots), beams=5)]

    def digest(task):
        (setting,) = plan({"d": task})
        return build_requests(setting, setting.samples[0]).prompt

    assert digest(Doubles()) == digest(Doubles()) != digest(Beams())


def test_intervals_are_clustered_by_group():
    @dataclass(frozen=True)
    class Clustered(Doubles):
        def samples(self):
            return [
                Sample(f"t{i}", Prompt(f"2*{i}="), "0" if i < 10 else str(2 * i), group=str(i // 5)) for i in range(20)
            ]

    def width(task):
        row = evaluate(Calculator(), {"d": task}).rows[0]
        return row.high - row.low

    @dataclass(frozen=True)
    class Alone(Clustered):
        def samples(self):
            return [Sample(s.id, s.prompt, s.target) for s in super().samples()]

    assert width(Clustered()) > 1.5 * width(Alone())


def test_aggregation_draws_no_sample_again():
    drawn = []

    @dataclass(frozen=True)
    class Costly(Doubles):
        def samples(self):
            return Samples(range(20), lambda n: drawn.append(n) or Sample(f"t{n}", Prompt(f"2*{n}="), str(2 * n)))

    evaluate(Calculator(), {"doubles": Costly()})
    assert drawn == [0, *range(20)]  # the first one is also tried before anything is asked


def test_a_folder_that_the_library_leaves_is_read_by_everything_that_reads_runs(tmp_path):
    model, options = Calculator(failing=("2*3=",)), {"shots": (0, 2), "seed": 1}
    first = evaluate(model, {"doubles": Doubles()}, out=tmp_path / "first", **options)
    second = evaluate(Calculator(name="other"), {"doubles": Doubles()}, out=tmp_path / "second", **options)
    assert {"run.json", "samples.jsonl", "scores.csv"} <= {path.name for path in first.folder.iterdir()}
    saved = report.write(first.folder)
    assert saved.report.rows == first.rows and saved.manifest.finished and saved.config.kind == "live"
    page = (first.folder / "report.html").read_text()
    assert "overheated" in page and "Prompts and images are not shown." in page  # a task in memory is not found by name
    assert [(row.n, row.left_out) for row in compare(first.folder, second.folder).rows] == [(19, 1), (19, 1)]
    frame = update(tmp_path / "board.csv", [first.folder, second.folder])
    assert list(frame["status"]) == ["", "incomplete"] * 2 and set(frame["model"]) == {"calculator", "other"}
    (path,) = export(second.folder, "json")
    assert [row["score"] for row in json.loads(path.read_text())["scores"]] == [100, 100]


def test_a_run_of_the_library_resumes_and_another_configuration_is_refused(tmp_path):
    evaluate(Calculator(failing=("2*3=",)), {"doubles": Doubles()}, out=tmp_path)
    again = Calculator()
    assert evaluate(again, {"doubles": Doubles()}, out=tmp_path).rows[0].n == 20
    assert again.asked == ["2*3="]
    for other, options in ((Doubles(3), {}), (Doubles(), {"seed": 1})):
        with pytest.raises(RunError, match="holds a run with other options"):
            evaluate(again, {"doubles": other}, out=tmp_path, **options)
    assert evaluate(again, {"doubles": Doubles(3)}, out=tmp_path, overwrite=True).rows[0].n == 3
