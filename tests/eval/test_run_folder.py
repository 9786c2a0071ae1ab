import json
from dataclasses import replace
from pathlib import Path

import pytest

from kosmos_eval import Completion, Likelihoods, Prompt, RunConfig, Sample, Score
from kosmos_eval.errors import RunError
from kosmos_eval.evaluation.run_config import Environment, Manifest, SettingSummary
from kosmos_eval.evaluation.run_folder import Record, load_folder, open_folder
from kosmos_eval.evaluation.variant import SettingKey, Variant
from kosmos_eval.files import redacted


def manifest(**config):
    return Manifest(RunConfig("m", **config), "m", Environment(), started="2026-01-01T00:00:00+00:00")


def opened(path, *, overwrite=False, **config):
    return open_folder(path, manifest(**config), overwrite=overwrite)


KEY, PLAIN = SettingKey("vqa", 2), SettingKey("t")
RECORD = Record(
    KEY,
    Sample("7", Prompt(), "yes", ("yes", "y\u2028es"), ("yes", "no"), group="g", kind="k"),
    "abc",
    shown=2,
    outputs=(Completion("a\u2028b\x85\n", 3),),
    score=Score({"accuracy": 0.3}, "a", {"x": [1]}),
)


def test_a_record_survives_its_line_with_any_line_break():
    assert "\n" not in RECORD.line()
    assert RECORD.line().isascii()
    assert Record.parse(RECORD.line()) == RECORD


def test_likelihoods_and_failures_survive_too():
    record = Record(
        PLAIN, Sample("1", Prompt()), "d", outputs=(Likelihoods((-1.5, -2.0), (1, 2), (True, False)),), error="no image"
    )
    assert Record.parse(record.line()) == record


def test_a_run_resumes_what_was_appended(tmp_path):
    with opened(tmp_path / "run") as (run, _):
        run.append(RECORD)
    with opened(tmp_path / "run") as (run, _):
        assert run.finished(KEY, "7", "abc")
        assert not run.finished(KEY, "7", "another prompt")
        assert run.records == {KEY: {"7": RECORD}}


def test_a_failed_sample_is_not_finished(tmp_path):
    with opened(tmp_path) as (run, _):
        run.append(Record(PLAIN, Sample("1", Prompt()), "d", error="no image"))
        assert not run.finished(PLAIN, "1", "d")


def test_a_torn_last_line_is_cut_off_wherever_it_was_torn(tmp_path):
    with opened(tmp_path) as (run, _):
        run.append(RECORD)
    path = tmp_path / "samples.jsonl"
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole + whole[:cut])
        with opened(tmp_path) as (run, _):
            assert run.records == {KEY: {"7": RECORD}}
        assert path.read_bytes() == whole


def test_damage_in_the_middle_is_named_not_dropped(tmp_path):
    with opened(tmp_path) as (run, _):
        run.append(RECORD)
    with (tmp_path / "samples.jsonl").open("a") as file:
        file.write("{}\n" + RECORD.line() + "\n")
    with pytest.raises(RunError, match=r"samples\.jsonl line 2 is damaged"), opened(tmp_path):
        pass


def test_another_configuration_is_refused_with_what_differs_and_nothing_is_touched(tmp_path):
    with opened(tmp_path) as (run, _):
        run.append(RECORD)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with (
        pytest.raises(RunError, match=r"other options \(seed was 0, now 1\).*--overwrite"),
        opened(tmp_path, seed=1),
    ):
        pass
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_overwrite_discards_what_is_there(tmp_path):
    with opened(tmp_path) as (run, _):
        run.append(RECORD)
    with opened(tmp_path, seed=1, overwrite=True) as (run, _):
        assert run.records == {}


def test_overwrite_also_discards_what_killed_processes_left_in_a_folder_named_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("run")
    with opened(folder):
        pass
    for name in ("samples.rank1.jsonl", "usage.rank1.jsonl", "usage.jsonl"):
        (folder / name).write_text(RECORD.line() + "\n")
    with opened(folder, overwrite=True) as (run, _):
        assert not run.records
    assert not list(folder.glob("*.jsonl"))


