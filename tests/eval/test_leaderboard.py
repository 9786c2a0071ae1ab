import io
import subprocess
import sys
from dataclasses import replace

import pandas
import pytest
from rich.console import Console

from kosmos_eval import KosmosEvalError, Metric, Prompt, RunConfig, Sample, Variant
from kosmos_eval.analysis.leaderboard import update
from kosmos_eval.evaluation.results import Report, rows
from kosmos_eval.evaluation.run_config import Environment, Manifest
from kosmos_eval.evaluation.run_folder import Record, RunFolder
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.report.console import print_leaderboard
from kosmos_eval.report.leaderboard_page import write_page

A, B, C = Metric(0.9, 0.85, 0.95, 100), Metric(0.8, 0.75, 0.86, 100), Metric(0.7, 0.65, 0.74, 100)


@pytest.fixture
def ran(tmp_path):
    """Folders as runs leave them, with the accuracy of a model on one task."""

    def run(model, metric, *, failed=0, finished=True, prompt="p", options=None, **given):
        task, version = given.get("task", "task"), given.get("version", "0.1.0")
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        variants, shots = given.get("variants", [""]), given.get("shots", 0)
        values = {"accuracy": metric, given.get("other", "other"): metric}
        keys = [SettingKey(task, shots, Variant.parse(variant)) for variant in variants]
        made = [row for key in keys for row in rows(key, values, shown=shots, failed=failed, notes=["note"])]
        if "gain" in given:
            names = ("image_gain", "image_gain_low", "image_gain_high")
            gain = dict(zip(names, given["gain"], strict=True))
            made = [replace(row, **gain) if "images" in row.variant else row for row in made]
        (folder / "scores.csv").write_text(Report.of(model, made).csv())
        manifest = Manifest(
            RunConfig(model, {task: options or {}}, model_fingerprint=model),
            model,
            Environment({"kosmos-eval": version}),
            started="2026-01-01",
            finished="2026-01-02" if finished else None,
        )
        (folder / "run.json").write_text(manifest.dumps())
        for key in keys:
            for number in range(3):
                record = Record(key, Sample(str(number), Prompt()), prompt=prompt + str(key.variant))
                RunFolder(folder).append(record)
        return folder

    return run


def standing(frame):
    """Model to rank and status, of the headline metric."""
    heads = frame[frame["headline"] == "yes"]
    return {row["model"]: (row["rank"], row["status"]) for row in heads.to_dict("records")}


def test_ranks_respect_overlapping_intervals(ran, tmp_path):
    frame = update(tmp_path / "board.csv", [ran("c", C), ran("a", A), ran("b", B)])
    assert standing(frame) == {"a": ("1", ""), "b": ("1", ""), "c": ("3", "")}
    assert list(frame["model"][frame["metric"] == "accuracy"]) == ["a", "b", "c"]
    assert list(frame["headline"]) == ["yes"] * 3 + [""] * 3


def test_incomplete_rows_are_marked_and_never_ranked(ran, tmp_path):
    frame = update(tmp_path / "board.csv", [ran("a", A, failed=2), ran("b", B)])
    assert standing(frame) == {"b": ("1", ""), "a": ("", "incomplete")}


def test_a_half_written_run_is_marked_and_replaced_when_it_is_finished(ran, tmp_path):
    board = tmp_path / "board.csv"
    assert standing(update(board, [ran("a", A, finished=False, prompt="half")])) == {"a": ("", "unfinished")}
    assert standing(update(board, [ran("a", A)])) == {"a": ("1", "")}
    folder = ran("b", B)
    (folder / "scores.csv").unlink()
    with pytest.raises(KosmosEvalError, match=r"has no scores\.csv yet"):
        update(board, [folder])


def test_other_prompts_and_other_options_are_marked_not_merged(ran, tmp_path):
    runs = [ran("a", A, prompt="x"), ran("b", B), ran("c", C), ran("d", A, options={"rule": "sum"})]
    found = standing(update(tmp_path / "board.csv", runs))
    assert found == {"b": ("1", ""), "c": ("2", ""), "a": ("", "other data or prompts"), "d": ("", "other options")}


def test_other_peoples_scores_are_kept_apart(ran, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "scores.csv").write_text("model,task,shots,metric,score,n\nx,task,0,accuracy,99,100\n")
    found = standing(update(tmp_path / "board.csv", [ran("a", A), theirs / "scores.csv"]))
    assert found == {"a": ("1", ""), "x": ("", "data unknown")}


def test_no_interval_no_rank(ran, tmp_path):
    found = standing(update(tmp_path / "board.csv", [ran("a", Metric(0.9, None, None, 100)), ran("b", B)]))
    assert found == {"b": ("1", ""), "a": ("", "no interval")}


