"""The adapter for transformers against lmms-eval 0.7.3 and lm-evaluation-harness 0.4.13: same model, same questions.

The peers want an older transformers, so they live in a Python of their own, named by an environment variable:

    python3 -m venv PEERS
    PEERS/bin/pip install torch 'transformers==4.57.6' 'datasets>=4,<5' lm-eval==0.4.13 lmms-eval==0.7.3 accelerate zss
    KOSMOS_EVAL_PEERS=PEERS python -m benchmarks.peers

Measured are CPU seconds in one thread: of the loop over 200 questions, and of the whole process from its start. Neither
peer shows images in demonstrations, so these are part of the questions. Texts have to be the same.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import shapes
from benchmarks.timing import Race, one_thread, timed

ROOT = Path(__file__).resolve().parents[1]
COUNT, SHOTS, BATCH = 200, (0, 4), 8

LMMS = """\
task: shapes_{shots}
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: generate_until
doc_to_visual: !function reading.pictures
doc_to_messages: !function reading.messages
doc_to_text: !function reading.text
doc_to_target: answer
generation_kwargs: {{until: ["\\n"], max_new_tokens: 10, do_sample: false, temperature: 0}}
process_results: !function reading.marks
metric_list: [{{metric: accuracy, aggregation: mean, higher_is_better: true}}]
"""
LM = """\
task: shapes_{shots}
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: generate_until
doc_to_image: !function reading.pictures
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 10, do_sample: false}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
num_fewshot: 0
"""
READING = """\
def pictures(row):
    return [picture.convert("RGB") for picture in row["pictures"]]


def text(row, lmms_eval_specific_kwargs=None):
    return row["prompt"]


def messages(row, lmms_eval_specific_kwargs=None):
    shown, parts = iter(pictures(row)), []
    for number, words in enumerate(row["prompt"].split("<image>")):
        if number:
            parts.append({"type": "image", "url": next(shown)})
        if words:
            parts.append({"type": "text", "text": words})
    return [{"role": "user", "content": parts}]


def marks(row, results):
    return {"accuracy": float(results[0].strip() == row["answer"])}
"""


def prepare(peers: Path, folder: Path) -> None:
    """Write models, questions and both peers' task files."""
    from datasets import Dataset, Features, Image, List, Value

    columns = Features(id=Value("string"), prompt=Value("string"), pictures=List(Image()), answer=Value("string"))
    for size in ("tiny", "small"):
        run([peers / "bin" / "python", "-m", "benchmarks.llava", size, folder / size])
    for shots in SHOTS:
        data = folder / f"shapes_{shots}.parquet"
        rows = [
            row | {"pictures": [{"bytes": picture, "path": None} for picture in row["pictures"]]}
            for row in shapes.rows(COUNT, shots)
        ]
        Dataset.from_list(rows, features=columns).to_parquet(data)
        for kind, form in (("lmms", LMMS), ("lm", LM)):
            (folder / kind).mkdir(exist_ok=True)
            (folder / kind / "reading.py").write_text(READING)
            (folder / kind / f"shapes_{shots}.yaml").write_text(form.format(shots=shots, data=data))


