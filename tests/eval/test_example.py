"""The task that the README shows, run as its reader would run it."""

import json
import re
from pathlib import Path

import PIL.Image
import pytest

from kosmos_eval import evaluate
from kosmos_eval.evaluation.setup import load_task
from kosmos_eval.models.scripted import load
from kosmos_eval.registry import TASKS, load_file
from kosmos_eval.source import Source

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "textvqa.py"

pytestmark = pytest.mark.skipif(not EXAMPLE.exists(), reason="the example is part of the source tree, not of the wheel")


@pytest.fixture
def textvqa():
    load_file(EXAMPLE)
    yield
    del TASKS["textvqa"]


def official(folder, split, count):
    (folder / "train_images").mkdir(exist_ok=True)
    rows = []
    for number in range(count):
        PIL.Image.new("RGB", (9, 9), (number, 0, 0)).save(folder / "train_images" / f"{split}{number}.jpg")
        rows.append(
            {"question": f"what is {number}?", "image_id": f"{split}{number}", "answers": ["stop"] * 6 + ["go"] * 4}
        )
    (folder / f"TextVQA_0.5.1_{split}.json").write_text(json.dumps({"data": rows}))


def test_the_example_runs_zero_and_two_shot(textvqa, tmp_path):
    official(tmp_path, "val", 4)
    official(tmp_path, "train", 5)
    task = load_task("textvqa", Source("data", tmp_path))
    report = evaluate(load("go"), {"textvqa": task}, shots=(0, 2))
    assert [(row.metric, row.score, row.n) for row in report.rows] == [("vqa_accuracy", 100, 4)] * 2


def test_the_example_has_at_most_40_lines_and_the_readme_shows_exactly_it():
    source = EXAMPLE.read_text()
    assert len(source.splitlines()) <= 40
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert source in blocks