def test_merging_again_changes_nothing_and_keeps_what_was_there(ran, tmp_path):
    board = tmp_path / "deep" / "board.csv"
    first = ran("a", A, version="0.0.9")
    update(board, [first])
    frame = update(board, [ran("b", B)])
    content = board.read_bytes()
    assert sorted(set(zip(frame["model"], frame["version"], strict=True))) == [("a", "0.0.9"), ("b", "0.1.0")]
    update(board, [first, first])
    assert board.read_bytes() == content


def test_scores_keep_their_precision(ran, tmp_path):
    board = tmp_path / "board.csv"
    update(board, [ran("a", Metric(1 / 3, 0.1, 0.6, 3))])
    update(board, [ran("b", B)])
    assert str(1 / 3 * 100) in board.read_text()


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "'=1", "'named'", '=HYPERLINK("x","y")']


@pytest.mark.parametrize("model", FORMULAS)
def test_cells_cannot_become_formulas_and_survive_the_round_trip(ran, tmp_path, model):
    board = tmp_path / "board.csv"
    for _ in range(2):
        frame = update(board, [ran(model, A, task="=task")])
        assert set(frame["model"]) == {model} and len(frame) == 2
    written = pandas.read_csv(board, dtype=str, keep_default_na=False)
    assert set(written["model"]) == {f"'{model}"} and set(written["task"]) == {"'=task"}
    assert not any(str(cell).strip().startswith(("=", "+", "-", "@")) for row in written.to_numpy() for cell in row)


def test_formulas_in_other_peoples_scores_do_not_reach_the_leaderboard(tmp_path):
    theirs = tmp_path / "scores.csv"
    theirs.write_text("model,task,shots,metric,score,n,note,split\n" + "=m,+t,0,@a,99,100,=1+1,-split\n")
    update(tmp_path / "board.csv", [theirs])
    (row,) = pandas.read_csv(tmp_path / "board.csv", dtype=str, keep_default_na=False).to_dict("records")
    assert [row[name] for name in ("model", "task", "metric", "note")] == ["'=m", "'+t", "'@a", "'=1+1"]
    assert row["split"] == "'-split" and row["score"] == "99.0"


def test_scores_of_a_run_hold_no_formula_either_and_are_read_back_as_they_were(ran, tmp_path):
    folder = ran("a", A, task="=task")
    assert "\n'=task," in (folder / "scores.csv").read_text()
    assert set(update(tmp_path / "board.csv", [folder])["task"]) == {"=task"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model,task,shots,metric,score,n\nx,t,0,a,=1+1,9\n", "column 'score' holds text where a number belongs"),
        ("model,task,shots,metric,score,n\nx,t,,a,1,9\n", "column 'shots' has an empty cell"),
        ("task,shots,metric,n\nt,0,a,9\n", "has no column 'score'"),
        ("", "is no readable CSV file"),
    ],
)
def test_a_file_that_is_no_table_of_scores_is_refused(tmp_path, content, message):
    (tmp_path / "scores.csv").write_text(content)
    with pytest.raises(KosmosEvalError, match=message):
        update(tmp_path / "board.csv", [tmp_path / "scores.csv"])
    assert not (tmp_path / "board.csv").exists()


def test_two_writers_at_once_lose_nothing(ran, tmp_path):
    board = tmp_path / "board.csv"
    folders = [ran(f"m{number}", A) for number in range(8)]
    code = (
        "import sys; from pathlib import Path; from kosmos_eval.analysis.leaderboard import update\n"
        "for folder in sys.argv[2:]: update(Path(sys.argv[1]), [Path(folder)])"
    )
    halves = [folders[:4], folders[4:]]
    started = [subprocess.Popen([sys.executable, "-c", code, board, *half]) for half in halves]
    assert [process.wait(300) for process in started] == [0, 0]
    assert set(pandas.read_csv(board)["model"]) == {f"m{number}" for number in range(8)}
    assert not list(tmp_path.glob("*.part"))


def test_variants_stand_in_tables_of_their_own(ran, tmp_path):
    runs = [ran("a", A, variants=["", "images=blank"]), ran("b", B)]
    frame = update(tmp_path / "board.csv", runs)
    heads = frame[frame["headline"] == "yes"]
    places = heads[["variant", "model", "rank", "status"]].to_numpy().tolist()
    assert places == [["", "a", "1", ""], ["", "b", "1", ""], ["images=blank", "a", "1", ""]]


