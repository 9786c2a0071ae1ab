"""The rules of the house that a machine can check."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kosmos_eval
import kosmos_model
import kosmos_tasks

FOLDERS = [Path(package.__file__).parent for package in (kosmos_eval, kosmos_tasks, kosmos_model)]
MODULES = [path for folder in FOLDERS for path in sorted(folder.rglob("*.py"))]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_module_has_at_most_500_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


@pytest.mark.parametrize("path", [p for p in MODULES if "kosmos_eval" in p.parts], ids=lambda path: path.name)
def test_the_harness_imports_neither_tasks_nor_model(path):
    assert not [name for name in imported(path) if name.split(".")[0] in ("kosmos_tasks", "kosmos_model")]


@pytest.mark.parametrize("path", [p for p in MODULES if "kosmos_tasks" in p.parts], ids=lambda path: path.name)
def test_tasks_know_no_model(path):
    assert not [name for name in imported(path) if name.split(".")[0] in ("kosmos_model", "torch", "transformers")]


def test_no_module_is_a_drawer():
    assert not [path for path in MODULES if path.stem in ("utils", "util", "common", "base", "helpers", "misc")]


def test_no_module_unpickles():
    for path in MODULES:
        assert not [name for name in imported(path) if name in ("pickle", "dill", "cloudpickle", "joblib")], path


def test_importing_the_harness_brings_none_of_the_heavy_packages():
    heavy = ("torch", "torchscale", "datasets", "pandas", "scipy", "numpy", "transformers", "PIL", "pycocoevalcap")
    code = f"import sys, kosmos_eval.cli.app; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_task_name_appears_in_the_harness():
    from kosmos_eval.registry import names

    for path in (p for p in MODULES if "kosmos_eval" in p.parts):
        text = path.read_text(encoding="utf-8")
        found = [name for name in names("task") if f'"{name}"' in text]
        assert not found, f"{path.name} knows {found}"


def test_the_packages_under_test_are_the_ones_that_were_asked_for():
    installed = os.environ.get("KOSMOS_EVAL_INSTALLED")
    expected = Path(installed) if installed else Path(__file__).resolve().parents[2]
    assert all(folder.resolve().is_relative_to(expected.resolve()) for folder in FOLDERS)
    assert all((folder / "py.typed").is_file() for folder in FOLDERS)
