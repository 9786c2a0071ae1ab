import io
import json
from dataclasses import replace
from pathlib import Path

import pandas
import PIL.Image
import pytest
from rich.console import Console

from kosmos_eval import KosmosEvalError, Prompt, Sample, Score, Source, TaskInfo, evaluate, load_tasks
from kosmos_eval.analysis.compare import compare
from kosmos_eval.analysis.saved_run import open_run
from kosmos_eval.evaluation.run_folder import Record
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.registry import TASKS, load_file
from kosmos_eval.report import comparison

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"
KEY = SettingKey("toy")


@pytest.fixture
def ran(tmp_path):
    """Runs of a script on twelve pictures, of which every third is blue."""
    load_file(TOY)
    data = tmp_path / "data"
    data.mkdir()
    rows = []
    for number in range(12):
        colour = ("red", "red", "blue")[number % 3]
        PIL.Image.new("RGB", (8 + number, 8), colour).save(data / f"{number}.png")
        rows.append({"id": f"s{number}", "file": f"{number}.png", "colour": colour})
    (data / "rows.json").write_text(json.dumps({"rows": rows}))

    def run(name, says, shots=(0,), limit=None, seed=0):
        tasks = load_tasks(["toy"], Source("data", data))
        evaluate(f"scripted:{says}", tasks, shots=shots, limit=limit, seed=seed, out=tmp_path / name)
        return tmp_path / name

    return run


def printed(found, changes=2):
    console = Console(file=io.StringIO(), width=160)
    comparison.print_comparison(found, console, changes=changes)
    return console.file.getvalue()


def test_runs_are_compared_sample_by_sample(ran):
    (row,) = compare(ran("a", "blue"), ran("b", "red")).rows
    assert (row.key, row.metric, row.unit, row.n, row.left_out) == (KEY, "accuracy", "%", 12, 0)
    assert (row.first, row.second) == pytest.approx((4 / 12, 8 / 12))
    assert (row.difference.better, row.difference.worse) == (8, 4)
    assert row.verdict == "inconclusive"
    assert {change.id for change in row.changes} == {f"s{n}" for n in range(12)}
    assert (row.changes[0].first_answer, row.changes[0].second_answer) == ("blue", "red")


def test_a_clear_difference_is_called_one_and_its_direction_too(ran):
    nothing, red = ran("a", "green"), ran("b", "red")
    assert [row.verdict for row in compare(nothing, red).rows] == ["B is better"]
    assert [row.verdict for row in compare(red, nothing).rows] == ["B is worse"]


def test_p_values_are_corrected_for_the_number_of_rows(ran):
    rows = compare(ran("a", "green", shots=(0, 2)), ran("b", "red", shots=(0, 2))).rows
    assert [row.key.shots for row in rows] == [0, 2]
    assert rows[0].corrected == pytest.approx(2 * rows[0].difference.p_value)


def test_samples_of_one_run_only_are_left_out_and_counted(ran):
    (row,) = compare(ran("a", "blue", limit=5), ran("b", "red")).rows
    assert (row.n, row.left_out) == (5, 7)
    assert "7 samples left out" in printed(compare(ran("a", "blue", limit=5), ran("b", "red")))


def test_failed_samples_are_left_out_never_wrong(ran):
    first, second = ran("a", "blue"), ran("b", "red")
    saved = open_run(second)
    saved.run.append(replace(saved.run.record(KEY, "s0"), score=None, error="gone"))
    (row,) = compare(first, second).rows
    assert (row.n, row.left_out) == (11, 1)


def test_settings_of_one_run_only_are_named(ran):
    found = compare(ran("a", "blue", shots=(0, 1)), ran("b", "red", shots=(0,)))
    assert found.notes == ("only in A: toy, 1 shots",)


def test_runs_that_asked_otherwise_are_refused_in_one_line(ran):
    with pytest.raises(KosmosEvalError, match=r"toy, 2 shots: every prompt of .* differs") as error:
        compare(ran("a", "blue", shots=(2,)), ran("b", "red", shots=(2,), seed=1))
    assert "\n" not in str(error.value)
    with pytest.raises(KosmosEvalError, match="no task at the same number of shots in common"):
        compare(ran("c", "blue", shots=(0,)), ran("d", "red", shots=(1,)))


def test_prompts_that_differ_in_part_are_counted(ran):
    first, second = ran("a", "blue"), ran("b", "red")
    saved = open_run(second)
    for number in range(3):
        saved.run.append(replace(saved.run.record(KEY, f"s{number}"), prompt="other"))
    found = compare(first, second)
    assert found.rows[0].changed_prompts == 3
    assert "3 of the compared had other prompts" in printed(found)


def test_no_sample_in_common_is_refused(ran):
    first, second = ran("a", "blue"), ran("b", "red")
    saved = open_run(second)
    for number in range(12):
        saved.run.append(Record(KEY, Sample(f"s{number}", Prompt()), error="gone"))
    with pytest.raises(KosmosEvalError, match=r"no sample of .* has a value in"):
        compare(first, second)


def test_the_table_says_what_is_needed_and_markup_in_answers_is_text(ran):
    said = printed(compare(ran("a", "[red]blue"), ran("b", "red")))
    assert "+66.67" in said and "B is better" in said and "n for 80 % power" in said
    assert "[red]blue" in said


def test_json_holds_every_change_and_csv_the_rows(ran, tmp_path):
    found = compare(ran("a", "blue"), ran("b", "red"))
    comparison.write(found, tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text())
    assert len(content["rows"][0]["changes"]) == 12 and content["rows"][0]["difference"]["better"] == 8
    comparison.write(found, tmp_path / "c.csv")
    table = pandas.read_csv(tmp_path / "c.csv")
    assert table["difference"].tolist() == pytest.approx([1 / 3]) and table["verdict"][0] == found.rows[0].verdict
    with pytest.raises(KosmosEvalError, match=r"neither a \.json nor a \.csv"):
        comparison.write(found, tmp_path / "c.txt")
    with pytest.raises(KosmosEvalError, match="cannot write"):
        comparison.write(found, tmp_path / "c.csv" / "c.csv")


def test_values_that_only_the_corpus_decides_come_from_the_runs_folder(ran, monkeypatch):
    toy = TASKS["toy"]

    class Corpus(toy):
        info = TaskInfo(metric="CIDEr")

        def score(self, sample, outputs):
            return Score(answer=outputs[0].text)

        def sample_metrics(self, samples, scores):
            return {
                s.id: {"other": 1.0, "CIDEr": 2.5 * (score.answer == "red")}
                for s, score in zip(samples, scores, strict=True)
            }

    monkeypatch.setitem(TASKS, "toy", Corpus)
    first, second = ran("a", "blue"), ran("b", "red")
    file = first / "toy-0-shot-sample-metrics.json"
    file.write_text(file.read_text().replace("0.0", "0.5"))
    (row,) = compare(first, second).rows
    assert (row.metric, row.unit, row.first, row.second) == ("CIDEr", "", 0.5, 2.5)
    assert row.difference.test == "mid-p sign test"
