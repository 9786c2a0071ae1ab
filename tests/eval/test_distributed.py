"""Two processes train together: all evaluate, one reports, and the scores are those of one process."""

import os
import subprocess
import sys

SCRIPT = """
import os, sys
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from kosmos_eval import Completion, Generate, Model, Prompt, Sample, Score, Task
from kosmos_eval.hook import EvalHook


class Doubles(Task):
    def samples(self):
        return [Sample(f"t{i}", Prompt(f"{i}"), str(2 * i)) for i in range(9)]

    def examples(self):
        return self.samples()

    def requests(self, sample, shots):
        return [Generate(sample.prompt)]

    def score(self, sample, outputs):
        return Score({"accuracy": float(outputs[0].text == sample.target)})


@dataclass
class Doubling(Model):
    module: nn.Module
    broken: bool = False
    name: str = "doubling"
    fingerprint: str = "0"

    def fits(self, request):
        return True

    def answers(self, requests):
        seen.append(len(requests))
        if self.broken:
            raise RuntimeError("out of order")
        self.module(torch.rand(len(requests), 4))  # under FSDP this waits for the other rank
        for index, request in enumerate(requests):
            number = int(request.prompt.text())
            yield index, Completion(str(2 * number if number < 6 else 0))


def evaluate(module, wrap=Doubling, **options):
    seen.clear()
    hook = EvalHook({"doubles": Doubles()}, every=1, **options, wrap=wrap, csv=sys.argv[1], log=said.append)
    hook(1, module)
    return hook


rank, seen, said = int(os.fork() == 0), [], []  # what takes long, the imports, has been done once
distributed.init_process_group("gloo", f"file://{sys.argv[2]}", rank=rank, world_size=2)

hook = evaluate(nn.parallel.DistributedDataParallel(nn.Linear(4, 1)))
assert seen == [5 - rank], seen  # nine samples, dealt out
(entry,) = hook.history
assert (entry.n, round(entry.score, 2)) == (9, 66.67), entry
assert bool(said) == (rank == 0)
hook = evaluate(nn.Linear(4, 1), budget="60s")
assert seen == ([1, 4], [4])[rank], seen  # parts of 1 and 8, each dealt out
assert hook.history == [entry]

sharded = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
fully_shard(sharded, mesh=init_device_mesh("cpu", (2,)))
hook = evaluate(sharded)
assert seen == [9], seen  # every rank, in step
assert hook.history == [entry]
assert sharded.training

hook = evaluate(nn.Linear(4, 1), lambda module: Doubling(module, broken=rank == 1))
assert len(hook.errors) == 1 and "out of order" in hook.errors[0]
distributed.barrier()
distributed.destroy_process_group()
if rank == 0:
    assert os.wait()[1] == 0
    print("both are done", flush=True)
os._exit(0)  # tidying up all of torch would take longer than the test
"""


def test_two_processes_give_the_scores_of_one(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "scores.csv", tmp_path / "meeting"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout == "both are done\n", done.stderr
    assert (tmp_path / "scores.csv").read_text().count("doubles") == 1
