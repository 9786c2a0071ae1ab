import pytest
from typer.testing import CliRunner

from kosmos_eval.analysis.saved_run import open_run
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.report import side_by_side
from tests.eval.test_compare import ran  # noqa: F401 - the fixture: runs of a script on twelve pictures


def test_answers_of_runs_stand_next_to_each_other(ran, tmp_path):  # noqa: F811
    runs = [open_run(ran("a", "blue")), open_run(ran("b", "<b>red</b>", limit=5))]
    page = side_by_side.page(runs, tasks=(), limit=200)
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
    assert "asked different things" in side_by_side.page(runs, tasks=(), limit=200)


def test_a_task_that_no_run_has_is_named(ran):  # noqa: F811
    for tasks in (["vqav2"], ["toy", "vqav2"]):
        with pytest.raises(KosmosEvalError, match=r"has no task vqav2; it has toy$"):
            side_by_side.page([open_run(ran("a", "blue"))], tasks=tasks, limit=1)


def test_the_command_writes_the_page(ran, tmp_path):  # noqa: F811
    import typer

    app = typer.Typer()
    app.command()(side_by_side.command)
    written = CliRunner().invoke(app, [str(ran("a", "blue")), "--html", str(tmp_path / "new" / "page.html")])
    assert written.exit_code == 0
    assert (tmp_path / "new" / "page.html").read_text().startswith("<!doctype html>")
    refused = CliRunner().invoke(app, [str(tmp_path / "a"), "--html", str(tmp_path)])
    assert isinstance(refused.exception, KosmosEvalError)
