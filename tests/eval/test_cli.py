import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pandas
import PIL.Image
import pytest

TOY = str(Path(__file__).parents[1] / "fixtures" / "toy.py")
COMMAND = [sys.executable, "-m", "kosmos_eval"]


def cli(*args, **env):
    return subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True, env={**os.environ, **env})


def inside(monkeypatch, capsys, *args):
    """The command in this process: the same code, without the start of another interpreter."""
    from kosmos_eval.cli.app import main

    monkeypatch.setattr(sys, "argv", ["kosmos-eval", *map(str, args)])
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as left:
        main()
    signal.signal(signal.SIGINT, before)
    said = capsys.readouterr()
    return subprocess.CompletedProcess(args, left.value.code or 0, said.out, said.err)


def only_line(done, *, code=2):
    """The single line of an error that the user can act on."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = []
    for number in range(12):
        colour = ("red", "blue")[number % 2]
        PIL.Image.new("RGB", (8 + number, 8), colour).save(folder / f"{number}.png")
        rows.append({"id": str(number), "file": f"{number}.png", "colour": colour})
    (folder / "rows.json").write_text(json.dumps({"rows": rows}))
    return folder


def toy(data, out, *args):
    log = out.parent / f"{out.name}.log"
    files = ("--task-file", TOY, "--model", f"slow:{log}", "--data", data, "--out", out)
    return ["run", *files, *args], log


def test_a_users_file_runs_zero_and_two_shot_and_leaves_a_run(data, tmp_path):
    args, _ = toy(data, tmp_path / "run", "--shots", "0,2")
    done = cli(*args)
    assert done.returncode == 0, done.stderr
    assert "toy" in done.stdout and "100.00 %" in done.stdout and str(tmp_path / "run") in done.stdout
    table = pandas.read_csv(tmp_path / "run" / "scores.csv")
    assert list(table["shots"]) == [0, 2]
    assert list(table["score"]) == [100, 100]
    assert {"task", "shots", "metric", "score", "low", "high", "n", "failed", "chance"} <= set(table.columns)
    lines = (tmp_path / "run" / "samples.jsonl").read_text().splitlines()
    assert len(lines) == 24 and json.loads(lines[0])["answer" if "answer" in json.loads(lines[0]) else "task"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["shots"] == [0, 2]


def test_a_killed_run_resumes_to_the_same_result_and_asks_nothing_twice(data, tmp_path):
    args, log = toy(data, tmp_path / "run")
    started = subprocess.Popen(
        [*COMMAND, *map(str, args)],
        env={**os.environ, "TOY_PAUSE": "0.2"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    path = tmp_path / "run" / "samples.jsonl"
    deadline = time.monotonic() + 60
    while (not path.exists() or path.read_bytes().count(b"\n") < 3) and time.monotonic() < deadline:
        time.sleep(0.02)
    started.send_signal(signal.SIGKILL)
    started.wait()
    finished = [json.loads(line)["id"] for line in path.read_text().splitlines()[: path.read_bytes().count(b"\n")]]
    assert 3 <= len(finished) < 12
    log.unlink()
    assert cli(*args).returncode == 0
    asked = [Path(line).stem for line in log.read_text().splitlines()]
    assert sorted(asked) == sorted({str(n) for n in range(12)} - set(finished))
    whole, _ = toy(data, tmp_path / "whole")
    assert cli(*whole).returncode == 0
    same = [pandas.read_csv(tmp_path / name / "scores.csv") for name in ("run", "whole")]
    pandas.testing.assert_frame_equal(*same)


def test_ctrl_c_exits_with_130_and_says_that_it_resumes(data, tmp_path):
    args, _ = toy(data, tmp_path / "run")
    started = subprocess.Popen(
        [*COMMAND, *map(str, args)],
        env={**os.environ, "TOY_PAUSE": "0.3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    path = tmp_path / "run" / "samples.jsonl"
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate()
    assert started.returncode == 130
    assert "the same command resumes" in said and "Traceback" not in said


def test_a_defect_of_one_sample_fails_it_alone(data, tmp_path):
    (data / "3.png").write_bytes((data / "3.png").read_bytes()[:-20])
    huge = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(huge, "PNG")
    whole = bytearray(huge.getvalue())
    whole[16:24] = struct.pack(">II", 60_000, 60_000)
    whole[29:33] = struct.pack(">I", zlib.crc32(whole[12:29]))
    (data / "4.png").write_bytes(whole)
    args, _ = toy(data, tmp_path / "run", "--shots", "0,2")
    done = cli(*args)
    assert "4 samples failed" in only_line(done)
    assert "3.png cannot be decoded" in done.stderr and "4.png is too large" in done.stderr
    table = pandas.read_csv(tmp_path / "run" / "scores.csv")
    assert list(table["failed"]) == [2, 2] and list(table["n"]) == [10, 10] and list(table["score"]) == [100, 100]
    assert "incomplete" in done.stdout


@pytest.mark.parametrize(
    ("change", "args", "message"),
    [
        (lambda d: None, ["--shots", "12"], "12 shots are asked for, but there are only 11 demonstrations"),
        (lambda d: None, ["--shots", "two"], "--shots two is not a list of whole numbers"),
        (lambda d: None, ["--tasks", "toyy"], "no task is called 'toyy'; did you mean 'toy'?"),
        (lambda d: None, ["--task-option", "toy.colour=red"], "no option of toy is called 'colour'"),
        (lambda d: None, ["--model-option", "pauze=1"], "no option of slow is called 'pauze'; did you mean 'pause'?"),
        (lambda d: None, ["--batch-tokens", "auto"], "slow has no batches of tokens to size; leave --batch-tokens out"),
        (lambda d: None, ["--suite", "five"], "no suite is called 'five'"),
        (lambda d: (d / "rows.json").write_text('{"rows": [{"id"'), [], "rows.json is not complete json"),
        (lambda d: (d / "rows.json").write_text("[]"), [], "has no 'rows' at its top level"),
        (lambda d: [p.unlink() for p in d.iterdir()], [], "is an empty folder"),
        (lambda d: None, ["--data", "nowhere"], "--data nowhere is not a folder"),
        (lambda d: None, ["--out", "/proc/run"], "cannot write to /proc/run"),
        (lambda d: None, ["--data", "rows.json"], "--data rows.json is not a folder"),
        (lambda d: None, ["--tasks", ","], "',' names nothing; expected names separated by commas"),
        (lambda d: None, ["--model", "slow"], "expected slow:LOG"),
        (lambda d: None, ["--model", "slow:"], "--model slow: is not complete; expected slow:LOG"),
        (lambda d: None, ["--revision", "main"], "--revision is the hub's"),
        (lambda d: None, ["--hub"], "no hub data set is known"),
        (lambda d: None, ["--task-file", "nowhere.py"], "nowhere.py is not a file"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(data, tmp_path, monkeypatch, capsys, change, args, message):
    change(data)
    base, _ = toy(data, tmp_path / "run")
    assert message in only_line(inside(monkeypatch, capsys, *base, *args))
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_configuration_is_refused(data, tmp_path):
    args, _ = toy(data, tmp_path / "run")
    assert cli(*args).returncode == 0
    before = (tmp_path / "run" / "run.json").read_bytes()
    assert "seed was 0, now 1" in only_line(cli(*args, "--seed", 1))
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    assert cli(*args, "--seed", 1, "--overwrite").returncode == 0


BATCHED = """
from dataclasses import dataclass
from kosmos_eval import Completion, Model, register_model

