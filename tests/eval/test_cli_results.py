"""What the commands make of runs: comparisons, leaderboards, other formats, trackers' files."""

import json
from importlib.util import find_spec

import pandas
import pytest

from kosmos_eval.report import trackers
from tests.eval.test_cli import TOY, data, inside, only_line  # noqa: F401 - the fixture is used by its name

SIGHTED = """
from dataclasses import dataclass
from kosmos_eval import Failure, Model, register_model

@register_model("sighted")
@dataclass
class Sighted(Model):
    '''A model that reads no prompt without an image.'''
    name: str = "sighted"
    fingerprint: str = "1"
    requires_images: bool = True

    def fits(self, request):
        return True

    def answers(self, requests):
        raise RuntimeError("it must not be asked")
"""


@pytest.fixture
def run(data, tmp_path, monkeypatch, capsys):  # noqa: F811
    """Run a scripted model on the toy task: the folder."""

    def made(name, answer, *args):
        given = ("--task-file", TOY, "--model", f"scripted:{answer}", "--data", data, "--out", tmp_path / name)
        done = inside(monkeypatch, capsys, "run", *given, "--no-html", *args)
        assert done.returncode == 0, done.stderr
        return tmp_path / name

    return made


def test_two_runs_are_compared_and_written(run, tmp_path, monkeypatch, capsys):
    runs = run("a", "red"), run("b", "blue")
    done = inside(monkeypatch, capsys, "compare", *runs, "--task-file", TOY, "--out", tmp_path / "c.json")
    assert done.returncode == 0, done.stderr
    assert "A: scripted" in done.stdout and "inconclusive" in done.stdout and "largest changes" in done.stdout
    (row,) = json.loads((tmp_path / "c.json").read_text())["rows"]
    assert (row["first"], row["second"], row["difference"]["better"], row["difference"]["worse"]) == (0.5, 0.5, 6, 6)
    nowhere = (tmp_path / "no run", tmp_path / "no run either")
    done = inside(monkeypatch, capsys, "compare", *nowhere, "--out", tmp_path / "c.xml")  # said before runs are read
    assert "is neither a .json nor a .csv file" in only_line(done)
    done = inside(monkeypatch, capsys, "compare", runs[0], tmp_path / "gone", "--task-file", TOY)
    assert "gone holds no readable run.json" in only_line(done)


def test_runs_become_a_leaderboard_and_its_page(run, tmp_path, monkeypatch, capsys):
    board = tmp_path / "boards" / "all.csv"
    done = inside(monkeypatch, capsys, "leaderboard", run("a", "red"), run("b", "blue"), "--out", board)
    assert done.returncode == 0, done.stderr
    assert f"leaderboard: {board}, {board.with_suffix('.html')}" in done.stdout and "50.00 %" in done.stdout
    assert set(pandas.read_csv(board)["rank"]) == {1}
    assert "<h1>Leaderboard</h1>" in board.with_suffix(".html").read_text()
    done = inside(monkeypatch, capsys, "leaderboard", tmp_path / "gone", "--out", board)
    assert "gone" in only_line(done)


@pytest.mark.parametrize(
    ("form", "file"), [("json", "scores.json"), ("parquet", "samples.parquet"), ("lm-eval", "results-0-shot.json")]
)
def test_a_run_is_exported(run, tmp_path, monkeypatch, capsys, form, file):
    done = inside(monkeypatch, capsys, "export", run("a", "red"), "--to", form, "--task-file", TOY, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / file)
    if form == "parquet":
        found = pandas.read_parquet(tmp_path / file)
        assert len(found) == 12 and set(found["answer"]) == {"red"}
    else:
        content = json.loads((tmp_path / file).read_text())
        score = content["scores"][0]["score"] if form == "json" else 100 * content["results"]["toy"]["accuracy,none"]
        assert score == 50


def test_an_unknown_format_is_one_line(run, monkeypatch, capsys):
    done = inside(monkeypatch, capsys, "export", run("a", "red"), "--to", "xml", "--task-file", TOY)
    assert "--to xml is not known; expected one of json, parquet, lm-eval" in only_line(done)


@pytest.mark.skipif(
    any(find_spec(module) is None for needed in trackers.PACKAGES.values() for module in needed),
    reason="not all trackers are installed",
)
@pytest.mark.filterwarnings("ignore")
def test_a_run_is_logged_to_each_tracker_that_is_named(run, tmp_path):
    folder = run("a", "red", "--tracker", "tensorboard", "--tracker", f"mlflow:{tmp_path / 'ml'}", "--tracker", "wandb")
    import wandb

    wandb.teardown()
    assert list((folder / "tensorboard" / "a").glob("events.*"))
    assert (tmp_path / "ml" / "mlflow.db").stat().st_size
    assert list(folder.glob("wandb/wandb/offline-run-*/*.wandb"))


