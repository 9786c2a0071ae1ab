import shutil

import pytest
from typer.testing import CliRunner

from kosmos_eval.analysis.saved_run import open_run
from kosmos_eval.cli.app import app
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.report import side_by_side
from tests.eval.test_compare import ran  # noqa: F401 - the fixture: runs of a script on twelve pictures


def test_answers_of_runs_stand_next_to_each_other(ran, tmp_path):  # noqa: F811
    runs = [open_run(ran("a", "blue")), open_run(ran("b", "<b>red</b>", limit=5))]
    page = side_by_side.page(runs)
    assert "<h2>toy, 0 shots</h2>" in page
    assert page.count("<td>blue<br><small>accuracy") == 12
    assert page.count("&lt;b&gt;red&lt;/b&gt;") == 5 + 3  # title, heading and column name the model
    assert page.count("<small>not asked</small>") == 7
    assert page.count("data:image/png;base64,") == 12
    assert "asked different things" not in page


def test_a_page_is_cut_where_its_limit_says(ran):  # noqa: F811
    page = side_by_side.page([open_run(ran("a", "blue"))], tasks=["toy"], limit=2)
    assert page.count("<td>blue") == 2
    assert "and 10 more" in page


def test_samples_that_were_asked_otherwise_are_marked(ran):  # noqa: F811
    runs = [open_run(ran("a", "blue", shots=(2,))), open_run(ran("b", "red", shots=(2,), seed=1))]
    assert "asked different things" in side_by_side.page(runs)


def test_a_task_that_the_first_run_has_not_is_named(ran):  # noqa: F811
    for tasks in (["vqav2"], ["toy", "vqav2"]):
        with pytest.raises(KosmosEvalError, match=r"has no task vqav2; it has toy$"):
            side_by_side.page([open_run(ran("a", "blue"))], tasks=tasks, limit=1)


def test_the_command_writes_the_page_of_several_runs(ran, tmp_path):  # noqa: F811
    runs = [str(ran("a", "blue")), str(ran("b", "red")), str(ran("c", "green"))]
    path = tmp_path / "new" / "page.html"
    written = CliRunner().invoke(app, ["compare", "--html", str(path), *runs])
    assert written.exit_code == 0
    assert path.read_text().startswith("<!doctype html>")
    refused = CliRunner().invoke(app, ["compare", "--html", str(tmp_path), *runs])
    assert isinstance(refused.exception, KosmosEvalError)
    single = CliRunner().invoke(app, ["compare", "--html", str(path), runs[0]])
    assert str(single.exception) == "expected two runs, or with --html alone two or more; found 1"


def test_a_page_without_the_data_says_why_and_shows_the_answers(ran, tmp_path):  # noqa: F811
    runs = [open_run(ran("a", "blue"))]
    shutil.rmtree(tmp_path / "data")
    page = side_by_side.page(runs)
    assert "Prompts and images are not shown: " in page and "data:image" not in page
    assert page.count("<td>blue<br><small>accuracy") == 12
