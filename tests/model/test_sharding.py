"""A Kosmos whose layers lie on two processes gives the answers of one that lies on one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kosmos_eval.errors import ModelError
from kosmos_eval.evaluation.evaluator import evaluate
from kosmos_eval.evaluation.run_folder import load_folder
from kosmos_eval.evaluation.setup import load_tasks
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.source import Source
from kosmos_model.adapters.kosmos import kosmos, kosmos_nano
from kosmos_model.modeling import checkpoint
from tests.model.conftest import TOKENIZER, tiny_model

TASKS = ["vqav2", "rendered_sst2", "imagenet"]

SCRIPT = """
import os, sys, traceback
from kosmos_eval.cli import app as cli
from kosmos_model.modeling import distributed

def told(model, device, original=distributed.shard_for_inference):
    original(model, device)
    weight = model.decoder.layers[0].self_attn.q_proj.weight
    print(f"share {weight.to_local().numel() / weight.numel()}", file=sys.stderr)

distributed.shard_for_inference = told
code = 1
try:
    cli.main()
except SystemExit as left:
    code = left.code or 0
except BaseException:
    traceback.print_exc()
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)  # tidying up all of torch would take longer than the test
"""


def command(folder: Path, *more: str) -> list[str]:
    tasks = ("--tasks", ",".join(TASKS), "--limit", "2", "--shots", "0,1")
    return ["run", "--model", f"kosmos:{folder}", "--device", "cpu", *tasks, *more]


@pytest.mark.slow
def test_two_processes_answer_in_step_what_one_answers(tmp_path: Path) -> None:
    checkpoint.save(tiny_model(), tmp_path / "model", tokenizer=TOKENIZER)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    out = tmp_path / "run"
    given = command(tmp_path / "model", "--model-option", "fsdp=true", "--no-html", "--out", str(out))
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *given],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=900) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert all("share 0.5" in errors for _, errors in said)
    assert said[1][0] == ""

    model = kosmos(str(tmp_path / "model"), device="cpu")
    tasks = load_tasks(TASKS, Source())
    evaluate(model, tasks, shots=(0, 1), limit=2, out=tmp_path / "alone")
    _, alone = load_folder(tmp_path / "alone")
    lines = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == alone.answered == 12
    for line in lines:
        record = alone.record(SettingKey(line["task"], line["shots"]), line["id"])
        assert record is not None and (line["prompt"], line["error"]) == (record.prompt, None)
        for found, output in zip(line["outputs"], record.outputs, strict=True):
            _same(found, output)
    assert json.loads((out / "run.json").read_text())["config"]["model_fingerprint"] == model.fingerprint


def _same(found: dict[str, Any], output: Any) -> None:
    if "text" in found:
        assert found["text"] == output.text
        assert found["logprob"] == pytest.approx(output.logprob, abs=1e-4)
    else:
        assert found["logprobs"] == pytest.approx(list(output.logprobs), abs=1e-4)


def test_one_process_alone_is_told_how_to_start() -> None:
    with pytest.raises(ModelError, match="fsdp=true spreads a model over several processes; start by torchrun"):
        kosmos_nano(device="cpu", fsdp=True)
