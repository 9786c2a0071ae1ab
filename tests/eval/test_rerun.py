"""A run repeated from its folder: what counts as the same, and what is said where it is not."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from kosmos_eval import Completion, Likelihoods
from kosmos_eval.analysis.rerun import compare_repeated, describe
from kosmos_eval.analysis.saved_run import open_run
from kosmos_eval.evaluation.run_config import load_manifest
from kosmos_eval.evaluation.variant import SettingKey, Variant
from kosmos_eval.registry import load_file

TOY = str(Path(__file__).parents[1] / "fixtures" / "toy.py")


def command(monkeypatch, capsys, *args):
    from kosmos_eval.cli.app import main

    monkeypatch.setattr(sys, "argv", ["kosmos-eval", *map(str, args)])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr()
    return left.value.code or 0, said.out, said.err


@pytest.fixture
def ran(tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for number in range(6):
        PIL.Image.new("RGB", (8, 8), ("red", "blue")[number % 2]).save(data / f"{number}.png")
    rows = [{"id": str(n), "file": f"{n}.png", "colour": ("red", "blue")[n % 2]} for n in range(6)]
    (data / "rows.json").write_text(json.dumps({"rows": rows}))
    files = ("--task-file", TOY, "--model", "scripted:red", "--data", data)
    variants = ("--shots", "0,1", "--seeds", 2, "--images", "blank", "--no-html")
    code, _, err = command(monkeypatch, capsys, "run", *files, *variants, "--out", tmp_path / "run")
    assert code == 0, err
    return tmp_path / "run"


def test_a_run_repeats_in_every_variant_it_was_asked_in_and_says_that_it_is_the_same(ran, monkeypatch, capsys):
    code, out, err = command(monkeypatch, capsys, "rerun", ran, "--task-file", TOY)
    assert code == 0, err
    assert "toy, 1 shots, images=blank,seed=1: 6 of 6 samples are the same" in out
    assert "the same: 18 samples, every row" in out
    again = ran.with_name("run-again")
    assert (again / "scores.csv").read_text() == (ran / "scores.csv").read_text()


def test_other_data_are_not_the_same_and_the_samples_are_named(ran, monkeypatch, capsys):
    PIL.Image.new("RGB", (9, 9), "red").save(ran.parent / "data" / "0.png")
    code, out, err = command(monkeypatch, capsys, "rerun", ran, "--task-file", TOY)
    assert code == 2
    assert "0: the prompt has changed" in out and "the same: " not in out
    assert "run-again is not the same as" in err and "of 3 parts differ" in err


def test_a_repetition_is_asked_again_when_it_was_finished(ran, monkeypatch, capsys):
    command(monkeypatch, capsys, "rerun", ran, "--task-file", TOY)
    samples = ran.with_name("run-again") / "samples.jsonl"
    samples.write_text(samples.read_text().replace('"text": "red"', '"text": "other"'))
    code, _, err = command(monkeypatch, capsys, "rerun", ran, "--task-file", TOY)
    assert code == 2 and "run-again holds a finished run; choose another --out, or --overwrite to discard it" in err
    code, out, _ = command(monkeypatch, capsys, "rerun", ran, "--task-file", TOY, "--overwrite")
    assert code == 0 and "the same: 18 samples" in out


KEY = SettingKey("toy", 0, Variant(images="blank"))


def differing(ran, then, now):
    """What is said where one sample had other outputs the second time."""
    saved = open_run(ran)
    first, second = with_record(saved, **then), with_record(saved, **now)
    found = compare_repeated(first, second)
    return found, list(describe(found, first, second))


def with_record(saved, **values):
    """A run with other values of the sample 3 in one setting."""
    setting = saved.setting(KEY)
    records = tuple(replace(one, **values) if one.id == "3" else one for one in setting.records)
    settings = tuple(replace(one, records=records) if one is setting else one for one in saved.settings)
    return replace(saved, settings=settings)


def likelihoods(*logprobs):
    return Likelihoods(logprobs, (1,) * len(logprobs), (False,) * len(logprobs))


@pytest.mark.parametrize(
    ("then", "now", "same"),
    [
        (likelihoods(-1.0, -2.0), likelihoods(-1.00009, -2.0), True),
        (likelihoods(-1.0, -2.0), likelihoods(-1.001, -2.0), False),
        (likelihoods(-1.0, float("-inf")), likelihoods(-1.0, float("-inf")), True),
        (likelihoods(-1.0), likelihoods(-1.0, -2.0), False),
        (Completion("a cat", logprob=-3.0), Completion("a dog", logprob=-3.00001), True),
        (Completion("a cat", logprob=-3.0), Completion("a dog", logprob=-3.1), False),
        (Completion("a cat"), Completion("a dog"), False),
        (Completion("a cat", logprob=-3.0), Completion("a cat", logprob=-3.1), False),
        (Completion("a cat"), likelihoods(-1.0), False),
    ],
)
def test_answers_are_the_same_within_a_tolerance_and_ties_may_flip(ran, then, now, same):
    found, _ = differing(ran, {"outputs": (then,)}, {"outputs": (now,)})
    assert [twice.same for twice in found] == [same, True, True]


def test_what_differs_is_said_with_then_and_now(ran):
    _, lines = differing(ran, {"outputs": (Completion("a cat"),)}, {"outputs": (Completion("a dog"),)})
    assert "  3: 'a cat', now 'a dog'" in lines
    assert "toy, 0 shots, images=blank: 5 of 6 samples are the same, log-probabilities within 0" in lines
    _, lines = differing(ran, {}, {"error": "gone", "score": None, "outputs": ()})
    assert "  3: answered, now gone" in lines


def test_a_row_that_differs_is_said_and_a_sample_of_one_run_only_is_named(ran):
    first, second = open_run(ran), open_run(ran)
    samples = ran / "samples.jsonl"
    lines = samples.read_text().splitlines(keepends=True)
    gone = [line for line in lines if '"shots": 0' in line and '"id": "3"' in line]
    assert len(gone) == 1
    samples.write_text("".join(line for line in lines if line not in gone))
    load_file(Path(TOY))
    second = open_run(ran)
    lines = list(describe(compare_repeated(first, second), first, second))
    assert any(line.startswith("  accuracy: 50.0000, now ") for line in lines)
    assert "  3: was asked the first time only" in lines


def test_how_a_run_was_made_is_recorded_and_compared(ran):
    first = open_run(ran)
    manifest, made = first.manifest, first.manifest.environment
    assert made.versions and made.hardware and made.command and manifest.settings and manifest.started
    assert manifest.finished
    other = replace(manifest, environment=replace(made, versions={**made.versions, "torch": "0.1"}))
    lines = list(describe([], first, replace(first, manifest=other)))
    assert any(line.startswith("torch: ") and line.endswith(", now 0.1") for line in lines)


@pytest.mark.parametrize(("kind", "said"), [("answers", "kosmos-eval score"), ("live", "kosmos_eval.evaluate(model")])
def test_runs_that_asked_no_model_by_its_name_are_repeated_otherwise(ran, monkeypatch, capsys, kind, said):
    manifest = load_manifest(ran)
    (ran / "run.json").write_text(replace(manifest, config=replace(manifest.config, kind=kind)).dumps())
    code, _, err = command(monkeypatch, capsys, "rerun", ran)
    assert code == 2 and said in err
