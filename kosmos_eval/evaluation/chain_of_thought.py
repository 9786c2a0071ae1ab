"""Chain of thought for any task: the model first speaks about a sample, then answers with what it said in the prompt.

KOSMOS-1 section 4.5: the first prompt is the image and ``Introduce this picture in detail:``; the second one is the
image, the rationale, and the question as it would be asked without. Ours where the paper is silent: the rationale is
greedy and its white space is made single; it stands after the last image of the question, or before a question that
has none; demonstrations show no rationales, and none precede the first prompt. A task with stages of its own keeps the
rationale in the same place in all of them: after the images that it asks about at first, not after those that a later
turn adds; a stage that shows none of a question's images has no rationale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.files import Json
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.prompt import Image, Part, Prompt
from kosmos_eval.request import Completion, Generate, Request
from kosmos_eval.sample import Sample
from kosmos_eval.task import Outputs, Score, Task, TaskInfo

INTRODUCE = "Introduce this picture in detail:"
"""The paper's request for a rationale."""
TOKENS = 128
"""The most tokens of a rationale, unless the user says otherwise."""


class ReasonedTask(Task):
    """A task that asks another one's questions after a rationale. A subclass has the three attributes.

    Attributes:
        task: the task that is asked.
        rationale: what asks for the rationale.
        rationale_tokens: the most tokens of it.
    """

    if TYPE_CHECKING:

        @property
        def task(self) -> Task: ...
        @property
        def rationale(self) -> str: ...
        @property
        def rationale_tokens(self) -> int: ...

    def __post_init__(self) -> None:
        if not self.rationale.strip() or self.rationale_tokens < 1:
            found = f"rationale {self.rationale!r} of {self.rationale_tokens} tokens"
            raise KosmosEvalError(f"{found} is invalid; expected words that ask for it, and at least 1 token")

    @property
    def readable(self) -> tuple[str, ...]:
        return self.task.readable

    @property
    def notes(self) -> Sequence[str]:
        """The task's notes, and what asks for the rationale."""
        return [*self.task.notes, f"after {self.rationale!r}"]

    def samples(self) -> Sequence[Sample]:
        return self.task.samples()

    def examples(self) -> Sequence[Sample]:
        return self.task.examples()

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        """Return the request for the rationale."""
        return [Generate(_introduced(sample, self.task.requests(sample, ()), self.rationale), self.rationale_tokens)]

    def follow_up(self, sample: Sample, shots: Sequence[Sample], outputs: Outputs) -> Sequence[Request]:
        """Return what the task asks, in each of its turns, with the rationale in the prompt."""
        place = max(len(request.prompt.images) for request in self.task.requests(sample, ()))
        asked, alone = (self._asked(sample, shown, outputs[1:]) for shown in (shots, ()))
        pairs = zip(asked, alone, strict=True)
        return [_with(_rationale(outputs), request, bare.prompt, place) for request, bare in pairs]

    def _asked(self, sample: Sample, shots: Sequence[Sample], outputs: Outputs) -> Sequence[Request]:
        """Return what the task itself asks next."""
        return self.task.follow_up(sample, shots, outputs) if outputs else self.task.requests(sample, shots)

    def score(self, sample: Sample, outputs: Outputs) -> Score:
        """Score as the task does, and keep the rationale beside it."""
        found = self.task.score(sample, outputs[1:])
        return replace(found, record={**found.record, "rationale": _rationale(outputs)})

    def aggregate(self, samples: Sequence[Sample], scores: Sequence[Score], *, seed: int) -> Mapping[str, Metric]:
        return self.task.aggregate(samples, scores, seed=seed)

    def sample_metrics(self, samples: Sequence[Sample], scores: Sequence[Score]) -> Mapping[str, Mapping[str, float]]:
        return self.task.sample_metrics(samples, scores)

    def choose_shots(self, sample: Sample, count: int) -> Sequence[Sample] | None:
        return self.task.choose_shots(sample, count)

    def submission(self, samples: Sequence[Sample], scores: Sequence[Score]) -> tuple[str, str] | None:
        return self.task.submission(samples, scores)


@dataclass(frozen=True)
class ChainOfThought(ReasonedTask):
    """Any task after a rationale: what the option ``rationale`` of every task makes.

    Args:
        task: the task that is asked.
        rationale: what asks for the rationale.
        rationale_tokens: the most tokens of it.
    """

    task: Task
    rationale: str = INTRODUCE
    rationale_tokens: int = TOKENS

    @property
    def info(self) -> TaskInfo:  # type: ignore[override]
        """The description of the task."""
        return self.task.info

    def options(self) -> Json:
        return {**self.task.options(), "rationale": self.rationale, "rationale_tokens": self.rationale_tokens}


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


def _rationale(outputs: Outputs) -> str:
    said = outputs[0]
    assert isinstance(said, Completion)
    return " ".join(said.text.split())
