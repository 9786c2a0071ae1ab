from collections import Counter
from math import comb, inf, isnan, sqrt

import pytest

from kosmos_eval.metrics.statistics import Metric, binomial_p, mean, proportion, studentised


def wilson(hits, n, z=1.959963984540054):
    centre, spread = hits / n + z * z / (2 * n), z * sqrt(hits * (n - hits) / n**3 + z * z / (4 * n * n))
    return pytest.approx((centre - spread) / (1 + z * z / n)), pytest.approx((centre + spread) / (1 + z * z / n))


@pytest.mark.parametrize(("hits", "n"), [(11, 50), (0, 10), (10, 10), (1, 1), (0, 1)])
def test_accuracy_has_wilsons_interval(hits, n):
    metric = proportion(hits, n)
    assert (metric.value, metric.n, metric.p_value) == (hits / n, n, None)
    low, high = wilson(hits, n)
    assert (metric.low, metric.high) == (low if hits else pytest.approx(0, abs=1e-12), high)


def test_nothing_asked_has_no_value_and_no_interval():
    for metric in (proportion(0, 0, chance=0.5), mean([], chance=0.5)):
        assert isnan(metric.value)
        assert (metric.low, metric.high, metric.n, metric.chance, metric.p_value) == (None, None, 0, 0.5, None)


@pytest.mark.parametrize(("hits", "n"), [(2.5, 10), (11, 10), (-1, 10)])
def test_hits_that_are_no_count_are_refused(hits, n):
    with pytest.raises(ValueError, match="is no count"):
        proportion(hits, n)


def test_the_p_value_is_the_upper_tail_of_the_binomial():
    tail = sum(comb(4, k) * 0.25**k * 0.75 ** (4 - k) for k in (3, 4))
    assert binomial_p(3, 4, 0.25) == pytest.approx(tail)
    assert binomial_p(0, 4, 0.25) == 1


def test_the_papers_raven_scores_are_not_significant():
    # KOSMOS-1 table 6: 22 % and 26 % of 50 puzzles with six candidates.
    assert proportion(11, 50, chance=1 / 6).p_value == pytest.approx(0.202, abs=1e-3)
    assert proportion(13, 50, chance=1 / 6).p_value == pytest.approx(0.063, abs=1e-3)


def test_shared_credit_is_rounded_down_for_the_p_value():
    assert binomial_p(2.9, 4, 0.25) == binomial_p(2, 4, 0.25)
    assert binomial_p(sum([1 / 6] * 6), 6, 0.25) == binomial_p(1, 6, 0.25)


def test_the_mean_of_hits_is_their_proportion():
    assert mean([1, 0, True, 1.0], chance=0.5) == proportion(3, 4, chance=0.5)


def test_the_mean_of_marks_has_the_bootstrap_interval_of_a_normal_sample():
    marks = [0.2 + 0.006 * i for i in range(100)]
    metric = mean(marks)
    deviation = 0.006 * sqrt((100**2 - 1) / 12) / sqrt(100)
    assert metric.value == pytest.approx(0.497)
    assert metric.low == pytest.approx(0.497 - 1.96 * deviation, abs=0.2 * deviation)
    assert metric.high == pytest.approx(0.497 + 1.96 * deviation, abs=0.2 * deviation)


def test_a_seed_repeats_its_interval_and_another_does_not():
    marks = [0.0, 0.3, 0.6, 1.0, 0.9, 0.3] * 4
    assert mean(marks, seed=3) == mean(marks, seed=3)
    assert mean(marks, seed=3) != mean(marks, seed=4)


def test_shared_credit_still_has_a_p_value():
    assert mean([0.5, 0.5, 1, 0], chance=0.25).p_value == binomial_p(2, 4, 0.25)
    assert mean([0.5, 12.0], chance=0.25).p_value is None


def test_equal_fractions_get_wilsons_interval_with_hits_rounded_outwards():
    found = mean([1 / 6] * 50)  # 8.33 hits of 50: between 8 and 9
    assert (found.low, found.high) == (proportion(8, 50).low, proportion(9, 50).high)
    exact = mean([0.5] * 50)
    assert (exact.low, exact.high) == (proportion(25, 50).low, proportion(25, 50).high)


@pytest.mark.parametrize("marks", [[1.3], [4.0, 4.0, 4.0], [0.1 + 1.2, 1.3]])
def test_marks_without_spread_on_a_scale_of_their_own_have_no_interval(marks):
    assert mean(marks) == Metric(pytest.approx(marks[0]), None, None, len(marks))


def test_groups_that_do_not_repeat_change_nothing():
    assert mean([1, 0, 1], groups="abc") == mean([1, 0, 1])
    assert mean([0.1, 0.7, 0.4], groups="abc") == mean([0.1, 0.7, 0.4])


def test_copies_of_a_question_do_not_narrow_the_interval():
    marks, images = [1, 0, 0, 1, 1, 0, 1, 1], list("abcdefgh")
    once, tenfold = mean([m + 0.0 for m in marks]), mean(marks * 10, groups=images * 10)
    assert tenfold.value == once.value
    assert tenfold.n == 80
    assert tenfold.high - tenfold.low > 0.9 * (once.high - once.low)
    assert tenfold.p_value is None


def test_a_cluster_counts_by_its_number_of_marks():
    # Residuals of the clusters: 1 - 4/3 and 1 - 2/3; their squares sum to 2/9, times 2/(2 - 1), root, over 6 marks.
    value, error, _ = studentised([1, 1], [4, 2], resamples=10, seed=0)
    assert (value, error) == (pytest.approx(1 / 3), pytest.approx(1 / 9))


def test_two_groups_give_no_bootstrap_interval_but_wilsons_of_two_trials():
    metric = mean([1, 0, 0, 0, 1, 0], groups="aaaabb")
    assert (metric.low, metric.high) == (proportion(0, 2).low, proportion(1, 2).high)


def test_resamples_are_measured_in_their_own_standard_errors():
    # Mean 1, standard error 1. Of 27 draws 12 hold one 3 (mean 1), 6 two (mean 2, error 1); 9 are all equal (no error).
    value, error, distances = studentised([0, 0, 3], [1, 1, 1], resamples=2700, seed=0)
    assert (value, error) == (1, 1)
    found = Counter(distances.tolist())
    assert {distance: found[distance] for distance in sorted(found)} == {
        0.0: pytest.approx(1200, abs=80),
        1.0: pytest.approx(600, abs=80),
        inf: pytest.approx(900, abs=80),
    }


def test_intervals_are_symmetric_and_stay_within_what_marks_can_be():
    marks = [0.0] * 27 + [0.3, 0.3, 0.6, 0.9, 1.0]
    metric = mean(marks)
    assert metric.low == 0 and metric.value < metric.high < 0.3
    shifted = mean([mark + 1 for mark in marks])
    assert shifted.low < 1 and shifted.high - shifted.value == pytest.approx(shifted.value - shifted.low)
    assert mean([0.0] * 39 + [0.3]).high == proportion(1, 40).high


def test_perfect_answers_on_few_images_have_wilsons_interval_of_the_images():
    metric = mean([1] * 6, groups="aaabbb")
    assert (metric.value, metric.n) == (1, 6)
    assert (metric.low, metric.high) == wilson(2, 2)
    assert mean([0] * 6, groups="aaabbb").high == wilson(0, 2)[1]


def test_groups_must_match_the_marks():
    with pytest.raises(ValueError, match="zip"):
        mean([0.1, 0.2, 0.3], groups="aa")
