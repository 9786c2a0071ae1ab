"""``--model scripted:TEXT``: a model that answers by script, for dry runs of tasks, data and reports.

``scripted`` answers nothing, ``scripted:yes`` always "yes", ``scripted:@FILE`` the text of the first matching rule of a
file: lines of ``{"contains": "what colour", "text": "red"}``, matched against the prompt with images as ``<image>``.

Where the answer must be one of given strings, it is the script's, spaces at its ends aside, else the first. All
continuations are equally likely (an exact tie, so a closed-ended task lands on chance); only a rule of a file with the
text of one of them makes that one the likeliest. Every image is decoded, so a dry run finds corrupt ones.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from kosmos_eval.errors import BadImage, ModelError
from kosmos_eval.model import Model
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Failure, Generate, Likelihoods, LogLikelihood, Output, Request, cut

SAID, UNSAID = 0.0, -1.0
"""Log-probabilities of the continuation that a rule answers with, and of any other."""


@dataclass(frozen=True)
class Rule:
    """The answer to prompts that contain a string."""

    contains: str
    text: str


@dataclass(frozen=True)
class Scripted(Model):
    """A model that follows a script.

    Args:
        name: its name in reports.
        rules: the first that matches answers.
        otherwise: the answer where none does.
    """

    name: str
    rules: tuple[Rule, ...] = ()
    otherwise: str = ""

    @property
    def fingerprint(self) -> str:
        """A digest of the script's content."""
        lines = [*((rule.contains, rule.text) for rule in self.rules), self.otherwise]
        return sha256(json.dumps(lines).encode()).hexdigest()

    def fits(self, request: Request) -> bool:
        """Always true: a script has no context."""
        return True

    def answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Output | Failure]]:
        """Answer in order; a request with an image that cannot be decoded fails."""
        broken = lru_cache(maxsize=None)(_broken)
        for index, request in enumerate(requests):
            reasons = [reason for image in request.prompt.images if (reason := broken(image))]
            yield index, Failure(reasons[0]) if reasons else self._answer(request)

    def _answer(self, request: Request) -> Output:
        if isinstance(request, Generate) and request.sampling is not None:
            raise ModelError(f"{self.name} cannot sample: it always says the same; ask for greedy decoding")
        rule = self._rule(request.prompt)
        if isinstance(request, LogLikelihood):
            said = [rule is not None and string.strip() == rule.text.strip() for string in request.continuations]
            return Likelihoods(tuple(SAID if it else UNSAID for it in said), (1,) * len(said), tuple(said))
        return _completion(request, self.otherwise if rule is None else rule.text)

    def _rule(self, prompt: Prompt) -> Rule | None:
        text = prompt.text()
        return next((rule for rule in self.rules if rule.contains in text), None)


def load(script: str = "") -> Scripted:
    """Make a scripted model.

    Args:
        script: the text of every answer, or ``@`` and a file of rules.

    Raises:
        ModelError: if the file is missing or a line of it is not a rule.
    """
    name = f"scripted:{script}" if script else "scripted"
    return Scripted(name, _rules(Path(script[1:]))) if script.startswith("@") else Scripted(name, (), script)


def _rules(path: Path) -> tuple[Rule, ...]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read the script {path}: {error}") from error
    return tuple(_parsed(path, number, line) for number, line in enumerate(lines, start=1) if line.strip())


def _parsed(path: Path, number: int, line: str) -> Rule:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if (
        isinstance(found, dict)
        and found.keys() == {"contains", "text"}
        and all(isinstance(v, str) for v in found.values())
    ):
        return Rule(**found)
    raise ModelError(f'{path}:{number} is no rule: {line[:60]}; expected {{"contains": "...", "text": "..."}}')


def _completion(request: Generate, text: str) -> Completion:
    if request.choices is not None:
        same = (choice for choice in request.choices if choice.strip() == text.strip())
        text = next(same, request.choices[0])
    else:
        text, _ = cut(text, request.stop)
    return Completion(text, tokens=len(text.split()))


def _broken(image: Image) -> str:
    """Return why an image cannot be decoded; empty if it can."""
    try:
        image.pixels(draft=32)
    except BadImage as error:
        return str(error)
    return ""
