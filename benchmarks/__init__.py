"""The engine's claims as scripts: `python -m benchmarks.NAME` measures both sides and prints how they compare."""
