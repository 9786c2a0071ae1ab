"""All errors, as one tree.

KosmosEvalError          the user can act: the command line prints one line and exits with 2
├── UnknownName          a task, model, split or option that does not exist
├── BadData              official files that are missing, cut short or contradict each other
├── BadImage             one image that cannot be decoded: it fails its own sample only
├── PlugInError          an entry point or a user's file that does not import, or a task that breaks its Protocol
├── ModelError           a model that cannot be loaded or cannot answer what it is asked
└── RunError             a run's folder that is of another configuration, locked, full or read-only

Anything else that is raised is a bug and keeps its traceback.
"""

from collections.abc import Iterable


class KosmosEvalError(Exception):
    """Something the user can act on; the message says what was found, what was expected and the next step."""


class UnknownName(KosmosEvalError):
    """A name that nothing is registered under.

    >>> print(UnknownName("task", "captoins", ["captions", "questions"]))
    no task is called 'captoins'; did you mean 'captions'?
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        from difflib import get_close_matches

        names = sorted(known)
        close = get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names) or 'none'}"
        super().__init__(f"no {kind} is called {name!r}; {hint}")


class BadData(KosmosEvalError):
    """Official files that are missing, cut short or contradict each other."""


class BadImage(KosmosEvalError):
    """One image that cannot be decoded."""


class PlugInError(KosmosEvalError):
    """An entry point or a user's file that does not import, or a task that does not keep its Protocol, named."""


class ModelError(KosmosEvalError):
    """A model that cannot be loaded or cannot answer what it is asked."""


class RunError(KosmosEvalError):
    """A run's folder that cannot be used as asked."""
