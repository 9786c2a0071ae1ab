"""Folders that are there already: answers made elsewhere and marked here."""

import io
import json
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pandas
import pytest
from rich.console import Console

from kosmos_eval import Generate, Prompt, Sample, Score, Source, registry
from kosmos_eval.analysis import leaderboard
from kosmos_eval.analysis.compare import compare
from kosmos_eval.analysis.saved_run import open_run, resumed
from kosmos_eval.cli import run as commands
from kosmos_eval.evaluation import run_folder
from kosmos_eval.evaluation.run_folder import Record
from kosmos_eval.registry import TASKS, load_file
from kosmos_eval.report import html
from kosmos_eval.task import Task


@dataclass(frozen=True)
class Sums(Task):
    """Which number is a sum? Ten of them, in a file that says how many there are."""

    source: Source

    notes = ("by some rule",)

    def samples(self):
        return [self.sample(n) for n in range(int((self.source.folder() / "count").read_text()))]

    def sample(self, n):
        text = f"{n} + 1 ="
        return Sample(str(n), Prompt(text), str(n + 1), choices=(str(n + 1), "0"), kind=("even", "odd")[n % 2])

    def examples(self):
        return self.samples()

    def requests(self, sample, shots):
        return [Generate(sample.prompt)]

    def score(self, sample, outputs):
        return self.score_answer(sample, outputs[0].text)

    def score_answer(self, sample, answer):
        return Score({"accuracy": float(answer == sample.target)}, answer)

    def read_answers(self, file):
        return json.loads(file.read_text())

    def official(self):
        return self


@pytest.fixture
def marked(tmp_path, monkeypatch):
    """Mark answers to the first sums, of which the last one is wrong: the folder."""
    monkeypatch.setattr(commands, "console", Console(file=io.StringIO(), width=200))
    monkeypatch.setitem(TASKS, "sums", Sums)
    (tmp_path / "count").write_text("10")

    def score(count, *, name="answers", seed=0):
        given = {str(n): str(n + (n < count - 1)) for n in range(count)}
        (tmp_path / f"{name}.json").write_text(json.dumps(given))
        task = commands.tasks_named(["sums"], Source("data", tmp_path))["sums"]
        commands.score("sums", task, tmp_path / f"{name}.json", seed=seed, folder=tmp_path / name)
        return tmp_path / name

    return score


def said():
    return commands.console.file.getvalue()


def test_a_report_of_marked_answers_says_what_the_marking_said(marked):
    folder = marked(6, seed=3)
    scores = (folder / "scores.csv").read_text()
    first = pandas.read_csv(folder / "scores.csv")
    assert list(zip(first["metric"], first["n"], strict=True)) == [
        ("accuracy", 6),
        ("accuracy[even]", 3),
        ("accuracy[odd]", 3),
    ]
    assert set(first["note"]) == {"4 of 10 samples are not answered, answers made elsewhere"}
    assert first["score"][0] == pytest.approx(100 * 5 / 6) and first["low"].notna().all()
    commands.report(folder)
    assert (folder / "scores.csv").read_text() == scores
    assert said().count("sums, 0 shots: 4 of 10 samples are not answered") == 2


def test_the_page_of_marked_answers_shows_the_task_and_claims_no_prompt(marked):
    past = open_run(marked(6))
    page = html.page(past, past.report)
    assert "Answers made elsewhere." in page and "Data changed" not in page and "as the model saw it" not in page
    assert "<dt>answers</dt>" in page and "<dd>6 of 10</dd>" in page


def test_how_answers_were_marked_is_recorded(marked):
    config = json.loads((marked(6) / "run.json").read_text())
    assert config["versions"]["kosmos-eval"] and config["command"] and config["started"]


def test_a_file_of_fewer_answers_leaves_none_of_the_earlier_ones(marked):
    assert len(open_run(marked(8)).run.records) == 8
    past = open_run(marked(5))
    assert (len(past.run.records), past.report.rows[0].n) == (5, 5)


def test_answers_to_samples_that_are_gone_are_counted(marked, tmp_path):
    folder = marked(6)
    (tmp_path / "count").write_text("4")
    row = open_run(folder).report.rows[0]
    assert row.n == 4 and row.note == "2 answers are to samples that the data no longer have, answers made elsewhere"


def test_marked_answers_compare_with_each_other_and_with_a_run(marked, tmp_path):
    first, second = marked(6), marked(8, name="other")
    found = compare(first, second).rows[0]
    assert (found.n, found.difference.better, found.otherwise) == (6, 1, 0)
    asked = tmp_path / "asked"
    asked.mkdir()
    lines = [replace(record, prompt="asked here").line() for record in open_run(first).run.records.values()]
    (asked / "samples.jsonl").write_text("\n".join(lines) + "\n")
    (asked / "run.json").write_text((first / "run.json").read_text())
    assert compare(asked, second).rows[0].n == 6


def test_marked_answers_rank_among_themselves_and_not_with_a_run(marked, tmp_path):
    folders = [marked(6), marked(6, name="other"), marked(8, name="more")]
    frame = leaderboard.update(tmp_path / "board.csv", folders)
    heads = frame[frame["headline"] == "yes"].set_index("run")
    assert heads["rank"].to_dict() == {"answers": "1", "other": "1", "more": ""}
    assert heads["status"]["more"] == "other data or prompts"
    config, run = json.loads((folders[0] / "run.json").read_text()), open_run(folders[0]).run
    elsewhere, here = (leaderboard._asked(given, run) for given in (config, {"options": {}}))
    assert leaderboard._digest(elsewhere, "sums", 0, "") != leaderboard._digest(here, "sums", 0, "")


def test_a_run_that_goes_on_with_other_versions_says_so_and_keeps_what_it_was_made_with(tmp_path):
    before = {"options": {}, "versions": {"torch": "2.1", "toy.py": "a"}, "git": "c", "started": "then"}
    with run_folder.open_folder(tmp_path, before) as run:
        assert resumed(dict(before), run) == ""
        run.append(Record("t", 0, "1", "p"))
        assert resumed(dict(before), run) == ""
        now = before | {"versions": {"torch": "2.2", "toy.py": "b"}, "started": "now"}
        said = resumed(now, run)
    assert said.startswith(
        "resumed with other versions (torch was 2.1, is 2.2; toy.py was a, is b): what was answered before is kept, 1 "
    )
    made = {"versions": before["versions"], "git": "c", "samples": 1}
    assert (now["started"], now["earlier"]) == ("then", [made])
    with run_folder.open_folder(tmp_path, now) as run:  # killed before its end: what is noted stays
        again = before | {"versions": {"torch": "2.2", "toy.py": "b"}, "git": "d"}
        assert "(git was c, is d)" in resumed(again, run)
    assert again["earlier"] == [made, {"versions": now["versions"], "git": "c", "samples": 1}]


def test_the_version_of_a_task_is_its_packages_or_a_digest_of_its_file(tmp_path):
    toy = Path(__file__).parents[1] / "fixtures" / "toy.py"
    load_file(toy)
    assert registry.versions("task", "toy") == {"toy.py": sha256(toy.read_bytes()).hexdigest()[:16]}
    assert list(registry.versions("task", "vqav2")) == ["kosmos-eval"]
