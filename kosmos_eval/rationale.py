"""Chain of thought for any task: the model first speaks about a sample, then answers with what it said in the prompt.

KOSMOS-1 section 4.5: the first prompt is the image and ``Introduce this picture in detail:``; the second one is the
image, the rationale, and the question as it would be asked without. Ours where the paper is silent: the rationale is
greedy and its white space is made single; it stands after the last image of the question, or before a question that
has none; demonstrations show no rationales, and none precede the first prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from inspect import Parameter, Signature, signature
from itertools import takewhile
from typing import Any, get_type_hints

from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Generate, Request
from kosmos_eval.sample import Sample
from kosmos_eval.task import About, Score, Staged, Task, about

INTRODUCE = "Introduce this picture in detail:"
"""What the paper asks for a rationale."""
TOKENS = 128
OFFERED = ("aggregate", "per_sample", "draw", "submission")
"""What a task may offer beside its protocol, and still does with a rationale."""


@dataclass(frozen=True)
class Reasoned:
    """A task that asks for a rationale first.

    Args:
        task: the task itself.
        rationale: what asks for it.
        rationale_tokens: the most tokens of it.
    """

    task: Task[Any]
    rationale: str = INTRODUCE
    rationale_tokens: int = TOKENS

    def __post_init__(self) -> None:
        for name in OFFERED:
            if hasattr(self.task, name):
                object.__setattr__(self, name, getattr(self.task, name))

    @property
    def about(self) -> About:
        """What the task says of itself."""
        return about(self.task)

    @property
    def notes(self) -> Sequence[str]:
        """The task's, and what asks for the rationale."""
        return [*getattr(self.task, "notes", ()), f"after {self.rationale!r}"]

    def samples(self) -> Sequence[Sample]:
        """The task's."""
        return self.task.samples()

    def examples(self) -> Sequence[Sample]:
        """The task's."""
        return self.task.examples()

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        """The rationale."""
        return [Generate(_introduced(sample, self.task.requests(sample, ()), self.rationale), self.rationale_tokens)]

    def follow_up(self, sample: Sample, shots: Sequence[Sample], outputs: Sequence[Any]) -> Sequence[Request]:
        """What the task asks, with the rationale in the prompt; then the task's own further stages."""
        if len(outputs) > 1:
            return self.task.follow_up(sample, shots, outputs[1:]) if isinstance(self.task, Staged) else ()
        pairs = zip(self.task.requests(sample, shots), self.task.requests(sample, ()), strict=True)
        return [_with(_rationale(outputs), request, alone.prompt, sample) for request, alone in pairs]

    def score(self, sample: Sample, outputs: Sequence[Any]) -> Score:
        """The task's marks; the rationale is kept beside them."""
        found = self.task.score(sample, outputs[1:])
        return replace(found, record={**found.record, "rationale": _rationale(outputs)})


def reasoning(
    task: Callable[..., Task[Any]], *, says: str = "", said: About | None = None, rationale: str = INTRODUCE
) -> Callable[..., Reasoned]:
    """The factory of a task with a rationale: it takes the options of the task's own factory, and those of `Reasoned`.

    Args:
        task: the task's factory.
        says: what the new one is, in a sentence; empty for what the task's own says.
        said: what it says to listings, where that is not what the task's own says.
        rationale: what asks for the rationale unless the user says otherwise.
    """
    own = {"rationale": rationale, "rationale_tokens": TOKENS}

    def made(*given: Any, **options: Any) -> Reasoned:
        stage = {name: options.pop(name, default) for name, default in own.items()}
        return Reasoned(task(*given, **options), **stage)

    parameters = [Parameter(name, Parameter.KEYWORD_ONLY, default=default) for name, default in own.items()]
    every = sorted([*signature(task).parameters.values(), *parameters], key=lambda parameter: parameter.kind)
    made.__doc__ = says or task.__doc__
    made.__annotations__ = get_type_hints(task) | {"rationale": str, "rationale_tokens": int}
    vars(made).update(about=said or about(task), __signature__=Signature(every))
    return made


def _introduced(sample: Sample, asked: Sequence[Request], rationale: str) -> Prompt:
    """The sample's images, or its text where it has none, and what asks for the rationale.

    Where a text is asked about in several contexts (partial evaluation), it is what they begin with alike, because the
    sample's own prompt gives the right one away.
    """
    if sample.prompt.images:
        return Prompt(*_split(sample.prompt)[0], rationale)
    if sample.prompt == asked[0].prompt:
        return Prompt(sample.prompt, " ", rationale)
    alike = takewhile(
        lambda letters: len(set(letters)) == 1, zip(*(each.prompt.text() for each in asked), strict=False)
    )
    return Prompt("".join(letters[0] for letters in alike).rstrip(), " ", rationale)


def _with(rationale: str, request: Request, alone: Prompt, sample: Sample) -> Request:
    """A request with the rationale in its prompt; ``alone`` is the same prompt without demonstrations."""
    if not rationale or (sample.prompt.images and not alone.images):
        return request
    question = _split(alone)[1]
    before, rest = _split(request.prompt)
    assert rest.endswith(question), f"{request.prompt} does not end with {question!r}"
    words = f"{rationale} {question.lstrip()}" if question.strip() else rationale
    return replace(request, prompt=Prompt(*before, rest.removesuffix(question), words))


def _split(prompt: Prompt) -> tuple[Sequence[str | Image], str]:
    """The parts of a prompt up to its last image, and the text after it."""
    *before, last = prompt.parts or ("",)
    return (prompt.parts, "") if isinstance(last, Image) else (before, last)


def _rationale(outputs: Sequence[Any]) -> str:
    said = outputs[0]
    assert isinstance(said, Completion)
    return " ".join(said.text.split())
