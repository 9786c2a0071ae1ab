"""Work and time of a run, ``run --profile``: tokens and images asked for and computed, and seconds by part."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from kosmos_eval.model import Work

T = TypeVar("T")


@dataclass
class Profile:
    """The seconds of a run, by part.

    Args:
        seconds: by what it was spent on.
        started: on the clock that measures.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=lambda: time.perf_counter())


_current: ContextVar[Profile | None] = ContextVar("profile", default=None)


@contextmanager
def profiled() -> Iterator[Profile]:
    """Measure what is `spent` within; what is spent on nothing that has a name is called data."""
    profile = Profile()
    token = _current.set(profile)
    try:
        yield profile
    finally:
        _current.reset(token)
        whole = time.perf_counter() - profile.started
        profile.seconds["data"] = max(0.0, whole - sum(profile.seconds.values()))


@contextmanager
def spent(on: str) -> Iterator[None]:
    """Count the time within, if a run is profiled."""
    profile, start = _current.get(), time.perf_counter()
    try:
        yield
    finally:
        if profile is not None:
            profile.seconds[on] = profile.seconds.get(on, 0.0) + time.perf_counter() - start


def through(on: str, items: Iterable[T]) -> Iterator[T]:
    """The items, with the time that each takes to come counted."""
    iterator = iter(items)
    while True:
        with spent(on):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


def summary(profile: Profile, work: Work | None) -> dict[str, float]:
    """Return the measured values by name, as ``profile.json`` keeps them.

    Args:
        profile: of a run that is over.
        work: what its model counted, if it counts.
    """
    found: dict[str, float] = {f"seconds_{name}": seconds for name, seconds in sorted(profile.seconds.items())}
    if work is None:
        return found
    found |= {name: value for name, value in asdict(work).items() if isinstance(value, int) and value}
    if work.tokens_asked:
        found["share_saved"] = 1 - work.tokens_computed / work.tokens_asked
    seconds = profile.seconds.get("model", 0.0)
    if work.flops and seconds:
        found |= {"flops": work.flops, "flops_per_second": work.flops / seconds}
    return found


def lines(found: dict[str, float]) -> Iterator[str]:
    """A summary in words."""
    whole = sum(value for name, value in found.items() if name.startswith("seconds_"))
    parts = [
        f"{found[key]:.1f} s {name} ({found[key] / max(whole, 1e-9):.0%})"
        for name in ("model", "data", "scoring")
        if (key := f"seconds_{name}") in found
    ]
    yield f"time: {', '.join(parts)}"
    if "share_saved" in found:
        asked, computed = int(found["tokens_asked"]), int(found.get("tokens_computed", 0))
        yield f"tokens: {asked:,} asked, {computed:,} computed: {found['share_saved']:.1%} saved by what is shared"
    if "images_asked" in found:
        yield f"images: {int(found['images_asked']):,} asked, {int(found.get('images_encoded', 0)):,} encoded"
    if "flops" in found:
        yield f"model FLOPs: {found['flops'] / 1e9:,.1f} G, {found['flops_per_second'] / 1e9:,.1f} G/s"


def as_json(found: dict[str, float]) -> str:
    """A summary as the file holds it."""
    return json.dumps(found, indent=2) + "\n"
