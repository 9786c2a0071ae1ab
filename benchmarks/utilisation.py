"""How well a run used its device: the operations of its ``profile.json`` against those of a large matrix product."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

SIDE = 2048


def matmul_rate(device: str, dtype: str) -> float:
    """Return the operations a second of a large product of matrices, the best of six."""
    side = SIDE if device != "cpu" else SIDE // 2
    factor = torch.randn(side, side, device=device).to(getattr(torch, dtype))
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        product = factor @ factor
        if product.device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def main() -> None:
    """Print the utilisation of runs that were made with --profile on this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default=None)
    asked = parser.parse_args()
    can = matmul_rate(asked.device, asked.dtype or ("float32" if asked.device == "cpu" else "bfloat16"))
    for run in asked.runs:
        does = json.loads((run / "profile.json").read_text())["flops_per_second"]
        print(f"{run}: {does / 1e9:,.1f} of {can / 1e9:,.1f} G/s, {does / can:.0%}")


if __name__ == "__main__":
    main()
