"""The rules of the house that a machine can check: where modules stand, how long they are, which words they use."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import kosmos_eval
import kosmos_model
import kosmos_tasks
from kosmos_eval import registry
from kosmos_eval.cli.app import app

FOLDERS = [Path(package.__file__).parent for package in (kosmos_eval, kosmos_tasks, kosmos_model)]
MODULES = [path for folder in FOLDERS for path in sorted(folder.rglob("*.py"))]
TEMPLATES = sorted(path for end in ("j2", "js") for path in FOLDERS[0].rglob(f"*.{end}"))

FLOORS = {
    "kosmos_eval": (
        "__main__",
        "cli",
        "report",
        "analysis",
        "hook",
        "__init__",
        "evaluation",
        "fewshot",
        "models",
        "task model dialogue",
        "sample request",
        "prompt source metrics",
        "registry files",
        "errors",
    ),
    "kosmos_tasks": ("lessons", "*", "families", "formats synthetic"),
    "kosmos_model": ("commands", "training", "adapters cleaning", "engine data", "modeling"),
}
"""The floors of each package, the top one first. A room, which is a folder or a module beside it, imports rooms on
lower floors only; ``*`` are all rooms that have no name here, which may import each other."""


def named(path):
    """Return the path of a module as its package calls it: ``kosmos_eval/cli/app.py``."""
    folder = next(folder for folder in FOLDERS if path.is_relative_to(folder))
    return path.relative_to(folder.parent).as_posix()


def imported(path):
    """Yield every module that a module imports, also inside functions and for type checkers only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name, package):
    """Return the room that the name of a module or of something in it lies in; ``__init__`` for the package itself."""
    parts = name.split(".")
    below = Path(sys.modules[package].__file__).parent
    there = len(parts) > 1 and ((below / parts[1]).is_dir() or (below / f"{parts[1]}.py").is_file())
    return parts[1] if there else "__init__"


def floor_of(room, package):
    """Return the height of a room, the lowest floor being 0."""
    heights = {name: height for height, names in enumerate(reversed(FLOORS[package])) for name in names.split()}
    return heights.get(room, heights.get("*"))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_room_imports_only_rooms_on_lower_floors(path):
    package, *inside = Path(named(path)).with_suffix("").parts
    here = inside[0]
    if here == "__init__" and package != "kosmos_eval":
        return
    assert floor_of(here, package) is not None, f"{package}.{here} stands on no floor; write it into FLOORS"
    for name in imported(path):
        there = room_of(name, package)
        if name.split(".")[0] != package or there == here:
            continue
        both_free = "*" in FLOORS[package] and floor_of(here, package) == floor_of(there, package) == floor_of(
            "*", package
        )
        assert both_free or floor_of(there, package) < floor_of(here, package), f"{named(path)} imports {name}"


def test_cleaning_is_outside_what_the_model_needs():
    for path in MODULES:
        inside = named(path).startswith(("kosmos_model/cleaning/", "kosmos_model/commands"))
        assert inside or not [name for name in imported(path) if name.startswith("kosmos_model.cleaning")], path


def test_the_root_of_the_harness_shows_its_nouns_alone():
    nouns = {"dialogue", "errors", "files", "model", "prompt", "registry", "request", "sample", "source", "task"}
    assert {path.stem for path in FOLDERS[0].glob("*.py")} == nouns | {"__init__", "__main__"}


@pytest.mark.parametrize("package", [folder.name for folder in FOLDERS])
def test_every_room_that_a_floor_names_is_there(package):
    below = Path(sys.modules[package].__file__).parent
    rooms = {name for floor in FLOORS[package] for name in floor.split()} - {"*"}
    assert not [name for name in rooms if not (below / name).is_dir() and not (below / f"{name}.py").is_file()]


def test_the_front_doors_open():
    from kosmos_eval import evaluate, load_model, load_tasks
    from kosmos_eval.hook import EvalHook
    from kosmos_eval.report import write

    assert all(map(callable, (evaluate, load_model, load_tasks, EvalHook, write)))
    done = subprocess.run([sys.executable, "-m", "kosmos_eval", "--help"], capture_output=True, text=True, check=True)
    assert "Evaluate multimodal language models" in done.stdout


