"""The documentation: every block of Python in it runs, every command in it exists, and it builds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from kosmos_eval import evaluate, registry
from kosmos_eval.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

pytestmark = pytest.mark.skipif(not PAGES[0].exists(), reason="documents are part of the source tree, not of the wheel")


def blocks(language):
    for page in filter(Path.exists, PAGES):
        for number, text in enumerate(re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.M)):
            yield pytest.param(text, id=f"{page.name}-{number}")


@pytest.mark.parametrize("text", list(blocks("python")))
def test_python_runs_as_it_stands(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there = dict(registry.TASKS)
    try:
        exec(compile(text, "<documentation>", "exec"), {"__name__": "documentation"})
    finally:
        registry.TASKS.clear()
        registry.TASKS.update(there)


@pytest.mark.parametrize("text", list(blocks("sh")))
def test_commands_and_their_options_exist(text):
    known = dict(typer.main.get_command(app).commands)
    for name in registry.names("command"):
        own = typer.Typer(add_completion=False)
        own.command(name)(registry.named("command", name))
        known[name] = typer.main.get_command(own)
    lines = [line.split(" #")[0] for line in text.splitlines()]
    for line in lines:
        for call in re.split(r" && | & ", line):
            if match := re.search(r"\bkosmos[-_]eval ([a-z-]+)(.*)", call):
                name, rest = match.groups()
                assert name in known, line
                options = {option for param in known[name].params for option in (*param.opts, *param.secondary_opts)}
                given = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest))
                assert given <= options | {"--help"}, line


def test_the_first_task_runs_zero_and_two_shot(tmp_path):
    (text,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL | re.M)
    (tmp_path / "dots.py").write_text(text)
    registry.load_file(tmp_path / "dots.py")
    try:
        report = evaluate("scripted:3", ["dots"], shots=(0, 2))
    finally:
        del registry.TASKS["dots"]
    assert [(row.metric, row.score, row.n) for row in report.rows] == [("accuracy", 12.5, 8)] * 2


def test_the_documentation_builds(tmp_path):
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--overwrite" in (tmp_path / "site" / "commands.html").read_text()
