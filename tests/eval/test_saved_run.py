"""Folders that are there already: external answers that were scored here."""

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pandas
import pytest

from kosmos_eval import Generate, Prompt, RunConfig, Sample, Score, Source, registry, report
from kosmos_eval.analysis import leaderboard
from kosmos_eval.analysis.compare import compare
from kosmos_eval.analysis.saved_run import open_run
from kosmos_eval.evaluation.evaluator import score_answers
from kosmos_eval.evaluation.run_config import Earlier, Environment, Manifest, load_manifest
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.registry import TASKS, load_file
from kosmos_eval.report.html import page
from kosmos_eval.task import Task


@dataclass(frozen=True)
class Sums(Task):
    """Ten sums, or as many as a file says."""

    source: Source = Source()

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


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """Score answers to the first sums, of which the last one is wrong: the folder."""
    monkeypatch.setitem(TASKS, "sums", Sums)
    (tmp_path / "count").write_text("10")

    def score(count, *, name="answers", seed=0):
        given = {str(n): str(n + (n < count - 1)) for n in range(count)}
        (tmp_path / f"{name}.json").write_text(json.dumps(given))
        task = Sums(Source("data", tmp_path))
        score_answers("sums", task, tmp_path / f"{name}.json", seed=seed, out=tmp_path / name)
        return tmp_path / name

    return score


def test_a_report_of_scored_answers_says_what_the_scoring_said(scored):
    folder = scored(6, seed=3)
    scores = (folder / "scores.csv").read_text()
    first = pandas.read_csv(folder / "scores.csv")
    assert list(zip(first["metric"], first["n"], strict=True)) == [
        ("accuracy", 6),
        ("accuracy[even]", 3),
        ("accuracy[odd]", 3),
    ]
    assert set(first["note"]) == {"4 of 10 samples are not answered, external predictions"}
    assert first["score"][0] == pytest.approx(100 * 5 / 6) and first["low"].notna().all()
    for rescore in (False, True):
        (folder / "scores.csv").write_text(scores if not rescore else "")
        report.write(folder, rescore=rescore)
        assert (folder / "scores.csv").read_text() == scores


def test_the_page_of_scored_answers_shows_the_task_and_claims_no_prompt(scored):
    content = page(open_run(scored(6)))
    assert "External predictions." in content and "Data changed" not in content and "as the model saw it" not in content
    assert "<dt>answers</dt>" in content and "<dd>6 of 10</dd>" in content


def test_how_answers_were_scored_is_recorded(scored):
    manifest = load_manifest(scored(6))
    made = manifest.environment
    assert made.versions["kosmos-eval"] and made.command and manifest.started and manifest.config.kind == "answers"


def test_a_file_of_fewer_answers_leaves_none_of_the_earlier_ones(scored):
    assert open_run(scored(8)).run.answered == 8
    saved = open_run(scored(5))
    assert (saved.run.answered, saved.report.rows[0].n) == (5, 5)


def test_another_spelling_of_the_same_file_of_answers_is_the_same_run(scored, tmp_path, monkeypatch):
    folder = scored(6)
    monkeypatch.chdir(tmp_path)
    score_answers("sums", Sums(Source("data", Path())), Path("answers.json"), out=folder)
    assert open_run(folder).report.rows[0].n == 6


def test_answers_to_samples_that_are_gone_are_counted(scored, tmp_path):
    folder = scored(6)
    (tmp_path / "count").write_text("4")
    row = open_run(folder, rescore=True).report.rows[0]
    assert row.n == 4 and row.note == "2 answers are to samples that the data no longer have, external predictions"
    assert open_run(folder).report.rows[0].n == 6  # the folder is enough


def test_scored_answers_compare_with_each_other_and_with_a_run(scored, tmp_path):
    first, second = scored(6), scored(8, name="other")
    found = compare(first, second).rows[0]
    assert (found.n, found.difference.better, found.changed_prompts) == (6, 1, 0)
    asked = tmp_path / "asked"
    asked.mkdir()
    lines = [replace(record, prompt="asked here").line() for record in open_run(first).run.of(SettingKey("sums"))]
    (asked / "samples.jsonl").write_text("\n".join(lines) + "\n")
    (asked / "run.json").write_text((first / "run.json").read_text())
    assert compare(asked, second).rows[0].n == 6


def test_scored_answers_rank_among_themselves_and_not_with_a_run(scored, tmp_path):
    folders = [scored(6), scored(6, name="other"), scored(8, name="more")]
    frame = leaderboard.update(tmp_path / "board.csv", folders)
    heads = frame[frame["headline"] == "yes"].set_index("run")
    assert heads["rank"].to_dict() == {"answers": "1", "other": "1", "more": ""}
    assert heads["status"]["more"] == "other data or prompts"
    saved = open_run(folders[0])
    asked_here = replace(saved.manifest, config=replace(saved.config, kind="model"))
    external, here = (
        leaderboard.prompt_digest(manifest, saved.run, SettingKey("sums")) for manifest in (saved.manifest, asked_here)
    )
    assert external != here


def test_a_run_that_goes_on_with_other_versions_says_so_and_keeps_what_it_was_made_with():
    def manifest(torch, toy, git, started):
        made = Environment({"torch": torch, "toy.py": toy}, git)
        return Manifest(RunConfig(), "m", made, started)

    first, second = manifest("2.1", "a", "c", "then"), manifest("2.2", "b", "c", "now")
    assert manifest("2.1", "a", "c", "now").resumed_from(first, 1) == (first, "")
    assert second.resumed_from(first, 0) == (replace(second, started="then"), "")
    resumed, said = second.resumed_from(first, 1)
    assert said.startswith(
        "resumed with other versions (torch was 2.1, is 2.2; toy.py was a, is b): what was answered before is kept, 1 "
    )
    made = Earlier(1, first.environment.versions, "c")
    assert (resumed.started, resumed.earlier) == ("then", (made,))
    again, said = manifest("2.2", "b", "d", "later").resumed_from(
        resumed, 1
    )  # killed before its end: what is noted stays
    assert "(git was c, is d)" in said
    assert again.earlier == (made, Earlier(1, second.environment.versions, "c"))


def test_the_version_of_a_task_is_its_packages_or_a_digest_of_its_file(tmp_path):
    toy = Path(__file__).parents[1] / "fixtures" / "toy.py"
    load_file(toy)
    assert registry.versions("task", "toy") == {"toy.py": sha256(toy.read_bytes()).hexdigest()[:16]}
    assert list(registry.versions("task", "vqav2")) == ["kosmos-eval"]