def test_two_processes_do_not_share_a_run(tmp_path):
    with (
        opened(tmp_path),
        pytest.raises(RunError, match="in use by another process"),
        opened(tmp_path),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write to"), opened(tmp_path / "file" / "run"):
        pass


def test_a_full_disk_is_one_line_and_keeps_what_is_finished(tmp_path, monkeypatch):
    with opened(tmp_path) as (run, _):
        run.append(RECORD)
        monkeypatch.setattr(type(run.path), "open", lambda path, *a, **k: open("/dev/full", "w"))
        with pytest.raises(RunError, match="No space left on device; fix this and rerun, finished samples are kept"):
            run.append(Record(PLAIN, Sample("2", Prompt()), "d"))
    monkeypatch.undo()
    assert RECORD.key in load_folder(tmp_path)[1].records


def test_keys_are_redacted_in_options_and_urls(tmp_path):
    secret = RunConfig(
        "openai:m@https://u:p@h/v1?api_key=abc&x=1", {"t": {"auth_token": "t"}}, model_options=("api_key=abc",)
    )
    secret = replace(manifest(), config=secret)
    with open_folder(tmp_path, secret):
        pass
    written = json.loads((tmp_path / "run.json").read_text())["config"]
    assert written["model"] == "openai:m@https://***@h/v1?api_key=***&x=1"
    assert (written["tasks"], written["model_options"]) == ({"t": {"auth_token": "***"}}, ["api_key=***"])
    with open_folder(tmp_path, secret) as (_, there):
        assert there is not None


def test_keys_on_the_command_line_are_redacted():
    assert redacted({"command": ["run", "--model-option", "api_key=abc"]})["command"][-1] == "api_key=***"


def test_a_run_json_that_is_no_object_is_one_line(tmp_path):
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(RunError, match=r"run\.json is damaged \(.*\); name a folder that `run` made"):
        load_folder(tmp_path)


def test_a_folder_without_a_run_is_named():
    with pytest.raises(RunError, match=r"nowhere holds no readable run\.json"):
        load_folder(Path("nowhere"))


def test_variants_of_one_sample_are_records_of_their_own_and_the_default_has_no_key_for_it(tmp_path):
    blank_key = replace(KEY, variant=Variant(images="blank"))
    with opened(tmp_path) as (run, _):
        run.append(RECORD)
        run.append(replace(RECORD, prompt="blank", key=blank_key))
        assert not run.finished(KEY, "7", "blank")
        assert run.finished(blank_key, "7", "blank")
    default, blank = (tmp_path / "samples.jsonl").read_text().splitlines()
    assert "variant" not in default
    assert '"variant": "images=blank"' in blank
    _, run = load_folder(tmp_path)
    assert run.record(KEY, "7") == RECORD
    assert run.record(blank_key, "7").prompt == "blank"


def test_long_choices_that_samples_share_are_stored_once_and_read_back(tmp_path):
    classes = tuple(f"class {number}" for number in range(60))
    many = [replace(RECORD, sample=Sample(id, Prompt(), choices=classes)) for id in "ab"]
    with opened(tmp_path) as (run, _):
        for record in many:
            run.append(record)
    assert "class 7" not in (tmp_path / "samples.jsonl").read_text()
    (file,) = tmp_path.glob("choices-*.json")
    assert load_folder(tmp_path)[1].of(KEY) == many
    file.unlink()
    load_folder.__globals__["_choices"].cache_clear()
    with pytest.raises(
        RunError, match=r"samples\.jsonl line 1 is damaged \(the file of its choices, .* cannot be read"
    ):
        load_folder(tmp_path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_damage(number):
    with pytest.raises(ValueError, match=r"finite|constant|expected"):
        Record.parse(RECORD.line().replace("0.3", number))


def test_a_run_of_an_earlier_form_is_refused_in_one_line(tmp_path):
    (tmp_path / "run.json").write_text('{"options": {"model": "m"}, "model_name": "m"}')
    with pytest.raises(RunError, match="was made by an earlier version of this program; run it again"):
        load_folder(tmp_path)


def test_a_field_that_is_not_there_has_its_default(tmp_path):
    with opened(tmp_path):
        pass
    path = tmp_path / "run.json"
    found = json.loads(path.read_text())
    del found["config"]["shots_from"], found["config"]["variants"]["seeds"]
    path.write_text(json.dumps(found))
    with opened(tmp_path) as (_, there):
        assert there == manifest()
    path.write_text(json.dumps(found | {"started": 5}))
    with pytest.raises(RunError, match="field started: "):
        load_folder(tmp_path)


def test_overwriting_deletes_what_the_run_lists_and_no_file_beside_it(tmp_path):
    manifest = Manifest(RunConfig(), "m", Environment(), started="now")
    summary = SettingSummary(1, 1, "", "", files=("toy-0-shot-answers.json", "../outside.txt"))
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(replace(manifest, settings={"toy, 0 shots": summary}).dumps())
    for name in ("toy-0-shot-answers.json", "toy-0-shot-notes.txt", "../outside.txt"):
        (run / name).write_text("")
    with open_folder(run, manifest, overwrite=True) as (opened, there):
        assert there is None and opened.answered == 0
    assert not (run / "toy-0-shot-answers.json").exists()
    assert (run / "toy-0-shot-notes.txt").exists() and (tmp_path / "outside.txt").exists()
