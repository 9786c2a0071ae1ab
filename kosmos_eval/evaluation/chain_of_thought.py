"""Chain of thought for any task: the model first speaks about a sample, then answers with what it said in the prompt.

KOSMOS-1 section 4.5: the first prompt is the image and ``Introduce this picture in detail:``; the second one is the
image, the rationale, and the question as it would be asked without. Ours where the paper is silent: the rationale is
greedy and its white space is made single; it stands after the last image of the question, or before a question that
has none; demonstrations show no rationales, and none precede the first prompt. A task with stages of its own keeps the
rationale in the same place in all of them: after the images that it asks about at first, not after those that a later
turn adds; a stage that shows none of a question's images has no rationale.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from inspect import Parameter, Signature, signature
from itertools import takewhile
from typing import Any, get_type_hints

from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.prompt import Image, Part, Prompt
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
        if not self.rationale.strip() or self.rationale_tokens < 1:
            found = f"rationale {self.rationale!r} of {self.rationale_tokens} tokens"
            raise KosmosEvalError(f"{found} cannot be; expected words that ask for it, and at least 1 token")
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
        """What the task asks, in each of its stages, with the rationale in the prompt."""
        place = max(len(request.prompt.images) for request in self.task.requests(sample, ()))
        asked, alone = (self._asked(sample, shown, outputs[1:]) for shown in (shots, ()))
        pairs = zip(asked, alone, strict=True)
        return [_with(_rationale(outputs), request, bare.prompt, place) for request, bare in pairs]

    def _asked(self, sample: Sample, shots: Sequence[Sample], outputs: Sequence[Any]) -> Sequence[Request]:
        """What the task itself asks next."""
        if not outputs:
            return self.task.requests(sample, shots)
        return self.task.follow_up(sample, shots, outputs) if isinstance(self.task, Staged) else ()

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
    """The images that are asked about at first, or the text where there are none, and what asks for the rationale.

    Where a text is asked about in several contexts (partial evaluation), it is what they begin with alike, because the
    sample's own prompt gives the right one away.
    """
    first = asked[0].prompt
    shown = sample.prompt if set(sample.prompt.images) <= set(first.images) else first
    if shown.images:
        return Prompt(*_split(shown, len(shown.images))[0], rationale)
    if shown == first:
        return Prompt(shown, " ", rationale)
    alike = takewhile(
        lambda letters: len(set(letters)) == 1, zip(*(each.prompt.text() for each in asked), strict=False)
    )
    return Prompt("".join(letters[0] for letters in alike).rstrip(), " ", rationale)


def _with(rationale: str, request: Request, alone: Prompt, place: int) -> Request:
    """A request with the rationale after so many images of its question.

    Args:
        rationale: what the model said; nothing changes where it is empty.
        request: what is asked.
        alone: the same prompt without demonstrations: the question.
        place: how many images the task asks about at first.

    Raises:
        KosmosEvalError: if the prompt does not end with the question, so that the rationale has no place.
    """
    if not rationale or (place and not alone.images):
        return request
    first, others = _begun(_split(alone, place)[1])
    later = sum(isinstance(part, Image) for part in others)
    before, rest = _split(request.prompt, len(request.prompt.images) - later)
    text, left = _begun(rest)
    if left != others or not text.endswith(first):
        raise KosmosEvalError(
            f"a rationale has no place in {request.prompt.text()[-80:]!r}, which does not end with what is asked "
            "without demonstrations; evaluate this task without a rationale"
        )
    words = f"{rationale} {first.lstrip()}" if first.strip() else rationale
    return replace(request, prompt=Prompt(*before, text.removesuffix(first), words, *others))


def _split(prompt: Prompt, images: int) -> tuple[Sequence[Part], Sequence[Part]]:
    """The parts of a prompt up to one of its images, or to the last if it has fewer, and those after it."""
    ends = [place for place, part in enumerate(prompt.parts, start=1) if isinstance(part, Image)][:images]
    end = ends[-1] if ends else 0
    return prompt.parts[:end], prompt.parts[end:]


def _begun(parts: Sequence[Part]) -> tuple[str, Sequence[Part]]:
    """The text that parts begin with, and the others."""
    return (parts[0], parts[1:]) if parts and isinstance(parts[0], str) else ("", parts)


def _rationale(outputs: Sequence[Any]) -> str:
    said = outputs[0]
    assert isinstance(said, Completion)
    return " ".join(said.text.split())
