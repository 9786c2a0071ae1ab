import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kosmos_eval.evaluation import profiling as module
from kosmos_eval.evaluation.profiling import Profile, as_json, lines, profiled, spent, summary, through
from kosmos_eval.model import Model, Work
from kosmos_eval.request import Failure


class Clock:
    """A clock that goes only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)


def test_time_is_counted_by_what_it_is_spent_on_and_the_rest_is_data(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def answers() -> Iterator[str]:
        for answer in "ab":
            clock.now += 2
            yield answer

    with profiled() as found:
        clock.now += 1
        for _ in through("model", answers()):
            clock.now += 0.5
            with spent("scoring"):
                clock.now += 0.25
    assert found.seconds == {"model": 4.0, "scoring": 0.5, "data": 2.0}


def test_without_a_profile_nothing_is_kept() -> None:
    with spent("model"):
        pass
    assert list(through("model", [1, 2])) == [1, 2]
    with profiled() as found:
        pass
    assert set(found.seconds) == {"data"}


def test_a_failure_within_is_passed_on_and_its_time_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def failing() -> Iterator[int]:
        clock.now += 3
        raise ValueError("broken")
        yield 0

    with profiled() as found, pytest.raises(ValueError, match="broken"):
        list(through("model", failing()))
    assert found.seconds["model"] == 3


def test_the_summary_says_what_was_saved_and_how_fast_the_model_was() -> None:
    work = Work(1000, 250, 40, 10, flops=2e11)
    found = summary(Profile({"model": 4.0, "data": 0.5, "scoring": 0.5}), work)
    assert (found["share_saved"], found["flops_per_second"]) == (0.75, pytest.approx(5e10))
    assert list(lines(found)) == [
        "time: 4.0 s model (80%), 0.5 s data (10%), 0.5 s scoring (10%)",
        "tokens: 1,000 asked, 250 computed: 75.0% saved by what is shared",
        "images: 40 asked, 10 encoded",
        "model FLOPs: 200.0 G, 50.0 G/s",
    ]
    assert json.loads(as_json(found)) == found


def test_of_a_model_that_does_not_count_the_time_is_told() -> None:
    assert list(lines(summary(Profile({"model": 1.0, "data": 1.0}), None))) == [
        "time: 1.0 s model (50%), 1.0 s data (50%)"
    ]


def test_a_model_counts_nothing_unless_it_says_so() -> None:
    class Silent(Model):
        def fits(self, request: object) -> bool:
            return True

        def answers(self, requests: object) -> Iterator[tuple[int, Failure]]:
            yield from ()

    assert Silent().work is None


def test_a_profile_needs_no_torch() -> None:
    subprocess.run(
        [sys.executable, "-c", "import sys, kosmos_eval.evaluation.profiling; sys.exit('torch' in sys.modules)"],
        check=True,
    )
