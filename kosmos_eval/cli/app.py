"""The command line: its commands, and what an error or an interruption ends with."""

import signal
import sys
import traceback
from types import FrameType, TracebackType

import typer

from kosmos_eval import registry
from kosmos_eval.cli import chat, results, run, show
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.files import redacted, register_environment

app = typer.Typer(
    name="kosmos-eval",
    help="Evaluate multimodal language models zero- and few-shot on interleaved image-text prompts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(run.run)
app.command()(run.rerun)
app.command()(run.score)
app.command()(show.tasks)
app.command()(show.models)
app.command()(show.show)
app.command("check-data")(show.check_data)
app.command()(results.report)
app.command()(results.compare)
app.command()(results.export)
app.command()(results.leaderboard)
app.command()(chat.chat)


class _Interrupted(BaseException):
    """Ctrl-C, by a name of our own because typer would turn KeyboardInterrupt into exit code 1."""


def main() -> None:
    """Run the command line: exit 0 when all went well, 1 for a bug, 2 when the user can act, 130 when interrupted."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _Interrupted

    signal.signal(signal.SIGINT, interrupt)
    register_environment()
    known = {command.name for command in app.registered_commands}
    try:
        for name in registry.names("command"):
            if name not in known:
                app.command(name)(registry.named("command", name))
        app()
    except KosmosEvalError as error:
        print(f"error: {redacted(str(error))}", file=sys.stderr)
        sys.exit(2)
    except _Interrupted:
        from kosmos_eval.evaluation.launch import is_main_process

        if is_main_process():
            print("interrupted; finished samples are kept, the same command resumes", file=sys.stderr)
        sys.exit(130)
    finally:
        sys.excepthook = _print_traceback


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of a bug, without secrets; typer sets a hook of its own, so it is set late."""
    print(redacted("".join(traceback.format_exception(kind, error, trace))), file=sys.stderr, end="")
