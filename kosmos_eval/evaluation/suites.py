"""Named sets of tasks: which tasks are part of one, how it is asked, which of them the data at hand have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kosmos_eval.errors import KosmosEvalError, UnknownName
from kosmos_eval.evaluation.plan import plan
from kosmos_eval.evaluation.setup import load_tasks
from kosmos_eval.registry import named, names
from kosmos_eval.source import Source
from kosmos_eval.task import Suite, Task, info


@dataclass(frozen=True)
class Chosen:
    """The tasks and shots of a suite that are to be run.

    Args:
        tasks: the tasks by name.
        shots: the numbers of demonstrations.
        missing: names of tasks that are left out, and why.
    """

    tasks: dict[str, Task]
    shots: Sequence[int]
    missing: Mapping[str, str]


def every() -> dict[str, tuple[Suite, list[str]]]:
    """Each suite by name, with the tasks that say they are part of it.

    Raises:
        KosmosEvalError: if two of them disagree about its shots.
    """
    known: dict[str, tuple[Suite, list[str]]] = {}
    for task in names("task"):
        for said in info(named("task", task)).suites:
            member = Suite(said) if isinstance(said, str) else said
            found, tasks = known.setdefault(member.name, (member, []))
            if found != member:
                raise KosmosEvalError(f"{member} of task {task} is {found} of task {tasks[0]}; let them agree")
            tasks.append(task)
    return known


def members(name: str) -> tuple[Suite, list[str]]:
    """One of the suites, with its tasks.

    Raises:
        UnknownName: if no task says it is part of it.
    """
    known = every()
    if name not in known:
        raise UnknownName("suite", name, known)
    return known[name]


def chosen(
    name: str, source: Source, *, shots: Sequence[int] | None, seed: int, splits: str | None, options: Sequence[str]
) -> Chosen:
    """The tasks of a suite whose data are there, with demonstrations enough.

    Args:
        name: the suite.
        source: where the rows come from; whatever is generated is there.
        shots: numbers of demonstrations; None for the suite's own.
        seed: decides demonstrations.
        splits: as `load_tasks` takes them.
        options: likewise; they may be of tasks that are left out.

    Raises:
        KosmosEvalError: if there is no such suite, or nothing of it is left.
    """
    suite, tasks = members(name)
    counts = suite.shots if shots is None else shots
    nowhere = [task for task in tasks if source.kind == "hub" and not info(named("task", task)).hub]
    missing = dict.fromkeys(nowhere, "no hub data set is known")
    made = load_tasks(tasks, source, splits=splits, options=options, without=nowhere)
    if source.kind == "synthetic":
        return Chosen(made, counts, missing)
    there = {}
    for task, found in made.items():
        try:
            plan({task: found}, shots=[max(counts)], limit=1, seed=seed)
            there[task] = found
        except KosmosEvalError as error:
            missing[task] = str(error).removeprefix(f"{task}: ")
    if not there:
        reason, *others = dict.fromkeys(missing.values())
        hint = "`kosmos-eval check-data` says where to get them" if others else reason
        raise KosmosEvalError(f"no task of suite {name!r} has its data; {hint}")
    return Chosen(there, counts, missing)
