"""Two processes share a run: what they find is what one finds, whoever is killed or fails on the way."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import pytest

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"

SCRIPT = """
import json, os, sys

import datasets, torch.distributed  # once for all processes
from kosmos_eval.cli import app as cli


def run(rank, commands, env, folder):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), **env}
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}/{rank}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    for port, arguments in commands:
        os.environ["MASTER_PORT"] = str(port)
        sys.argv = ["kosmos-eval", *arguments]
        try:
            cli.main()
        except SystemExit as left:
            print(f"left with {left.code or 0}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(0)  # tidying up all of torch would take longer than the test


for line in sys.stdin:
    pids = []
    for rank in range(2):
        pids.append(os.fork())
        if pids[-1] == 0:
            run(rank, *json.loads(line))
    print(*pids, flush=True)
    for pid in pids:
        os.waitpid(pid, 0)
    print("over", flush=True)
"""

MOODY = """
import os, time
from dataclasses import dataclass
from kosmos_eval import Completion, KosmosEvalError, Model, register_model

@register_model("moody")
@dataclass
class Moody(Model):
    failing: str
    name: str = "moody"
    fingerprint: str = "0"

    def fits(self, request):
        return True

    def answers(self, requests):
        for index, _ in enumerate(requests):
            time.sleep(0.2)
            if os.environ["RANK"] == self.failing and index == 1:
                raise KosmosEvalError(f"rank {self.failing} has no more ink; refill it")
            yield index, Completion("red")
"""


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


@dataclass
class Pair:
    """Two processes that a launcher starts as often as it is told to; importing torch for each would take longest."""

    launcher: subprocess.Popen
    folder: Path

    def start(self, *commands, **env):
        """Both run the commands one after the other; gives their process ids."""
        numbered = [(free_port(), list(map(str, command))) for command in commands]
        self.launcher.stdin.write(json.dumps([numbered, env, str(self.folder)]) + "\n")
        self.launcher.stdin.flush()
        return [int(pid) for pid in self.launcher.stdout.readline().split()]

    def said(self):
        """What each has said on standard output and standard error, once both are over."""
        assert self.launcher.stdout.readline() == "over\n"
        return [tuple((self.folder / f"{rank}.{name}").read_text() for name in ("out", "err")) for rank in range(2)]


@pytest.fixture
def pair(tmp_path):
    env = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", SCRIPT], env=env, **pipes) as launcher:
        yield Pair(launcher, tmp_path)


def lines(path):
    return sorted(path.read_text().splitlines()) if path.exists() else []


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [{"id": str(n), "file": f"{n}.png", "colour": ("red", "blue")[n % 2]} for n in range(12)]
    for row in rows:
        PIL.Image.new("RGB", (8 + int(row["id"]), 8), row["colour"]).save(folder / row["file"])
    (folder / "rows.json").write_text(json.dumps({"rows": rows}))
    return folder


def test_a_killed_rank_loses_nothing_and_two_processes_find_what_one_finds(pair, data, tmp_path, monkeypatch, capsys):
    def toy(out, *more):
        log = tmp_path / "asked.log"
        given = ("--task-file", TOY, "--model", f"slow:{log}", "--data", data, "--shots", "0,2", "--no-html")
        return ["run", *map(str, given), "--out", str(tmp_path / out), *more]

    _, second = pair.start(toy("two"), TOY_PAUSE="0.2")
    theirs = tmp_path / "two" / "samples.rank1.jsonl"
    deadline = time.monotonic() + 900
    while len(lines(theirs)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(second, signal.SIGKILL)
    (_, said), _ = pair.said()
    assert [line for line in said.splitlines() if line.startswith("error: ")] == [
        "error: a worker process exited; finished samples are kept, run the same command again to continue"
    ]
    assert "left with 2" in said and "Traceback" not in said
    finished = {
        (found["shots"], found["id"])
        for path in (tmp_path / "two").glob("samples*")
        for found in map(json.loads, lines(path))
    }
    assert 3 + 12 <= len(finished) < 24  # the survivor has done its share, half of both settings

    (tmp_path / "moody.py").write_text(MOODY)
    (tmp_path / "asked.log").unlink()
    moody = ["run", "--task-file", TOY, "--model-file", tmp_path / "moody.py", "--model", "moody:1", "--data", data]
    pair.start(toy("two"), [*moody, "--out", tmp_path / "moody"])
    (out, said), (silent, other) = pair.said()
    assert len(lines(tmp_path / "asked.log")) == 24 - len(finished)
    assert "100.00 %" in out and "toy, 2 shots: 12/12" in said and silent == ""
    assert not theirs.exists()

    # the second command: rank 1 fails by an error of its own, and all end with its line
    assert [line for line in (said + other).splitlines() if line.startswith(("error: ", "left"))] == [
        *("left with 0", "left with 2"),
        *("left with 0", "error: rank 1 has no more ink; refill it", "left with 2"),
    ]
    assert "Traceback" not in said + other

    from kosmos_eval.cli.app import main

    monkeypatch.setattr(sys, "argv", ["kosmos-eval", *toy("one")])
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit):
        main()
    signal.signal(signal.SIGINT, before)
    assert lines(tmp_path / "one" / "samples.jsonl") == lines(tmp_path / "two" / "samples.jsonl")
    assert (tmp_path / "one" / "scores.csv").read_text() == (tmp_path / "two" / "scores.csv").read_text()


def test_a_launcher_that_does_not_say_where_to_meet_is_one_line(monkeypatch):
    from kosmos_eval.errors import KosmosEvalError
    from kosmos_eval.evaluation.launch import process_group

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(KosmosEvalError, match="WORLD_SIZE is set but not RANK; start by torchrun"), process_group():
        pass
