"""Rows of several variants: means over them, the blank-image baseline beside, a console's view of it."""

import io
from dataclasses import replace

import pandas
import pytest
from rich.console import Console

from kosmos_eval import Metric
from kosmos_eval.evaluation.results import Report, rows
from kosmos_eval.evaluation.variant import SettingKey, Variant
from kosmos_eval.report.console import print_report


def row(score, variant="", *, metric="accuracy", failed=0, shots=4, half=0.1):
    value = Metric(score, score - half, score + half, 50, chance=0.25, p_value=0.04)
    key = SettingKey("toy", shots, Variant.parse(variant))
    (made,) = rows(key, {metric: value}, shown=shots, failed=failed, notes=[])
    return made


def printed(report, width=80):
    console = Console(file=io.StringIO(), width=width)
    print_report(report, console)
    return console.file.getvalue()


def test_draws_have_a_mean_with_their_spread_by_hand():
    report = Report.of("m", [row(0.5), row(0.6, "seed=1", half=0.2), row(0.7, "seed=2")])
    assert [found.variant for found in report.rows] == ["", "seed=1", "seed=2", "seeds=3"]
    mean = report.rows[-1]
    assert (mean.score, mean.spread, mean.worst, mean.best) == pytest.approx((60, 10, 50, 70))
    assert (mean.low, mean.high) == pytest.approx((60 - 40 / 3, 60 + 40 / 3))
    assert (mean.n, mean.chance, mean.p_value) == (50, 25, None)
    assert report.score("toy", shots=4) == 50 and report.score("toy", shots=4, variant="seeds=3") == pytest.approx(60)


def test_a_single_way_has_no_mean_and_numbers_of_shots_are_not_mixed():
    report = Report.of("m", [row(0.5, shots=0), row(0.6, shots=4)])
    assert [found.variant for found in report.rows] == ["", ""]


def test_means_are_over_one_part_at_a_time():
    variants = ["", "images=blank", "prompt=short", "images=blank,prompt=short", "prompt=short,seed=1"]
    report = Report.of("m", [row(0.1 * place, variant) for place, variant in enumerate(variants)])
    assert [found.variant for found in report.rows[5:]] == [
        "prompts=2",
        "images=blank,prompts=2",
        "prompt=short,seeds=2",
    ]


def test_failures_are_counted_once_and_make_a_mean_incomplete():
    report = Report.of("m", [row(0.5), row(0.6, "seed=1", failed=3)])
    assert report.failed == 3
    assert report.rows[-1].failed == 3


def test_a_mean_of_scores_without_intervals_has_none():
    report = Report.of("m", [replace(row(0.5), low=None), row(0.6, "seed=1")])
    assert (report.rows[-1].low, report.rows[-1].high) == (None, None)


def test_the_blind_score_stands_beside_its_own_and_in_no_line_of_its_own():
    report = Report.of("m", [row(0.75), row(0.375, "images=blank"), row(0.25, metric="other")])
    assert report.blind(report.rows[0]) == report.rows[1]
    assert report.blind(report.rows[1]) is None
    said = printed(report)
    line = next(line for line in said.splitlines() if "75.00 %" in line)
    assert " 37.50 " in line and "65.00 – 85.00" in line
    assert "images=blank" not in said and "blind: blank-image baseline" in said


def test_a_run_with_blank_images_alone_says_so_and_has_no_blind_column():
    said = printed(Report.of("m", [row(0.5, "images=blank")]))
    assert "toy, 4 shots, images=blank" in said and "blind" not in said


def test_other_variants_and_their_mean_are_a_line_each_and_the_spread_is_said_below():
    found = [row(0.5), row(0.25, metric="other"), row(0.6, "prompt=short"), row(0.26, "prompt=short", metric="other")]
    said = printed(Report.of("m", found))
    assert sum("prompt=short" in line for line in said.splitlines()) == 1
    assert "mean of 2 prompts" in said
    assert "mean of 2 prompts: accuracy 55.00 %, spread 7.07, worst 50.00 %, best 60.00 %" in said


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_on_a_terminal_of_80_columns(width):
    blind = [row(0.9, variant, metric="accuracy_unconstrained") for variant in ("", "images=blank")]
    said = printed(Report.of("m", blind), width)
    assert "…" not in said and "accuracy_unconstrained" in said
    assert max(map(len, said.splitlines())) <= width


def test_csv_has_variant_spread_and_ends():
    frame = pandas.read_csv(io.StringIO(Report.of("m", [row(0.5), row(0.6, "seed=1")]).csv()))
    assert list(frame["variant"].fillna("")) == ["", "seed=1", "seeds=2"]
    assert list(frame["worst"].dropna()) == [50] and list(frame["best"].dropna()) == [60]


def test_what_the_pictures_add_stands_below_the_score_with_its_interval():
    blind = replace(row(0.375, "images=blank"), image_gain=37.5, image_gain_low=-0.4, image_gain_high=61.0)
    said = printed(Report.of("m", [row(0.75), blind]))
    (line,) = [line for line in said.splitlines() if "image gain  " in line]
    assert "+37.50 %" in line and "-0.40 – 61.00" in line
    assert "by pairs of the same sample" in said
    assert "-12.00 %" in printed(Report.of("m", [row(0.5), replace(blind, image_gain=-12.0)]))


def test_a_difference_without_an_interval_has_none_and_a_run_without_one_no_line():
    blind = replace(row(0.375, "images=blank"), image_gain=37.5)
    (line,) = [line for line in printed(Report.of("m", [row(0.75), blind])).splitlines() if "image gain  " in line]
    assert "–" not in line
    assert "image gain" not in printed(Report.of("m", [row(0.75), row(0.375, "images=blank")]))


def test_csv_has_what_the_pictures_add_on_the_blind_row():
    blind = replace(row(0.375, "images=blank"), image_gain=37.5, image_gain_low=20.0, image_gain_high=61.0)
    frame = pandas.read_csv(io.StringIO(Report.of("m", [row(0.75), blind]).csv()))
    assert list(frame["image_gain"].dropna()) == [37.5]
    assert list(frame.loc[1, ["variant", "image_gain_low", "image_gain_high"]]) == ["images=blank", 20.0, 61.0]
