"""Six language tasks against lm-evaluation-harness 0.4.13: same model, same rows, log-likelihoods within 1e-4.

A GPT-2 of random weights reads the generated rows of each task and a few that are hard to write right, here from files
as their benchmarks release them, there as its data sets have them. The training side is one row twice, so that
whichever is drawn, the demonstration is the same. The likeliest choice and the marks of every item have to be the same
too. The peer lives in a Python of its own (`benchmarks.peers` says how to make it):

    KOSMOS_EVAL_PEERS=PEERS python -m benchmarks.lm_eval_agreement
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.peers import run
from benchmarks.timing import one_thread
from kosmos_tasks.cb import LABELS
from kosmos_tasks.synthetic import everyday

SHOTS, BAR = (0, 1), 1e-4
Row = dict[str, Any]


@dataclass(frozen=True)
class Benchmark:
    """How the rows of a task are released, and what else than the generated ones is asked.

    Args:
        theirs: the peer's task file.
        official: the released file of the evaluated side, and that of the training side.
        hard: rows that are easily written wrong.
        written: a row as the released file has it.
    """

    theirs: str
    official: tuple[str, str]
    hard: Sequence[Row]
    written: Callable[[Row], Row] = dict


BENCHMARKS = {
    "hellaswag": Benchmark(
        "hellaswag/hellaswag.yaml",
        ("hellaswag/hellaswag_val.jsonl", "hellaswag/hellaswag_train.jsonl"),
        [
            {
                "activity_label": "Wash windows",
                "ctx_a": "[header] How to wash windows [title] Get ready.  [step] Take a cloth.",
                "ctx_b": "",
                "endings": ["[substeps] Wipe  twice.", " Sing a song. ", "Café, naïve: 漢字.", "Stop"],
                "label": 2,
            },
            {
                "activity_label": "Row",
                "ctx_a": "Two men have a boat.",
                "ctx_b": "one of THEM",
                "endings": ["rows.", "is a boat, it seems.", "rows, [title] then rests.", "eats it"],
                "label": 0,
            },
        ],
    ),
    "piqa": Benchmark(
        "piqa/piqa.yaml",
        ("piqa/valid.jsonl", "piqa/train.jsonl"),
        [
            {"goal": 'Fold a "map"', "sol1": "Along its folds.", "sol2": "Into\na ball, then again 🙂", "label": 0},
            {"goal": "boil an egg ", "sol1": "water", "sol2": "ice", "label": 1},
        ],
        lambda row: {name: cell for name, cell in row.items() if name != "label"},
    ),
    "winogrande": Benchmark(
        "winogrande/default.yaml",
        ("winogrande/dev.jsonl", "winogrande/train_xl.jsonl"),
        [
            {"qID": "A-1", "sentence": "_ met Bea's aunt.", "option1": "Ann", "option2": "Zoë", "answer": "2"},
            {
                "qID": "B-1",
                "sentence": "Al hit Bo , and _ 's  hat fell.",
                "option1": "Al",
                "option2": "Bo",
                "answer": "1",
            },
        ],
    ),
    "boolq": Benchmark(
        "super_glue/boolq/default.yaml",
        ("BoolQ/val.jsonl", "BoolQ/train.jsonl"),
        [{"passage": "Snow -- It {is} white.\nIt is cold – 0 °C.", "question": "is snow “warm”", "label": 0}],
        lambda row: row | {"label": bool(row["label"])},
    ),
    "cb": Benchmark(
        "super_glue/cb/default.yaml",
        ("CB/val.jsonl", "CB/train.jsonl"),
        [{"premise": "B: Uh-huh.\nA: I don't  think so.", "hypothesis": "it is so", "label": 1}],
        lambda row: row | {"label": LABELS[row["label"]]},
    ),
    "copa": Benchmark(
        "super_glue/copa/default.yaml",
        ("COPA/val.jsonl", "COPA/train.jsonl"),
        [{"premise": "It rained. ", "choice1": "I ran.", "choice2": "Élan.", "question": "effect", "label": 1}],
    ),
}
YAML = """\
include: {tasks}/{theirs}
task: agree_{name}
tag: null
dataset_path: json
dataset_name: null
dataset_kwargs: {{data_files: {{train: {folder}/{name}_train.jsonl, validation: {folder}/{name}_val.jsonl}}}}
"""


def prepare(peers: Path, folder: Path) -> None:
    """Write the model, the official files, the peer's data and its task files."""
    run([peers / "bin" / "python", "-m", "benchmarks.gpt2", folder / "gpt2"])
    tasks = next(peers.glob("lib/python*/site-packages/lm_eval/tasks"))
    theirs, ours = folder / "theirs", folder / "ours"
    theirs.mkdir(exist_ok=True)
    for name, benchmark in BENCHMARKS.items():
        generated = getattr(everyday, name)
        sides = ([*generated("test"), *benchmark.hard], [next(generated("train"))] * 2)
        for rows, side, official in zip(sides, ("val", "train"), benchmark.official, strict=True):
            _write(theirs / f"{name}_{side}.jsonl", rows)
            _write(ours / official, map(benchmark.written, rows))
            if name == "piqa":
                labels = (ours / official).with_name(f"{Path(official).stem}-labels.lst")
                labels.write_text("".join(f"{row['label']}\n" for row in rows))
        form = YAML.format(tasks=tasks, theirs=benchmark.theirs, name=name, folder=theirs)
        (theirs / f"{name}.yaml").write_text(form)


