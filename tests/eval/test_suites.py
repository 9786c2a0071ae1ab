"""Suites: who is part of one, its own numbers of shots, what is left out of it and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from kosmos_eval.cli import app, run
from kosmos_eval.errors import BadData, KosmosEvalError, UnknownName
from kosmos_eval.evaluation.results import Report
from kosmos_eval.evaluation.run_config import RunConfig
from kosmos_eval.evaluation.suites import chosen, members
from kosmos_eval.prompt import Prompt
from kosmos_eval.registry import TASKS
from kosmos_eval.request import Generate
from kosmos_eval.sample import Sample
from kosmos_eval.source import Source
from kosmos_eval.task import Score, Suite, Task, TaskInfo

PAPER = ("kosmos1", "kosmos1-language", "kosmos1-fewshot")
TWICE = Suite("stand-ins", shots=(0, 2))


@dataclass(frozen=True)
class StandIn(Task):
    """Has samples where its folder lies under the root."""

    source: Source = field(default_factory=Source)
    folder: str = "plenty"
    demonstrations: int = 5

    info = TaskInfo(metric="said", suites=(TWICE, "others"), splits={"synthetic": ("test",)})

    def samples(self) -> Sequence[Sample]:
        if self.source.root is not None and not (self.source.root / self.folder).is_dir():
            raise BadData(f"{self.folder} is missing")
        return [Sample("1", Prompt("?"), "!")]

    def examples(self) -> Sequence[Sample]:
        return [Sample(f"shown {place}", Prompt("?"), "!") for place in range(self.demonstrations)]

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Generate]:
        return [Generate(sample.prompt)]

    def score(self, sample: Sample, outputs: Sequence[object]) -> Score:
        return Score({"said": 1.0})


def few(source: Source) -> StandIn:
    return StandIn(source, "few", demonstrations=1)


def absent(source: Source) -> StandIn:
    return StandIn(source, "absent")


few.info = absent.info = StandIn.info  # type: ignore[attr-defined]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, factory in {"plenty": StandIn, "few": few, "absent": absent}.items():
        monkeypatch.setitem(TASKS, name, factory)
    (tmp_path / "plenty").mkdir()
    (tmp_path / "few").mkdir()
    return tmp_path


def test_tasks_say_what_they_are_part_of_by_name_or_with_shots(root: Path) -> None:
    assert members("stand-ins") == (TWICE, ["absent", "few", "plenty"])
    assert members("others") == (Suite("others", (0,)), ["absent", "few", "plenty"])
    with pytest.raises(UnknownName, match="no suite is called 'stand-in'; did you mean 'stand-ins'"):
        members("stand-in")


def test_tasks_that_disagree_about_a_suite_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(StandIn):
        info = TaskInfo(suites=("stand-ins",))

    monkeypatch.setitem(TASKS, "zeroth", Other)
    with pytest.raises(KosmosEvalError, match=r"of task zeroth is .* of task absent; let them agree"):
        members("stand-ins")


def choose(source: Source, shots: Sequence[int] | None = None, options: Sequence[str] = ()) -> tuple[object, ...]:
    found = chosen("stand-ins", source, shots=shots, seed=0, splits=None, options=options)
    return list(found.tasks), tuple(found.shots), dict(found.missing)


def test_a_suite_is_asked_with_its_own_shots_unless_the_user_says_otherwise(root: Path) -> None:
    assert choose(Source()) == (["absent", "few", "plenty"], (0, 2), {})
    assert choose(Source(), shots=[1])[1] == (1,)


def test_tasks_without_data_or_demonstrations_are_left_out_with_the_reason(root: Path) -> None:
    tasks, _, missing = choose(Source("data", root))
    assert tasks == ["plenty"]
    assert isinstance(missing, dict)
    assert missing["absent"] == "absent is missing"
    assert missing["few"].startswith("2 shots are asked for, but there are only 1 demonstrations")
    assert choose(Source("data", root), shots=[0, 1])[0] == ["few", "plenty"]


def test_options_may_be_of_tasks_that_are_left_out(root: Path) -> None:
    assert choose(Source("data", root), options=["plenty.folder=few"])[0] == ["plenty"]
    with pytest.raises(UnknownName, match="no evaluated task is called 'other'"):
        choose(Source("data", root), options=["other.folder=few"])


def test_where_nothing_is_left_that_is_said(root: Path) -> None:
    with pytest.raises(KosmosEvalError, match="no task of suite 'stand-ins' has its data; no hub data set is known"):
        choose(Source("hub"))
    with pytest.raises(KosmosEvalError, match="no task of suite 'stand-ins' has its data"):
        choose(Source("data", root / "plenty"))


def test_a_run_says_in_a_line_each_what_is_left_out(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[tuple[int, ...], list[str]]] = []

    def evaluate_config(config: RunConfig, tasks: Mapping[str, Task], **rest: object) -> Report:
        asked.append((config.shots, list(tasks)))
        return Report("m", ())

    monkeypatch.setattr(run, "evaluate_config", evaluate_config)
    monkeypatch.setattr("sys.argv", ["kosmos-eval", "run", "--suite", "stand-ins", "--data", str(root)])
    with pytest.raises(SystemExit) as done:
        app.main()
    assert done.value.code == 0
    assert asked == [((0, 2), ["plenty"])]
    lines = [line.partition(": ") for line in capsys.readouterr().err.splitlines()]
    assert [rest.partition(":")[0] for start, _, rest in lines if start == "left out"] == ["absent", "few"]


def test_the_papers_suites_hold_its_tasks_with_its_shots() -> None:
    counted = {name: (suite.shots, len(tasks)) for name, (suite, tasks) in ((name, members(name)) for name in PAPER)}
    assert counted == dict(zip(PAPER, [((0,), 22), ((0, 1, 4), 8), ((2, 4, 8), 4)], strict=True))
    bundled = {point.name for point in entry_points(group="kosmos_eval.tasks") if "kosmos_tasks" in point.value}
    assert set(members("synthetic")[1]) == bundled


def test_the_listing_of_tasks_ends_with_the_suites(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kosmos_eval.cli import show

    show.tasks()
    assert "suite stand-ins, 0, 2 shots: absent, few, plenty\n" in capsys.readouterr().out
