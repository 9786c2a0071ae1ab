from math import log
from random import Random

import pytest

from kosmos_eval.metrics.calibration import calibration, probabilities
from kosmos_eval.metrics.statistics import proportion


def test_the_error_by_hand():
    # (0.9, 1.0]: three samples, 0.95 sure, one right: gap |1 - 2.85| = 1.85. (0.5, 0.6]: two, 0.6 sure, both: 2 - 1.2.
    found = calibration([0.95, 0.95, 0.95, 0.6, 0.6], [1, 0, 0, 1, 1])
    assert found.error == pytest.approx((1.85 + 0.8) / 5)
    assert (found.confidence, found.accuracy, found.n) == (pytest.approx(4.05 / 5), 0.6, 5)
    unsure, sure = found.bins
    assert (unsure.low, unsure.high, unsure.confidence, unsure.accuracy.n) == (0.5, 0.6, pytest.approx(0.6), 2)
    assert (sure.low, sure.high, sure.confidence, sure.accuracy) == (0.9, 1.0, pytest.approx(0.95), proportion(1, 3))


def test_the_end_of_a_bin_belongs_to_it_and_certainty_to_the_last():
    found = calibration([0.0, 0.1, 0.1000001, 0.3, 1.0], [0, 0, 1, 1, 1])
    assert [(one.low, one.accuracy.n) for one in found.bins] == [(0.0, 2), (0.1, 1), (0.2, 1), (0.9, 1)]


def test_a_calibrated_model_stays_below_what_chance_gives_and_a_boaster_does_not():
    random = Random(0)
    sure = [random.uniform(0.5, 1) for _ in range(400)]
    right = [float(random.random() < share) for share in sure]
    found = calibration(sure, right)
    assert found.error < found.chance_error < 0.12
    boaster = calibration([0.99] * 400, right)
    assert boaster.error == pytest.approx(0.99 - sum(right) / 400) and boaster.error > boaster.chance_error


def test_few_samples_give_even_a_calibrated_model_an_error():
    assert calibration([0.75] * 8, [1] * 6 + [0] * 2).chance_error > 0.2


def test_shared_credit_counts_in_part():
    assert calibration([0.5, 0.5], [0.5, 0.5]).error == 0


def test_candidates_share_one_probability():
    assert probabilities([log(0.02), log(0.06)]) == pytest.approx([0.25, 0.75])
    assert probabilities([-1000.0, -1001.0])[0] == pytest.approx(1 / (1 + 2.718281828459045**-1))


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ValueError, match="2 confidences and 1 scores"):
        calibration([0.5, 0.5], [1])
    with pytest.raises(ValueError, match="at least one"):
        calibration([], [])
