"""Training by two processes, as torchrun starts them: gloo on a CPU."""

import csv
import io
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from kosmos_eval.errors import KosmosEvalError
from kosmos_model.data.batches import in_step, micro_batch
from kosmos_model.data.datasets import Dataset
from kosmos_model.data.documents import Document
from kosmos_model.modeling import checkpoint
from kosmos_model.modeling.config import PRESETS
from kosmos_model.modeling.distributed import Ranks, full_parameters, full_tensor, process_group, shard_like
from kosmos_model.modeling.tokenizer import BOS, EOS, NANO, PAD
from kosmos_model.training import checkpoints
from kosmos_model.training.recipes import Recipe
from kosmos_model.training.setup import Options
from kosmos_model.training.train import train
from tests.model.conftest import NARROW

LESSONS = "kosmos_tasks.lessons.scenes"
DATASETS = (
    Dataset("captions", f"{LESSONS}:captions", tokens=60),
    Dataset("text", f"{LESSONS}:sentences", tokens=30, after=1),
)
RECIPE = Recipe(
    "tiny",
    "tiny",
    NANO,
    2,
    DATASETS,
    learning_rate=1e-2,
    warmup=2,
    context_length=128,
    micro_batch_tokens=60,
    save_every=1,
)
SHARDED = replace(
    RECIPE,
    shard=True,
    checkpoint_activations=True,
    evaluate_every=2,
    evaluate_limit=3,
    evaluate={"rendered_sst2": (0,)},
)
MUON = replace(RECIPE, muon=2.0)
CLOSE = 1e-6
"""How much the losses of many processes may differ from those of one, relatively: sums are made in another order."""


def run(recipe: Recipe, folder: Path, *, steps: int) -> None:
    """Train on a CPU, in silence."""
    PRESETS["tiny"] = NARROW
    train(recipe, folder, Options(steps=steps, device="cpu", workers=0), console=Console(file=io.StringIO()))


def main(out: Path) -> None:
    """What each of two processes does: copies, then shards, of which the second step goes on from the first."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    run(RECIPE, out / "copied", steps=2)
    run(MUON, out / "copied muon", steps=2)
    run(SHARDED, out / "sharded", steps=1)
    run(SHARDED, out / "sharded", steps=2)
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The runs of one process and of two."""
    out = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, out],
            env={
                **common,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": "2",
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        run(RECIPE, out / "alone", steps=2)
        run(MUON, out / "alone muon", steps=2)
        for process in processes:
            _, err = process.communicate(timeout=1200)
            assert process.returncode == 0, err
    finally:
        del PRESETS["tiny"]
        for process in processes:
            process.kill()
            process.communicate()
    return out


def losses(folder):
    with (folder / "losses.csv").open(newline="") as file:
        return [[float(row[name] or "nan") for name in ("norm", "captions", "text")] for row in csv.DictReader(file)]


@pytest.mark.parametrize(("one", "two"), [("alone", "copied"), ("alone", "sharded"), ("alone muon", "copied muon")])
def test_two_processes_lose_what_one_does(folders, one, two):
    one, two = (torch.tensor(losses(folders / run), dtype=torch.float64) for run in (one, two))
    assert one.shape == (2, 3)
    torch.testing.assert_close(two[:, 1:], one[:, 1:], rtol=CLOSE, atol=0, equal_nan=True)
    torch.testing.assert_close(two[:, 0], one[:, 0], rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", ["copied", "sharded"])
@pytest.mark.parametrize("file", [checkpoint.WEIGHTS, checkpoints.OPTIMISER])
def test_two_processes_write_the_checkpoint_of_one(folders, name, file):
    one, two = (load_file(folders / run / "step-000002" / file) for run in ("alone", name))
    assert list(one) == list(two)
    for tensor in one:
        torch.testing.assert_close(two[tensor], one[tensor], rtol=2e-3, atol=2e-5)


def test_a_sharded_model_is_evaluated_and_is_a_model_like_any(folders):
    with (folders / "sharded" / "scores.csv").open(newline="") as file:
        assert [(row["step"], row["failed"], row["samples"]) for row in csv.DictReader(file)] == [
            (step, "0", "3") for step in "12"
        ]
    model, _ = checkpoint.load(folders / "sharded" / "model")
    assert model.config == NARROW


def test_ranks_in_step_get_as_many_parts_each_with_an_image():
    text = micro_batch([(Document("text", (BOS, 9, EOS), (0.0, 1.0, 1.0)), 1.0, 0)], image_size=16)
    first, second = in_step([text], 2, image_size=16)
    assert first.tokens.equal(text.tokens)
    assert len(first.pixels) == len(second.pixels) == 1
    assert not len(first.shown)
    assert not second.weights.any()
    assert PAD not in second.tokens


def test_alone_nothing_is_shared():
    with process_group("cpu") as ranks:
        assert (ranks.rank, ranks.ranks, ranks.first, ranks.all_reduce_max(7)) == (0, 1, True, 7)
    weight = torch.nn.Linear(2, 2).weight
    assert full_tensor(weight) is weight
    assert shard_like(torch.ones(2), like=weight).equal(torch.ones(2))
    with full_parameters(torch.nn.Linear(2, 2)):
        pass


def test_a_device_that_is_not_there_is_named():
    with (
        pytest.raises(KosmosEvalError, match="device is 'nowhere'; expected auto, cpu, cuda or cuda:N"),
        process_group("nowhere"),
    ):
        pass


def test_only_the_first_rank_speaks():
    assert [Ranks(rank, 2, torch.device("cpu")).first for rank in (0, 1)] == [True, False]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