@pytest.mark.parametrize("path", MODULES, ids=named)
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
        roots = {name.split(".")[0] for name in imported(path)}
        assert not roots & {"pickle", "dill", "cloudpickle", "joblib"}, path


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


# The words. Each was ours alone; what the field says instead stands beside it.

WORDS = {
    "Cell(s|Key)?": "Setting",
    "Ways": "Variants",
    "sighted": "with images",
    "pictures add": "image gain",
    "as usual": "by default",
    "ways of asking": "variants",
    "flipped": "changed between settings",
    "made elsewhere": "external",
    "mend this": "fix this",
    "(begins?|began|begun) anew": "start over, overwrite",
    "what guessing reaches": "chance level",
    "without a word": "silently",
    "too few to tell": "inconclusive",
    "mini split": "synthetic split",
    "that which": "what",
    "cannot be(?=[;,.])": "is invalid",
    "ledgers?": "usage log",
    "contests?": "best-first search",
    "past runs?": "saved run",
}
"""Words that no text and no name may have, and what to write instead; letters before or after make another word."""

MESSAGES = {
    "it says": "verdict",
    "leave-one-out": "demonstrations from the evaluated split, the item itself left out",
    "partial evaluation": "partial scoring (Trinh & Le)",
    "blind score": "blank-image baseline",
    "mean mark|(hand-)?marked by|to mark": "score",
    "partly": "partial",
}
"""Words that no page, message, note or help may have."""

OPENINGS = re.compile(r"(What|Whether|How|Where|Which|Who)\b")
"""Words that no docstring opens with: its first line is a command or a noun phrase (PEP 257)."""


def found(words, text):
    """Return the words that stand in a text, each as often as it does."""
    cases = {word: 0 if word[0].isupper() else re.IGNORECASE for word in words}
    return [
        match[0]
        for word, case in cases.items()
        for match in re.finditer(f"(?<![A-Za-z])({word})(?![A-Za-z])", text, case)
    ]


def docstrings(tree):
    lines = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    return [line.value for line in lines if isinstance(line, ast.Constant) and isinstance(line.value, str)]


def messages(tree):
    """Return the strings of a module that are not docstrings."""
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in told)
    return [node.value for node in strings if isinstance(node.value, str)]


def odd_words(path):
    text = path.read_text(encoding="utf-8")
    odd = found(WORDS, text)
    if path.suffix != ".py":
        return odd + found(MESSAGES, text)
    tree = ast.parse(text)
    odd += [word for message in messages(tree) for word in found(MESSAGES, message)]
    return odd + [match[0] for said in docstrings(tree) if (match := OPENINGS.match(said))]


def test_code_and_pages_speak_the_words_of_the_field():
    counts = {named(path): odd for path in [*MODULES, *TEMPLATES] if (odd := odd_words(path))}
    assert not counts, "WORDS, MESSAGES and OPENINGS tell what to write instead"


def test_odd_words_are_found(tmp_path):
    module = tmp_path / "module.py"
    module.write_text('"""What a Cell is."""\n\ndef flipped() -> str:\n    return "drawn leave-one-out"\n')
    assert odd_words(module) == ["Cell", "flipped", "leave-one-out", "What"]


def commands():
    main = typer.main.get_command(app)
    own = {name: registry.named("command", name) for name in registry.names("command")}
    for name, function in own.items():
        one = typer.Typer(add_completion=False)
        one.command(name)(function)
        yield name, typer.main.get_command(one)
    yield from getattr(main, "commands", {}).items()


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_help_speaks_the_words_of_the_field(name, command):
    said = [command.help or "", *(getattr(option, "help", None) or "" for option in command.params)]
    odd = [word for text in said for word in found(WORDS | MESSAGES, text)]
    assert not odd, f"kosmos-eval {name} --help says {odd}"
    assert not OPENINGS.match(said[0])