def run(command: Sequence[str | Path]) -> float:
    """Run a process in one thread and without a network; gives its CPU seconds."""
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"), "1")
    single = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, **offline, **single, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command[:4]))} failed:\n{done.stderr[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def lmms(peers: Path, folder: Path, size: str, shots: int) -> tuple[float, float, dict[str, str]]:
    """CPU seconds of lmms-eval's process and of its loop, and its texts by question."""
    times = folder / "times.json"
    whole = run(
        [
            *(peers / "bin" / "python", "-m", "benchmarks.peer_lmms", times, "--model", "huggingface"),
            *("--model_args", f"pretrained={folder / size},device_map=", "--tasks", f"shapes_{shots}"),
            *("--include_path", folder / "lmms", "--batch_size", str(BATCH), "--device", "cpu"),
            *("--output_path", folder / "lmms_out"),
        ]
    )
    found = json.loads(times.read_text())
    return whole, found["loop"], found["texts"]


def lm(peers: Path, folder: Path, size: str, shots: int) -> float:
    """CPU seconds of lm-evaluation-harness' process."""
    return run(
        [
            *(peers / "bin" / "python", "-m", "lm_eval", "--model", "hf-multimodal"),
            *("--model_args", f"pretrained={folder / size},dtype=float32", "--tasks", f"shapes_{shots}"),
            *("--include_path", folder / "lm", "--batch_size", str(BATCH), "--device", "cpu"),
        ]
    )


def our_process(folder: Path, size: str, shots: int) -> float:
    """CPU seconds of `kosmos-eval run`."""
    return run(
        [
            *(sys.executable, "-m", "kosmos_eval", "run", "--model", f"hf:{folder / size}", "--device", "cpu"),
            *("--model-option", "chat_template=none", "--task-file", ROOT / "benchmarks" / "shapes_task.py"),
            *("--task-option", f"shapes.shown={shots}", "--data", folder, "--overwrite", "--no-html"),
            *("--out", folder / f"run_{size}_{shots}"),
        ]
    )


def our_loop(folder: Path, size: str, shots: int) -> tuple[float, dict[str, str]]:
    """CPU seconds of our loop, and our texts by question."""
    from kosmos_eval.models.hf.model import load
    from kosmos_eval.request import Completion, Generate

    model = load(str(folder / size), device="cpu", chat_template="none", batch_size=BATCH)
    rows = shapes.rows(COUNT, shots)
    requests = [Generate(shapes.prompt(row), 10, stop=("\n",)) for row in rows]
    seconds, found = timed(lambda: dict(model.answers(requests)))
    return seconds, {rows[index]["id"]: out.text for index, out in found.items() if isinstance(out, Completion)}


def compare(peers: Path, folder: Path, *, rounds: int, whole: bool) -> None:
    """Print the ratio of the loops, and where asked of the whole processes."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        seconds, texts = our_loop(folder, "small", 4)
        _, loop, expected = lmms(peers, folder, "small", 4)
        same = sum(texts[name].split("\n")[0].strip() == text.split("\n")[0].strip() for name, text in expected.items())
        print(f"{same} of {COUNT} texts are the same")
        assert same == COUNT, {name: (texts[name], text) for name, text in expected.items() if texts[name] != text}
        ours.append(seconds)
        theirs.append(loop)
    print(f"small, 4 shots, loop, lmms-eval / ours            {Race(ours, theirs)}")
    if whole:
        runs = [(our_process(folder, "tiny", 0), lmms(peers, folder, "tiny", 0)[0], lm(peers, folder, "tiny", 0))]
        own, first, second = (list(each) for each in zip(*runs, strict=True))
        print(f"tiny, 0 shots, whole process, lmms-eval / ours    {Race(own, first)}")
        print(f"tiny, 0 shots, whole process, lm-eval / ours      {Race(own, second)}")


def main() -> None:
    """Measure both claims, or say what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where models and questions are kept; default: nowhere")
    parser.add_argument("--whole", action=argparse.BooleanOptionalAction, default=True, help="whole processes too")
    asked = parser.parse_args()
    if "KOSMOS_EVAL_PEERS" not in os.environ:
        print("skipped: KOSMOS_EVAL_PEERS names no Python environment with lmms-eval and lm-eval")
        return
    peers = Path(os.environ["KOSMOS_EVAL_PEERS"]).resolve()
    one_thread()
    with TemporaryDirectory() as made:
        folder = (asked.folder or Path(made)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "shapes_4.parquet").exists():
            prepare(peers, folder)
        compare(peers, folder, rounds=asked.rounds, whole=asked.whole)


if __name__ == "__main__":
    main()
