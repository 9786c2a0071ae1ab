from dataclasses import dataclass, replace

import pytest

from kosmos_eval import Completion, Likelihoods, LogLikelihood, Prompt, Sample, Score
from kosmos_eval.analysis.saved_run import open_run
from kosmos_eval.evaluation.evaluator import evaluate
from kosmos_eval.evaluation.results import Row
from kosmos_eval.model import Model
from kosmos_eval.report.calibration import FEWEST, confidence, reliability
from kosmos_eval.report.charts import At, curve
from kosmos_eval.report.html import curves
from kosmos_eval.report.layout import breakdowns, groups, spreads, table_rows
from kosmos_eval.task import Task


def row(variant="", score=50.0, shots=0, metric="accuracy", **rest):
    given = {"unit": "%", "n": 9, "failed": 0, "chance": None, "p_value": None, "effective_shots": shots, "note": ""}
    return Row("t", shots, metric, score, score - 5, score + 5, **given | {"variant": variant} | rest)


def test_a_line_is_the_usual_way_with_the_blind_score_beside_it():
    found = groups([row(score=60.0), row(metric="other"), row("images=blank", 30.0), row("prompt=short", 55.0)])
    (line,) = table_rows(found)
    assert (line.group.head.score, line.blind.score, len(line.group.others)) == (60.0, 30.0, 1)


def test_a_run_of_blind_rows_alone_shows_them_as_they_are():
    (line,) = table_rows(groups([row("images=shuffled", 30.0)]))
    assert line.group.head.variant == "images=shuffled" and line.blind is None


def test_kinds_of_other_ways_do_not_mix_with_the_usual_ones():
    rows = [row(), row(metric="accuracy[a]"), row("images=blank"), row("images=blank", metric="accuracy[a]", score=1.0)]
    (split,) = breakdowns(table_rows(groups(rows)))["t"]
    assert [(name, kind.score) for name, kind in split.kinds] == [("a", 50.0)]


def test_prompts_and_draws_spread_apart_from_each_other_and_from_blind_ones():
    rows = [row(score=50.0, shots=2), *(row(f"seed={n}", 50.0 + 3 * n, 2) for n in (1, 2))]
    rows += [row("prompt=short", 44.0, 2), row("images=blank,seed=1", 1.0, 2), row("seeds=3", 53.0, 2)]
    prompts, draws = spreads(groups(rows))
    assert (prompts.over, prompts.names, prompts.mean) == ("prompts", ("default", "prompt short"), 47.0)
    assert (draws.mean, draws.deviation, draws.best.score, draws.worst.score) == (53.0, 3.0, 56.0, 50.0)


def test_a_curve_goes_through_the_mean_of_draws_and_its_band_is_their_spread():
    found = groups([row(shots=0, score=40.0), row(shots=4, score=60.0), row("seed=1", 70.0, 4)])
    (drawn,) = curves(found, table_rows(found))
    band, draws, line, _ = drawn.series
    few, many = line.points
    assert drawn.drawn_again and "65.00 %, mean of 2 draws from 60.00 % to 70.00 %, 95 % interval 60.00 –" in many.title
    assert few.title == "0 shots: 40.00 %, 95 % interval 35.00 – 45.00 %, n = 9"
    worst, best = (point.y for point in draws.points)
    assert [point.y for point in band.points] == [few.y, best, worst, few.y]


def test_the_blind_curve_is_drawn_on_the_same_scale():
    blind = row("images=blank", 20.0)
    drawn = curve([At(row(), blind), At(row(shots=4), replace(blind, shots=4, score=float("nan")))])
    *_, line, blind = drawn.series
    assert blind.points[0].y > line.points[0].low and blind.line.count(",") == 1


CHOICES = ("red", "blue")


def test_confidence_is_the_probability_of_the_choice_among_the_candidates():
    sample = Sample("s", Prompt("?"), "red", choices=CHOICES)
    one = Likelihoods((-1.0, -2.0), (1, 1), (True, False))
    sure = 1 / (1 + 2.718281828459045**-1)
    assert confidence(sample, [one], "red") == pytest.approx(sure)
    assert confidence(sample, [one], "blue") == pytest.approx(1 - sure)
    each = [Likelihoods((-1.0,), (1,), (True,)), Likelihoods((-2.0,), (1,), (False,))]
    assert confidence(sample, each, "red") == pytest.approx(sure)
    assert confidence(sample, [Likelihoods((-1.0, -1.0), (1, 1), (True, True))], "red=blue") == 0.5
    assert confidence(sample, [Completion("red")], "red") is None
    assert confidence(sample, [one], "green") is None
    assert confidence(replace(sample, choices=("red",)), [Likelihoods((-1.0,), (1,), (True,))], "red") is None


@dataclass(frozen=True)
class Coins(Task):
    """Red or blue, by a model that is 3/4 sure of red."""

    count: int

    def samples(self):
        return [Sample(str(n), Prompt("?"), CHOICES[n % 2], choices=CHOICES) for n in range(self.count)]

    def examples(self):
        return []

    def requests(self, sample, shots):
        return [LogLikelihood(sample.prompt, CHOICES)]

    def score(self, sample, outputs):
        return Score({"accuracy": float(sample.target == "red")}, "red")


@dataclass(frozen=True)
class Sure(Model):
    name: str = "sure"
    fingerprint: str = "1"

    def fits(self, request):
        return True

    def answers(self, requests):
        return ((n, Likelihoods((0.0, -(3**0.5)), (1, 1), (True, False))) for n in range(len(requests)))


def calibrated(count, folder):
    evaluate(Sure(), {"coins": Coins(count)}, out=folder)
    (setting,) = open_run(folder).settings
    return reliability(setting)


def test_a_setting_of_choices_is_calibrated_and_one_of_few_samples_is_not(tmp_path):
    found = calibrated(40, tmp_path / "many")
    sure = 1 / (1 + 2.718281828459045 ** -(3**0.5))
    assert found.chart.title == "coins, 0 shots" and found.found.error == pytest.approx(sure - 0.5)
    ((point,),) = (series.points for series in found.chart.series)
    assert (point.y, found.found.bins[0].accuracy.n, point.radius) == (100, 40, 8)
    assert point.low > point.y > point.high and point.x == pytest.approx(30 + 140 * sure)
    assert calibrated(FEWEST - 1, tmp_path / "few") is None