@register_model("batched")
@dataclass
class Batched(Model):
    batch_tokens: int | str = "auto"
    shout: bool = False
    name = fingerprint = "batched"
    runtime_options = frozenset({"batch_tokens"})

    def fits(self, request):
        return True

    def answers(self, requests):
        return ((index, Completion(f"{self.batch_tokens!r}")) for index in range(len(requests)))
"""


def test_a_run_goes_on_with_another_size_of_batches_but_not_with_options_that_decide(
    data, tmp_path, monkeypatch, capsys
):
    (tmp_path / "batched.py").write_text(BATCHED)
    args, _ = toy(data, tmp_path / "run")
    base = [*args, "--model-file", tmp_path / "batched.py", "--model", "batched", "--no-html"]
    for given in (["--batch-tokens", "64"], ["--batch-tokens", "auto"], ["--model-option", "batch_tokens=9"]):
        assert inside(monkeypatch, capsys, *base, *given).returncode == 0
    lines = (tmp_path / "run" / "samples.jsonl").read_text().splitlines()
    assert {json.loads(line)["outputs"][0]["text"] for line in lines} == {"64"} and len(lines) == 12
    said = only_line(inside(monkeypatch, capsys, *base, "--model-option", "shout=true"))
    assert "model_options was [], now ['shout=true']" in said


def test_a_report_is_made_again_from_the_folder(data, tmp_path):
    args, _ = toy(data, tmp_path / "run", "--shots", "1")
    assert cli(*args).returncode == 0
    before = (tmp_path / "run" / "scores.csv").read_bytes()
    (tmp_path / "run" / "scores.csv").unlink()
    done = cli("report", tmp_path / "run", "--task-file", TOY)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "scores.csv").read_bytes() == before


def test_show_prints_the_prompt_with_its_images_named(data, tmp_path):
    done = cli("show", "toy", "--task-file", TOY, "--data", data, "--shots", 1, "--index", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<image ") == 2 and "10 x 8" in done.stdout and "colour:" in done.stdout
    page = tmp_path / "page.html"
    assert cli("show", "toy", "--task-file", TOY, "--data", data, "--html", page).returncode == 0
    assert page.read_text().count("data:image/png;base64,") == 1
    assert "there is no --index 99" in only_line(cli("show", "toy", "--task-file", TOY, "--data", data, "--index", 99))


def test_usage_errors_exit_with_2():
    assert cli("run", "--shotz", "1").returncode == 2


def test_progress_in_a_pipe_is_plain_lines(data, tmp_path):
    args, _ = toy(data, tmp_path / "run")
    assert "toy, 0 shots: 12/12" in cli(*args).stderr


def test_check_data_says_what_is_complete_and_what_is_not(data, monkeypatch, capsys):
    said = inside(monkeypatch, capsys, "check-data", "toy", "--data", data, "--task-file", TOY)
    assert said.returncode == 0 and "toy 12 samples, ok" in said.stdout
    (data / "3.png").write_bytes(b"torn")
    said = inside(monkeypatch, capsys, "check-data", "toy", "--data", data, "--task-file", TOY)
    assert "not complete" in only_line(said) and "1 unreadable" in said.stdout and "3.png" in said.stdout
    assert inside(monkeypatch, capsys, "check-data", "toy").returncode == 0


def test_scoring_answers_does_not_discard_a_run_and_can_be_repeated(data, tmp_path, monkeypatch, capsys):
    args, _ = toy(data, tmp_path / "run")
    assert inside(monkeypatch, capsys, *args).returncode == 0
    rows = (tmp_path / "run" / "samples.jsonl").read_bytes()
    answers = tmp_path / "answers.txt"
    answers.write_text("positive\n" * 300)
    score = ["score", "rendered_sst2", "--answers", answers]
    assert "other options" in only_line(inside(monkeypatch, capsys, *score, "--out", tmp_path / "run"))
    assert (tmp_path / "run" / "samples.jsonl").read_bytes() == rows
    for _ in range(2):
        said = inside(monkeypatch, capsys, *score, "--out", tmp_path / "score")
        assert said.returncode == 0 and "49.00 %" in said.stdout
    assert (tmp_path / "score" / "samples.jsonl").read_bytes().count(b"\n") == 300


def test_samples_that_an_answer_file_leaves_out_are_counted_in_the_note(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("kosmos_tasks.vqav2.VQAv2.read_answers", lambda task, file: {task.samples()[0].id: "red"})
    said = inside(monkeypatch, capsys, "score", "vqav2", "--answers", tmp_path)
    assert "vqav2, 0 shots: 299 of 300 samples are not answered" in said.stdout, said


def test_a_resumed_run_keeps_when_it_was_started(data, tmp_path, monkeypatch, capsys):
    args, _ = toy(data, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    assert inside(monkeypatch, capsys, *args).returncode == 0
    path.write_text(path.read_text().replace(json.loads(path.read_text())["started"], "2001-01-01T00:00:00+00:00"))
    assert inside(monkeypatch, capsys, *args).returncode == 0
    assert json.loads(path.read_text())["started"].startswith("2001")


def test_show_also_shows_what_a_run_was_answered(data, tmp_path, monkeypatch, capsys):
    args, _ = toy(data, tmp_path / "run", "--shots", "1")
    assert inside(monkeypatch, capsys, *args).returncode == 0
    show = ["show", "toy", "--task-file", TOY, "--data", data, "--index", 1, "--run", tmp_path / "run"]
    said = inside(monkeypatch, capsys, *show, "--shots", 1)
    assert said.returncode == 0 and "blue   (accuracy 1.00)" in said.stdout
    assert "did not ask toy 1 this way" in only_line(inside(monkeypatch, capsys, *show, "--shots", 2))
