import json
from dataclasses import replace
from pathlib import Path

import pytest

from kosmos_eval import Completion, Likelihoods, Score
from kosmos_eval.errors import RunError
from kosmos_eval.evaluation import run_folder
from kosmos_eval.evaluation.run_folder import Record
from kosmos_eval.files import redacted

CONFIG = {"options": {"model": "m", "seed": 0}, "model_name": "m"}
RECORD = Record(
    "vqa",
    2,
    "7",
    "abc",
    shown=2,
    outputs=(Completion("a\u2028b\x85\n", 3),),
    score=Score({"accuracy": 0.3}, "a", {"x": [1]}),
)


def test_a_record_survives_its_line_with_any_line_break():
    assert "\n" not in RECORD.line()
    assert RECORD.line().isascii()
    assert Record.of(RECORD.line()) == RECORD


def test_likelihoods_and_failures_survive_too():
    record = Record("t", 0, "1", "d", outputs=(Likelihoods((-1.5, -2.0), (1, 2), (True, False)),), error="no image")
    assert Record.of(record.line()) == record


def test_a_run_resumes_what_was_appended(tmp_path):
    with run_folder.open_folder(tmp_path / "run", CONFIG) as run:
        run.append(RECORD)
    with run_folder.open_folder(tmp_path / "run", CONFIG) as run:
        assert run.finished("vqa", 2, "7", "abc")
        assert not run.finished("vqa", 2, "7", "another prompt")
        assert run.records == {RECORD.key: RECORD}


def test_a_failed_sample_is_not_finished(tmp_path):
    with run_folder.open_folder(tmp_path, CONFIG) as run:
        run.append(Record("t", 0, "1", "d", error="no image"))
        assert not run.finished("t", 0, "1", "d")


def test_a_torn_last_line_is_cut_off_wherever_it_was_torn(tmp_path):
    with run_folder.open_folder(tmp_path, CONFIG) as run:
        run.append(RECORD)
    path = tmp_path / "samples.jsonl"
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole + whole[:cut])
        with run_folder.open_folder(tmp_path, CONFIG) as run:
            assert list(run.records) == [RECORD.key]
        assert path.read_bytes() == whole


def test_damage_in_the_middle_is_named_not_dropped(tmp_path):
    with run_folder.open_folder(tmp_path, CONFIG) as run:
        run.append(RECORD)
    with (tmp_path / "samples.jsonl").open("a") as file:
        file.write("{}\n" + RECORD.line() + "\n")
    with pytest.raises(RunError, match=r"samples\.jsonl line 2 is damaged"), run_folder.open_folder(tmp_path, CONFIG):
        pass


def test_another_configuration_is_refused_with_what_differs_and_nothing_is_touched(tmp_path):
    with run_folder.open_folder(tmp_path, CONFIG) as run:
        run.append(RECORD)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = {"options": {"model": "m", "seed": 1}}
    with (
        pytest.raises(RunError, match=r"other options \(seed was 0, now 1\).*--fresh"),
        run_folder.open_folder(tmp_path, other),
    ):
        pass
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_fresh_discards_what_is_there(tmp_path):
    with run_folder.open_folder(tmp_path, CONFIG) as run:
        run.append(RECORD)
    with run_folder.open_folder(tmp_path, {"options": {"seed": 1}}, fresh=True) as run:
        assert run.records == {}


def test_fresh_also_discards_what_killed_processes_left_in_a_folder_named_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("run")
    with run_folder.open_folder(folder, CONFIG):
        pass
    for name in ("samples.rank1.jsonl", "usage.rank1.jsonl", "usage.jsonl"):
        (folder / name).write_text(RECORD.line() + "\n")
    with run_folder.open_folder(folder, CONFIG, fresh=True) as run:
        assert not run.records
    assert not list(folder.glob("*.jsonl"))


def test_two_processes_do_not_share_a_run(tmp_path):
    with (
        run_folder.open_folder(tmp_path, CONFIG),
        pytest.raises(RunError, match="in use by another process"),
        run_folder.open_folder(tmp_path, CONFIG),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write to"), run_folder.open_folder(tmp_path / "file" / "run", CONFIG):
        pass


def test_a_full_disk_is_one_line_and_keeps_what_is_finished(tmp_path, monkeypatch):
    with run_folder.open_folder(tmp_path, CONFIG) as run:
        run.append(RECORD)
        monkeypatch.setattr(type(run.folder), "open", lambda path, *a, **k: open("/dev/full", "w"))
        with pytest.raises(RunError, match="No space left on device; fix this and rerun, finished samples are kept"):
            run.append(Record("t", 0, "2", "d"))
    monkeypatch.undo()
    assert RECORD.key in run_folder.load(tmp_path)[1].records


def test_keys_are_redacted_in_options_and_urls(tmp_path):
    config = {"options": {"model": "openai:m@https://u:p@h/v1?api_key=abc&x=1", "api_key": "abc", "auth_token": "t"}}
    with run_folder.open_folder(tmp_path, config):
        pass
    written = json.loads((tmp_path / "run.json").read_text())["options"]
    assert written == {"model": "openai:m@https://***@h/v1?api_key=***&x=1", "api_key": "***", "auth_token": "***"}
    with run_folder.open_folder(tmp_path, config):
        pass


def test_keys_on_the_command_line_are_redacted():
    assert redacted({"command": ["run", "--model-option", "api_key=abc"]})["command"][-1] == "api_key=***"


def test_a_run_json_that_is_no_object_is_one_line(tmp_path):
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(RunError, match=r"run\.json holds no object of options; name a folder that `run` made"):
        run_folder.load(tmp_path)


def test_a_folder_without_a_run_is_named():
    with pytest.raises(RunError, match=r"nowhere holds no readable run\.json"):
        run_folder.load(Path("nowhere"))


def test_variants_of_one_sample_are_records_of_their_own_and_the_usual_way_has_no_key_for_it(tmp_path):
    with run_folder.open_folder(tmp_path, CONFIG) as run:
        run.append(RECORD)
        run.append(replace(RECORD, prompt="blank", variant="images=blank"))
        assert not run.finished("vqa", 2, "7", "blank")
        assert run.finished("vqa", 2, "7", "blank", variant="images=blank")
    usual, blank = (tmp_path / "samples.jsonl").read_text().splitlines()
    assert "variant" not in usual
    assert '"variant": "images=blank"' in blank
    _, run = run_folder.load(tmp_path)
    assert run.record("vqa", 2, "7") == RECORD
    assert run.record("vqa", 2, "7", variant="images=blank").prompt == "blank"
