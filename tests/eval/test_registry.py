"""The registry: installed packages through entry points, a user's file by path, and what goes wrong with either."""

import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from kosmos_eval import registry
from kosmos_eval.errors import PlugInError, UnknownName
from kosmos_eval.model import Model
from kosmos_eval.registry import load_file, named, names

PLUGIN = Path(__file__).parents[1] / "fixtures" / "fake_plugin"


@pytest.fixture(autouse=True)
def _same_names_afterwards() -> Iterator[None]:
    modules = set(sys.modules)
    saved = dict(registry.TASKS), dict(registry.MODELS)
    yield
    for registered, before in zip((registry.TASKS, registry.MODELS), saved, strict=True):
        registered.clear()
        registered.update(before)
    for name in set(sys.modules) - modules:
        if name.startswith(("fake_plugin", "broken_plugin", "kosmos_eval_user_")):
            del sys.modules[name]


def package(root: Path, name: str, *, task: str, source: str = "", registered: str = "its_task") -> Path:
    """An installed package with one task, without pip."""
    root.mkdir(exist_ok=True)
    (root / f"{name}.py").write_text(source)
    info = root / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[kosmos_eval.tasks]\n{registered} = {task}\n")
    return root


def test_the_fixture_declares_in_its_project_file_what_it_installs() -> None:
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]["entry-points"]
    installed = ConfigParser()
    installed.read(PLUGIN / "fake_plugin-1.0.dist-info" / "entry_points.txt")
    assert {group: dict(installed[group]) for group in installed.sections()} == project


def test_an_installed_package_adds_its_task_and_model_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "fake_colors" not in names("task")
    monkeypatch.syspath_prepend(PLUGIN)
    assert "fake_colors" in names("task")
    assert "fake_always" in names("model")
    assert "fake_plugin" not in sys.modules, "listing imports nothing"

    task, model = named("task", "fake_colors")(), named("model", "fake_always")("lime")
    assert isinstance(model, Model)
    marks = []
    for sample in task.samples():
        ((_, output),) = model.answers(task.requests(sample, task.examples()[:1]))
        marks.append(task.score(sample, [output]).values["accuracy"])
    assert marks == [0, 1, 0, 0, 0, 0]


def test_a_plug_ins_few_shot_prompt_is_interleaved_like_a_bundled_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PLUGIN)
    task = named("task", "fake_colors")()
    (request,) = task.requests(task.samples()[1], task.examples()[:1])
    question = "<image>Question: what color is this? Answer:"
    assert request.prompt.text() == f"{question} red\n{question}"


def test_the_bundled_tasks_are_known_without_importing_them() -> None:
    assert {"coco_caption", "vqav2", "raven_iq", "rendered_sst2", "imagenet", "new_words"} <= set(names("task"))


def test_a_name_nearly_right_gets_a_hint() -> None:
    with pytest.raises(UnknownName, match=r"^no task is called 'vqaa2'; did you mean 'vqav2'\?$"):
        named("task", "vqaa2")


def test_a_name_far_from_all_lists_what_there_is() -> None:
    with pytest.raises(UnknownName, match=r"no model is called 'zzzzzz'; there are: .*kosmos-nano"):
        named("model", "zzzzzz")


@pytest.mark.parametrize(
    ("source", "task", "reason"),
    [
        ("import a_package_that_nobody_has", "broken_plugin:Task", "ModuleNotFoundError: No module named"),
        ("raise RuntimeError('no licence')", "broken_plugin:Task", "RuntimeError: no licence"),
        ("raise ValueError('one\\ntwo')", "broken_plugin:Task", "ValueError: one two"),
        ("import sys; sys.exit(3)", "broken_plugin:Task", "SystemExit: 3"),
        ("x = (", "broken_plugin:Task", "SyntaxError"),
        ("", "broken_plugin:Task", "AttributeError"),
    ],
)
def test_a_plug_in_that_does_not_import_is_named_and_stops(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, task: str, reason: str
) -> None:
    monkeypatch.syspath_prepend(package(tmp_path / "site", "broken_plugin", task=task, source=source))
    message = rf"task 'its_task' of package broken_plugin does not import \(broken_plugin:Task\): {reason}"
    with pytest.raises(PlugInError, match=message) as caught:
        named("task", "its_task")
    assert "\n" not in str(caught.value)


def test_a_broken_plug_in_does_not_disturb_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(package(tmp_path / "site", "broken_plugin", task="broken_plugin:Task", source="1 / 0"))
    monkeypatch.syspath_prepend(PLUGIN)
    assert "its_task" in names("task")
    assert named("task", "fake_colors")().samples()


def test_two_packages_that_offer_one_name_are_both_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("fake_plugin_a", "fake_plugin_b"):
        monkeypatch.syspath_prepend(package(tmp_path / name, name, task=f"{name}:Task"))
    with pytest.raises(PlugInError, match=r"'its_task' is offered by several packages \(fake_plugin_a, .*_b\)"):
        named("task", "its_task")


MY_FILE = """
from kosmos_eval.registry import register, register_model

@register("my_task")
class MyTask: ...

@register_model("my_model")
def my_model(name=""): ...
"""


def test_a_users_file_registers_its_tasks_and_models(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MY_FILE)
    assert load_file(file) == ["my_task"], "its tasks are what --task-file evaluates"
    assert named("task", "my_task").__name__ == "MyTask"
    assert "my_model" in names("model")


def test_a_users_file_may_replace_a_bundled_task(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MY_FILE.replace("my_task", "vqav2"))
    assert "vqav2" in load_file(file)
    assert named("task", "vqav2").__name__ == "MyTask"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "is not a file; expected a Python file that registers a task or a model"),
        ("import a_package_that_nobody_has", "does not import: ModuleNotFoundError"),
        ("def (", "does not import: SyntaxError"),
        ("x = 1", "registers nothing; decorate its task with"),
    ],
)
def test_a_users_file_that_is_no_use_is_one_line(tmp_path: Path, source: str | None, message: str) -> None:
    file = tmp_path / "mine.py"
    if source is not None:
        file.write_text(source)
    with pytest.raises(PlugInError, match=message) as caught:
        load_file(file)
    assert str(caught.value).startswith(str(file))
    assert "kosmos_eval_user_mine" not in sys.modules or source == "x = 1"


def test_a_file_that_is_not_python_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("hello")
    with pytest.raises(PlugInError, match=r"is not a Python file; expected one that ends in \.py"):
        load_file(file)
