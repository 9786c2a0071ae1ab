"""``kosmos-eval chat``: talk with a model about images (KOSMOS-1 figures 2 to 4)."""

import html
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval import dialogue
from kosmos_eval.cli.console import Device, ModelFile, ModelOption, load_files, path_option
from kosmos_eval.dialogue import Form, Turn
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.files import write_output
from kosmos_eval.model import Model
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Completion, Generate, Sampling

HELP = """\
Say something; @PATH or @"PATH" in it is an image. Commands:
  /new          begin a new dialogue
  /undo         take the last turn back
  /save FILE    write the dialogue as a page of HTML
  /quit         end (Ctrl-D does so too)"""


@dataclass
class Talk:
    """A dialogue with a model as it goes.

    Args:
        model: who answers.
        form: how turns are written.
        max_tokens: of an answer.
        sampling: how answers are drawn; None takes the most probable tokens.
        turns: what has been said.
    """

    model: Model
    form: Form = "question"
    max_tokens: int = 64
    sampling: Sampling | None = None
    turns: list[Turn] = field(default_factory=list)

    def say(self, said: Prompt) -> tuple[str, int]:
        """Say something.

        Returns:
            The answer, and how many turns the model had to forget because they do not fit into its context.

        Raises:
            KosmosEvalError: if the model cannot answer; the dialogue is then as it was.
        """
        request = partial(dialogue.asked, said=said, form=self.form, max_tokens=self.max_tokens, sampling=self.sampling)
        kept, made = dialogue.fitting(self.turns, request, self.model.fits)
        answer = _answer(self.model, made)
        self.turns.append(Turn(said, answer))
        return answer, len(self.turns) - 1 - len(kept)

    def page(self) -> str:
        """The dialogue as a page of HTML that holds its images."""
        from kosmos_eval.report import prompts

        body = "".join(
            f'<p class="prompt">{prompts.as_html(turn.said)}</p><p><b>{html.escape(turn.answer)}</b></p>'
            for turn in self.turns
        )
        return prompts.page(f"Dialogue with {self.model.name}", body)


def _answer(model: Model, request: Generate) -> str:
    for _, output in model.answers([request]):
        if isinstance(output, Completion):
            return output.text.strip()
        raise KosmosEvalError(f"{model.name} cannot answer: {getattr(output, 'reason', output)}")
    raise RuntimeError(f"model {model.name} left the request unanswered")


def chat(
    model: Annotated[str, typer.Argument(help="NAME or NAME:REST, as for `run --model`.")] = "kosmos-nano",
    turns: Annotated[list[str] | None, typer.Argument(help="What is said; default: what is typed.")] = None,
    form: Annotated[str, typer.Option("--form", help="question (Question: ... Answer:) or plain.")] = "question",
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="The longest answer.")] = 64,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 takes the likeliest words.")] = 0.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Draw from this share of the likeliest words.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Decides what is drawn.")] = 0,
    device: Device = "auto",
    model_option: ModelOption = None,
    model_file: ModelFile = None,
    html: Annotated[Path | None, path_option("--html", "FILE", "Write the dialogue as a page at the end.")] = None,
) -> None:
    """Talk with a model about images: `kosmos-eval chat kosmos-nano '@scene.png What color is the star?'`.

    Without turns it reads them from the keyboard, or line by line from a pipe.
    """
    from kosmos_eval.evaluation.setup import load_model

    if form not in ("question", "plain"):
        raise KosmosEvalError(f"--form {form} is not known; expected question or plain")
    try:
        sampling = Sampling(temperature, top_p, seed) if temperature else None
    except ValueError as error:
        raise KosmosEvalError(
            f"invalid sampling: --temperature {temperature}, --top-p {top_p}; expected a temperature of at least 0 and "
            "0 < top_p <= 1"
        ) from error
    load_files(model_file)
    built = load_model(model, device=device, options=model_option or ())
    talk = Talk(built, "plain" if form == "plain" else "question", max_tokens, sampling)
    hold(talk, turns)
    if html is not None:
        save(talk, html)


def hold(talk: Talk, turns: Sequence[str] | None) -> None:
    """Say each turn, or whatever is typed, and print the answers.

    What cannot be said or answered is told in a line where somebody types, and ends the dialogue where nobody does.

    Raises:
        KosmosEvalError: if nobody types, and a turn cannot be said or answered, or there is none.
    """
    typed = not turns and sys.stdin.isatty()
    if typed:
        print(HELP)
    said = False
    for line in turns or _typed(prompt="> " if typed else ""):
        if line.strip() == "/quit":
            return
        said |= bool(line.strip())
        try:
            answered(talk, line)
        except KosmosEvalError as error:
            if not typed:
                raise
            print(f"error: {error}", file=sys.stderr)
    if not typed and not said:
        raise KosmosEvalError("nothing is said; give turns as arguments, or a line for each to a pipe")


def answered(talk: Talk, line: str) -> None:
    """Obey a line: a command, or something said."""
    command, _, rest = line.strip().partition(" ")
    if command == "/new":
        talk.turns.clear()
    elif command == "/undo":
        del talk.turns[-1:]
    elif command == "/save" and rest:
        save(talk, Path(rest).expanduser())
    elif command in ("/help", "/save"):
        print(HELP)
    elif re.fullmatch(r"/[a-z]+", command):
        raise KosmosEvalError(f"there is no command {command}; expected one of /new, /undo, /save FILE, /help, /quit")
    elif line.strip():
        answer, forgotten = talk.say(dialogue.spoken(line))
        if forgotten:
            print(f"(the first {forgotten} turns no longer fit into the model's context)", file=sys.stderr)
        print(answer)


def save(talk: Talk, path: Path) -> None:
    """Write the dialogue as a page of HTML."""
    write_output(path, talk.page())


def _typed(prompt: str) -> Iterator[str]:
    if prompt:
        import readline  # noqa: F401 - gives input() a history and keys to edit
    while True:
        try:
            yield input(prompt)
        except EOFError:
            return
        except UnicodeDecodeError as error:
            raise KosmosEvalError(f"what is said is not UTF-8 ({error}); give text in that encoding") from error
