import io

import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from kosmos_eval.analysis.compare import Compared
from kosmos_eval.cli import run
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.evaluation import suites
from kosmos_eval.metrics.paired import paired
from kosmos_tasks import transfer


def row(task, metric, first, second, *, unit="", shots=0, variant=""):
    difference = paired(first, second, groups=list(map(str, range(len(first)))), seed=0)
    means = sum(first) / len(first), sum(second) / len(second)
    return Compared(task, shots, metric, unit, len(first), 0, 0, *means, difference, 1.0, (), variant)


def test_differences_stand_beside_the_papers_in_its_units():
    half, more = [0.0, 1.0] * 10, [1.0, 1.0, 0.0, 1.0] * 5
    captions, questions = beside = transfer.beside_the_paper(
        (
            row("flickr30k", "CIDEr", half, more),
            row("vqav2", "vqa_accuracy", half, more, unit="%"),
            row("vqav2", "vqa_accuracy", half, more, unit="%", variant="images=blank"),
            row("new_words", "accuracy", half, more, unit="%"),
        ),
        before=transfer.UNTUNED,
    )
    assert len(beside) == 2
    assert captions.startswith(
        "flickr30k, 0 shots, CIDEr: here +25.0; in the paper +1.9, KOSMOS-1 without LOIT 65.2 to 67.1"
    )
    assert questions.startswith("vqav2, 0 shots, vqa_accuracy: here +25.0; in the paper +4.3, ")


def test_what_the_paper_does_not_have_is_said():
    rows = (row("new_words", "accuracy", [0.0, 1.0], [1.0, 1.0]),)
    assert transfer.beside_the_paper(rows, before="LLM") == ["the paper has no numbers of both models for these tasks"]


def test_the_suite_is_what_the_paper_compares():
    assert suites.members("kosmos1-transfer")[1] == ["coco_caption", "flickr30k", "raven_iq", "vizwiz", "vqav2"]


@pytest.fixture
def command(monkeypatch):
    app = Typer()
    app.command()(transfer.command)
    printed = io.StringIO()
    monkeypatch.setattr(run, "console", Console(file=printed, width=140))
    monkeypatch.setattr(run, "errors", Console(file=io.StringIO()))
    return lambda *options: (CliRunner().invoke(app, list(options)).exception, printed.getvalue())


def test_both_models_run_and_are_compared(command, tmp_path):
    options = ("scripted:yes", "scripted:no", "--limit", "4", "--out", str(tmp_path))
    error, printed = command(*options)
    assert error is None
    assert {path.name for path in tmp_path.iterdir()} == {"before", "after"}
    assert "A: scripted:yes" in printed
    assert "vqav2, 0 shots, vqa_accuracy: here " in printed
    assert printed.count("in the paper") == 5


def test_a_model_that_the_paper_does_not_have_is_refused_before_anything_runs(command, tmp_path):
    error, _ = command("scripted:yes", "scripted:no", "--paper-before", "GPT-9", "--out", str(tmp_path / "new"))
    assert isinstance(error, KosmosEvalError)
    assert "it has " in str(error)
    assert not (tmp_path / "new").exists()