def test_an_unknown_tracker_is_one_line_before_anything_is_asked(data, tmp_path, monkeypatch, capsys):  # noqa: F811
    given = ("--task-file", TOY, "--model", "scripted:red", "--data", data, "--out", tmp_path / "run")
    assert "--tracker neptune is not known" in only_line(
        inside(monkeypatch, capsys, "run", *given, "--tracker", "neptune")
    )
    assert not (tmp_path / "run").exists()


def test_the_image_gain_is_said_below_the_score(run, monkeypatch, capsys):
    folder = run("a", "red", "--with-blind")
    done = inside(monkeypatch, capsys, "report", folder, "--task-file", TOY)
    (line,) = [line for line in done.stdout.splitlines() if "image gain  " in line]
    assert "+0.00 %" in line
    row = pandas.read_csv(folder / "scores.csv").iloc[1]
    assert (row["variant"], row["score"], row["image_gain"]) == ("images=blank", 50, 0)
    # 12 samples, none changes: 0 -+ 1.959964 * sqrt(2 / 14 / 14)
    assert row["image_gain_high"] == pytest.approx(100 * 1.959964 * (2 / 14 / 14) ** 0.5, rel=1e-5)


def test_a_model_that_needs_images_is_not_asked_without_and_nothing_is_written(
    data,  # noqa: F811
    tmp_path,
    monkeypatch,
    capsys,
):
    (tmp_path / "sighted.py").write_text(SIGHTED)
    given = ("--task-file", TOY, "--model-file", tmp_path / "sighted.py", "--model", "sighted", "--data", data)
    done = inside(monkeypatch, capsys, "run", *given, "--out", tmp_path / "run", "--images", "none")
    said = "error: sighted reads no prompt without an image; ask with --images blank or shuffled instead"
    assert only_line(done) == said and not (tmp_path / "run").exists()


def test_the_images_of_a_pipeline_are_exchanged_from_the_command_line(run):
    folder = run("a", "red", "--images", "shuffled")
    assert pandas.read_csv(folder / "scores.csv")["variant"].tolist() == ["images=shuffled"]


def test_a_leaderboard_wants_the_name_of_a_csv_file(tmp_path, monkeypatch, capsys):
    done = inside(monkeypatch, capsys, "leaderboard", tmp_path / "no run", "--out", ".")
    assert "--out . is no .csv file; name one, such as leaderboard.csv" in only_line(done)


def test_a_run_is_read_where_its_data_are_gone_and_resumes_where_they_are_spelled_otherwise(
    data,  # noqa: F811
    tmp_path,
    monkeypatch,
    capsys,
):
    def kosmos_eval(*args):
        done = inside(monkeypatch, capsys, *args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def asked(given, answer="red"):
        args = ("run", "--task-file", TOY, "--model", f"scripted:{answer}", "--shots", "0,1", "--with-blind")
        return kosmos_eval(*args, "--data", given, "--out", tmp_path / answer)

    monkeypatch.chdir(tmp_path)
    first, second = tmp_path / "red", tmp_path / "blue"
    asked("data")
    asked("data", "blue")
    files = {name: (first / name).read_bytes() for name in ("samples.jsonl", "scores.csv")}
    manifest = json.loads((first / "run.json").read_text())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for spelled in (data, f"{data}/", "../data/", "./../elsewhere/../data"):
        assert str(first) in asked(spelled)
        assert {name: (first / name).read_bytes() for name in files} == files
    assert json.loads((first / "run.json").read_text())["config"] == manifest["config"]
    shown = (first / "report.html").read_text()
    assert "colour:" in shown and "data:image/" in shown and "not shown." not in shown

    data.rename(tmp_path / "moved")
    read = ("--task-file", TOY)
    assert "50.00 %" in kosmos_eval("report", first, *read)
    page = (first / "report.html").read_text()
    assert "<strong>Prompts and images are not shown.</strong>" in page and str(data) in page
    assert "data:image/" not in page
    assert (first / "scores.csv").read_bytes() == files["scores.csv"]
    assert "largest changes" in kosmos_eval("compare", first, second, *read, "--html", "sides.html")
    assert "50.00 %" in kosmos_eval("leaderboard", first, second, "--out", "board.csv")
    for form in ("json", "parquet", "lm-eval"):
        assert kosmos_eval("export", first, "--to", form, *read)
    assert str(data) in only_line(inside(monkeypatch, capsys, "report", second, *read, "--rescore"))

    kosmos_eval("report", first, *read, "--data", "../moved")
    assert (first / "report.html").read_text().count("data:image/") == shown.count("data:image/")
    assert "the same: 48 samples" in kosmos_eval("rerun", first, *read, "--data", "../moved")
