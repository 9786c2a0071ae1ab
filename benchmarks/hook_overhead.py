"""What an evaluation inside a training costs: seconds of its budget, and memory after it.

    python -m benchmarks.hook_overhead --budget 20 --evaluations 4

Trains the bundled model on random tokens, one step between evaluations. A budget is kept where every evaluation, the
first one too, takes between 70 and 110 % of it, on a machine with nothing else to do. Processor time beside it tells a
slow machine from wrong sizes: from the third evaluation on, the same samples take the same.
"""

from __future__ import annotations

import argparse
import gc
import resource
import time
from pathlib import Path

import torch

from kosmos_eval.evaluation.setup import load_tasks
from kosmos_eval.hook import EvalHook
from kosmos_eval.source import Source
from kosmos_model.adapters.kosmos import KosmosModel, kosmos_nano, live
from kosmos_model.modeling.kosmos import Kosmos


def resident() -> float:
    """Megabytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def tensors() -> float:
    """Megabytes that tensors hold."""
    gc.collect()
    held = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in gc.get_objects() if _is(one)}
    return float(sum(held.values())) / 1e6


def _is(one: object) -> bool:
    return issubclass(type(one), torch.Tensor)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=20)
    parser.add_argument("--evaluations", type=int, default=4)
    parser.add_argument("--tasks", default="vqav2,rendered_sst2,imagenet")
    given = parser.parse_args()
    shipped = kosmos_nano(device="cpu", dtype="float32")
    network, tokenizer = shipped.model, shipped.tokenizer

    def wrap(module: Kosmos) -> KosmosModel:
        return live(module, tokenizer)  # type: ignore[arg-type]

    adam = torch.optim.AdamW(network.parameters(), lr=1e-4)
    said: list[str] = []
    tasks = load_tasks(given.tasks.split(","), Source())
    shots = (0, 4, 8)  # more samples than fit
    hook = EvalHook(tasks, every=1, budget=given.budget, shots=shots, wrap=wrap, strict=True, log=said.append)
    print(f"budget {given.budget:.0f} s; aimed at 90 %, kept between 70 and 110 %")
    for step in range(given.evaluations):
        tokens = torch.randint(8, len(tokenizer), (4, 64))
        network.train()
        torch.autograd.backward(network.loss(tokens))
        adam.step()
        adam.zero_grad()
        before, held = resident(), tensors()
        began, worked = time.monotonic(), time.process_time()
        hook(step, network)
        took, work = time.monotonic() - began, time.process_time() - worked
        kept = 0.7 <= took / given.budget <= 1.1
        asked = sum({(entry.task, entry.shots): entry.samples for entry in hook.history if entry.step == step}.values())
        memory = f"tensors {held:.1f} -> {tensors():.1f} MB, process {before:.0f} -> {resident():.0f} MB"
        told = f"{took:5.1f} s ({work:.1f} s of processor), {asked} samples, {'kept' if kept else 'not kept'}"
        print(f"evaluation {step + 1}: {told}; {memory}", *(line for line in said if "in one go" in line), flush=True)
        said.clear()


if __name__ == "__main__":
    main()
