"""What mkdocs calls while it builds: writes the page of commands from the command line itself."""

from collections.abc import Iterator
from typing import Any

import typer

from kosmos_eval import registry
from kosmos_eval.cli.app import app


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the commands where a page has room for them."""
    place = "<!-- commands -->"
    return markdown.replace(place, "\n".join(lines())) if place in markdown else markdown


def lines() -> Iterator[str]:
    """Yield the lines of a page with every command, its arguments and options."""
    known = {command.name for command in app.registered_commands}
    for name in registry.names("command"):
        if name not in known:
            app.command(name)(registry.named("command", name))
    group = typer.main.get_command(app)
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]
        arguments = " ".join(argument(param) for param in command.params if param.param_type_name == "argument")
        yield from (f"## {name}", "", "```sh", f"kosmos-eval {name} {arguments}".rstrip() + " [OPTIONS]", "```", "")
        yield from (command.help or "", "", "| option | default | meaning |", "|---|---|---|")
        for param in command.params:
            if param.param_type_name == "option" and param.name != "help":
                yield option(param)
        yield ""


def argument(param: Any) -> str:
    """Return an argument as a usage line shows it."""
    name = param.metavar or param.name.upper() + ("..." if param.nargs != 1 else "")
    return name if param.required else f"[{name}]"


def option(param: Any) -> str:
    """Return an option as a row of a table."""
    names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
    plain = isinstance(param.default, str | int | float) and param.default is not False
    default = f"`{param.default}`" if plain and not param.required else "required" if param.required else ""
    return f"| {names} | {default} | {(param.help or '').replace('|', chr(92) + '|')} |"