def _write(file: Path, rows: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def asked_there(peers: Path, folder: Path, shots: int) -> Mapping[str, Sequence[Row]]:
    """What the peer logs of every item, by task and in their order."""
    out = folder / f"out_{shots}"
    names = ",".join(f"agree_{name}" for name in BENCHMARKS)
    run(
        [
            *(peers / "bin" / "python", "-m", "lm_eval", "--model", "hf", "--batch_size", "8", "--device", "cpu"),
            *("--model_args", f"pretrained={folder / 'gpt2'},dtype=float32", "--tasks", names),
            *("--include_path", folder / "theirs", "--num_fewshot", str(shots)),
            *("--log_samples", "--output_path", out),
        ]
    )
    found = {}
    for name in BENCHMARKS:
        (file,) = out.rglob(f"samples_agree_{name}_*.jsonl")
        found[name] = sorted(map(json.loads, file.read_text().splitlines()), key=lambda item: item["doc_id"])
    return found


def asked_here(folder: Path) -> Callable[[str, int, int], tuple[list[float], Mapping[str, float]]]:
    """What gives the log-likelihoods and marks of an item by task, shots and place."""
    from kosmos_eval.evaluation.evaluator import evaluate_settings
    from kosmos_eval.evaluation.plan import plan
    from kosmos_eval.evaluation.run_folder import RunFolder
    from kosmos_eval.evaluation.setup import load_task
    from kosmos_eval.evaluation.variant import SettingKey
    from kosmos_eval.models.hf.model import load
    from kosmos_eval.request import Likelihoods
    from kosmos_eval.source import Source

    model = load(str(folder / "gpt2"), device="cpu", chat_template="none")
    tasks = {name: load_task(name, Source("data", folder / "ours")) for name in BENCHMARKS}
    ids = {name: [sample.id for sample in task.samples()] for name, task in tasks.items()}
    run = RunFolder()
    for _ in evaluate_settings(model, plan(tasks, shots=SHOTS), run):
        pass

    def item(name: str, shots: int, place: int) -> tuple[list[float], Mapping[str, float]]:
        record = run.record(SettingKey(name, shots), ids[name][place])
        if record is None or record.score is None:
            raise SystemExit(f"{name} {place} was not answered: {record}")
        outputs = (output for output in record.outputs if isinstance(output, Likelihoods))
        return [value for output in outputs for value in output.logprobs], record.score.values

    return item


def compare(peers: Path, folder: Path) -> bool:
    """Print a line for each task at each number of shots; whether all agree."""
    here, agreed = asked_here(folder), True
    print(f"{'task':<11}{'shots':>5}{'items':>6}{'largest difference':>20}  same choice  marks (ours = theirs)")
    for shots in SHOTS:
        for name, there in asked_there(peers, folder, shots).items():
            apart, same, marks = 0.0, 0, True
            means: dict[str, list[tuple[float, float]]] = {}
            for place, item in enumerate(there):
                own, own_marks = here(name, shots, place)
                other = [float(value) for value, _ in item["filtered_resps"]]
                apart = max(apart, *(abs(a - b) for a, b in zip(own, other, strict=True)))
                same += own.index(max(own)) == other.index(max(other))
                for mark, value in own_marks.items():
                    means.setdefault(mark, []).append((value, float(item[mark])))
                    marks &= value == float(item[mark])
            agreed &= apart < BAR and same == len(there) and marks
            said = ", ".join(
                f"{mark} {fmean(a for a, _ in pairs):.4f} {'=' if marks else '!='} {fmean(b for _, b in pairs):.4f}"
                for mark, pairs in means.items()
            )
            print(f"{name:<11}{shots:>5}{len(there):>6}{apart:>20.1e}  {same:>4} of {len(there):<4} {said}")
    return agreed


def main() -> None:
    """Compare, or say what is missing; exit 1 where anything differs."""
    if "KOSMOS_EVAL_PEERS" not in os.environ:
        print("skipped: KOSMOS_EVAL_PEERS names no Python environment with lm-eval")
        return
    one_thread()
    with TemporaryDirectory() as made:
        folder, peers = Path(made), Path(os.environ["KOSMOS_EVAL_PEERS"]).resolve()
        prepare(peers, folder)
        sys.exit(0 if compare(peers, folder) else 1)


if __name__ == "__main__":
    main()