def test_means_over_draws_are_comparable_where_all_their_prompts_are(ran, tmp_path):
    variants = ["", "seed=1", "seed=2"]
    runs = [ran("a", A, variants=variants), ran("b", C, variants=variants), ran("c", B, variants=variants, prompt="x")]
    means = update(tmp_path / "board.csv", runs).query("variant == 'seeds=3' and headline == 'yes'")
    found = {row["model"]: (row["rank"], row["status"]) for row in means.to_dict("records")}
    assert found == {"a": ("1", ""), "b": ("2", ""), "c": ("", "other data or prompts")}


def test_a_leaderboard_without_variants_is_read_and_merged(ran, tmp_path):
    board = tmp_path / "board.csv"
    update(board, [ran("a", A)])
    pandas.read_csv(board, dtype=str, keep_default_na=False).drop(columns="variant").to_csv(board, index=False)
    assert standing(update(board, [ran("b", B)])) == {"a": ("1", ""), "b": ("1", "")}


def test_mixed_versions_stand_side_by_side_with_their_versions(ran, tmp_path):
    frame = update(tmp_path / "board.csv", [ran("a", A, version="0.0.9"), ran("b", C, version="0.2.0")])
    heads = frame[frame["headline"] == "yes"]
    assert heads[["model", "rank", "version"]].to_numpy().tolist() == [["a", "1", "0.0.9"], ["b", "2", "0.2.0"]]


HOSTILE = "<script>window.pwned=1</script><img src=x onerror=window.pwned=1>"


@pytest.fixture
def board(ran, tmp_path):
    """The page of a leaderboard with a hostile name, ties, a curve, a blind row and rows that have no rank."""
    runs = [ran(HOSTILE, A, variants=["", "images=blank"], gain=(37.5, -0.4, 61.0)), ran("=b", B), ran("c", C)]
    runs += [ran("d", A, failed=3)]
    runs += [ran(HOSTILE, B, shots=4), ran("=b", C, shots=4), ran("e", A, prompt="x", task=HOSTILE, other=HOSTILE)]
    board = tmp_path / "board.csv"
    return write_page(update(board, runs), board)


def test_the_page_ranks_ties_and_says_why_a_row_has_no_rank(board):
    content = board.read_text(encoding="utf-8")
    assert "not ranked: incomplete" in content and "3 failed" in content
    ranks = [part.split("<")[0] for part in content.split('id="task-2"')[1].split('class="r rank">')[1:]]
    assert ranks[:4] == ["1", "1", "3", "–"]


def test_the_page_needs_nothing_beside_itself_and_text_stays_text(board):
    content = board.read_text(encoding="utf-8")
    assert "window.pwned" in content and "<script>window.pwned" not in content and "<img" not in content
    assert "http://" not in content and "https://" not in content and "default-src 'none'" in content


def test_each_model_has_a_curve_over_its_shots(board):
    content = board.read_text(encoding="utf-8")
    chart = content.split('<figure class="chart">')[1].split("</figure>")[0]
    assert chart.count("<polyline") == 3 and chart.count("<circle") == 5  # c has one number of shots
    assert chart.count("<li>") == 3 and "=b, 4 shots: 70.00 %" in chart


def test_a_browser_shows_the_page_on_a_phone_and_runs_nothing(board, browser):
    browser.open(board, width=390, dark=True)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert browser.run("window.pwned === undefined && document.images.length === 0")
    assert HOSTILE in browser.run("document.querySelector('#task-2 tbody th').textContent")
    assert browser.run("document.querySelector('#task-2 .blind').textContent") == "90.00 %"
    assert browser.run("document.querySelector('#task-2 .gain').textContent").strip() == "+37.50 %-0.40 – 61.00"


def test_a_phone_keeps_rows_without_a_plot_below_their_headings(ran, tmp_path, browser):
    board = tmp_path / "board.csv"
    plain = Metric(1.5, 1.25, 1.75, 100, unit="")
    browser.open(write_page(update(board, [ran("a", plain), ran("a", A, task="other")]), board), width=390)
    visible = "[...row.cells].filter((cell) => cell.offsetWidth).length"
    counts = browser.run(f"[...document.querySelectorAll('section > .wide tr')].map((row) => {visible})")
    assert len(counts) == 4 and len(set(counts)) == 1


def test_the_console_says_who_is_ranked_and_why_not(ran, tmp_path):
    console = Console(file=io.StringIO(), width=160, markup=False)
    print_leaderboard(update(tmp_path / "board.csv", [ran("[red]a", A), ran("b", B, failed=1)]), console)
    said = console.file.getvalue()
    assert "[red]a" in said and "90.00 %" in said and "85.00 – 95.00 %" in said and "incomplete" in said
    assert "other" not in said
