"""The image gain: the score minus the blind one, by pairs of the same sample."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import PIL.Image
import pytest

from kosmos_eval import Completion, Generate, Image, Metric, Prompt, Sample, Score
from kosmos_eval.evaluation.ablation import GREY
from kosmos_eval.evaluation.plan import plan
from kosmos_eval.evaluation.run_folder import RunFolder
from kosmos_eval.evaluation.scores import metrics_file, sample_values
from kosmos_eval.evaluation.variant import SettingKey, Variant, Variants
from kosmos_eval.model import Model
from kosmos_eval.request import Failure
from kosmos_eval.task import Task, TaskInfo
from tests.fixtures.tasks import asked


@dataclass(frozen=True)
class Looks(Task):
    """So many questions; a model is right about those that it is told to be right about."""

    count: int = 20
    per_picture: int = 1
    info: ClassVar[TaskInfo] = TaskInfo(metric="hit")

    def samples(self):
        return [self.sample(number) for number in range(self.count)]

    def examples(self):
        return [self.sample(number) for number in range(50, 60)]

    def sample(self, number):
        picture = Image.drawn(PIL.Image.new("RGB", (2, 2), (number // self.per_picture, 0, 0)))
        return Sample(str(number), Prompt(picture, str(number)), group=str(number // self.per_picture))

    def requests(self, sample, shots):
        return [Generate(Prompt.join([*(shot.prompt for shot in shots), sample.prompt], separator=" "))]

    def score(self, sample, outputs):
        return Score({"hit": float(outputs[0].text)}, outputs[0].text)


@dataclass
class Told(Model):
    """Gives each question the value that it is told, by what it sees; fails where that is None."""

    real: list
    blind: list
    name: str = "told"
    fingerprint: str = "0"

    def fits(self, request):
        return True

    def answers(self, requests):
        for index, request in enumerate(requests):
            seen = request.prompt.images[-1].pixels().getpixel((0, 0))
            number = int(str(request.prompt.parts[-1]).split()[-1])
            value = (self.blind if seen == GREY else self.real)[number]
            yield index, Failure("told to") if value is None else Completion(str(value))


def report_of(task, model, **variants):
    return asked(model, {"toy": task}, variants=Variants(**variants))[1]


def test_the_image_gain_in_hits_has_the_interval_of_bonett_and_price():
    # 8 samples right only with their pictures, 2 only without them, 10 either way, as in test_metrics_paired
    model = Told([1] * 8 + [0] * 2 + [1] * 10, [0] * 8 + [1] * 2 + [1] * 10)
    real, blind = report_of(Looks(), model, with_blind=True).rows
    assert (real.score, blind.score, real.image_gain) == (90, 60, None)
    assert blind.image_gain == pytest.approx(30)
    # 100 * (6 / 22 -+ 1.959964 * sqrt((12 / 22 - (6 / 22) ** 2) / 22))
    assert (blind.image_gain_low, blind.image_gain_high) == pytest.approx((-1.4074, 55.9528), abs=1e-3)


def test_questions_on_one_picture_are_resampled_together():
    alone = report_of(Looks(40), Told([0, 1, 1, 0] * 10, [0] * 40), with_blind=True).rows[-1]
    together = report_of(Looks(40, 4), Told(([0] * 4 + [1] * 4) * 5, [0] * 40), with_blind=True).rows[-1]
    assert (alone.image_gain, together.image_gain) == (50, 50)
    assert together.image_gain_high - together.image_gain_low > 1.3 * (alone.image_gain_high - alone.image_gain_low)


def test_only_samples_that_both_have_answered_are_compared():
    real, blind = report_of(Looks(4), Told([1, 1, 1, None], [0, 0, None, 0]), with_blind=True).rows
    assert (real.n, blind.n, blind.image_gain) == (3, 3, 100)


def test_a_run_of_blank_images_alone_knows_no_difference():
    (row,) = report_of(Looks(4), Told([1] * 4, [0] * 4), images="blank").rows
    assert (row.image_gain, row.image_gain_low, row.image_gain_high) == (None, None, None)


def test_metrics_that_are_no_mean_of_values_have_no_gain():
    @dataclass(frozen=True)
    class Corpus(Looks):
        def aggregate(self, samples, scores, *, seed):
            mean = sum(score.values["hit"] for score in scores) / len(scores)
            hit = Metric(mean, None, None, 4, averaged=True)
            return {"hit": hit, "squared": Metric(mean**2, None, None, 4)}

        def sample_metrics(self, samples, scores):
            return {sample.id: {"squared": score.values["hit"]} for sample, score in zip(samples, scores, strict=True)}

    rows = report_of(Corpus(4), Told([1, 1, 1, 0], [1, 0, 0, 0]), with_blind=True).rows
    assert [(row.metric, row.image_gain) for row in rows if row.variant] == [("hit", 50), ("squared", None)]


def test_differences_do_not_come_from_the_files_of_an_earlier_run(tmp_path):
    @dataclass(frozen=True)
    class Corpus(Looks):
        def sample_metrics(self, samples, scores):
            return {sample.id: dict(score.values) for sample, score in zip(samples, scores, strict=True)}

    stale = {id: {"hit": 5} for id in "0123"}
    tasks, variants = {"toy": Corpus(4)}, Variants(with_blind=True)
    for setting in plan(tasks, variants=variants):
        (tmp_path / metrics_file(setting.key)).write_text(json.dumps(stale))
    run, report = asked(Told([1, 1, 1, 0], [1, 0, 0, 0]), tasks, RunFolder(tmp_path), variants=variants)
    assert report.rows[-1].image_gain == 50
    assert sample_values(setting, run)["0"] == {"hit": 1}


def test_a_mean_over_draws_has_the_mean_of_their_gains():
    model = Told([1] * 8 + [0] * 2 + [1] * 10, [0] * 8 + [1] * 2 + [1] * 10)
    _, report = asked(model, {"toy": Looks()}, shots=(1,), variants=Variants(with_blind=True, seeds=2))
    mean = next(row for row in report.rows if row.variant == "images=blank,seeds=2")
    assert mean.image_gain == pytest.approx(30) and mean.image_gain_low == pytest.approx(-1.4074, abs=1e-3)


def test_the_setting_with_images_of_a_blind_one_differs_in_its_images_alone():
    blind = plan({"toy": Looks(4)}, shots=(1,), variants=Variants(with_blind=True, seeds=2))[-1]
    real = blind.with_images()
    assert (str(blind.key.variant), str(real.key.variant)) == ("images=blank,seed=1", "seed=1")
    assert real == replace(blind, key=SettingKey("toy", 1, Variant(seed=1)))
    assert real.with_images() is None
