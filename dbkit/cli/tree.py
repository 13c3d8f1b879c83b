"""The command tree as a table: a command's module is imported when the command is called, never for `dbkit --help`."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group


class Entry(NamedTuple):
    """One command at the root: where it lives (`module:function`, or `module:app` for a group) and its line of help."""

    place: str
    help: str


# The help repeats the command's own first line, so that printing it costs no import; a test holds the two together.
COMMANDS: Final = {
    "demo": Entry("demo:demo", "Show the main job on a throw-away PostgreSQL 18."),
    "doctor": Entry("doctor:doctor", "Connect, and say what this role can do and see."),
    "audit": Entry("audit:audit", "Hold targets against their policies; change nothing."),
    "explain": Entry("explain:explain", "Print the page of a rule or a topic."),
    "apply": Entry("apply:apply", "Carry out a reviewed plan."),
    "index": Entry("index:app", "Plan, build and check indexes without blocking."),
    "job": Entry("job:app", "List, inspect, pause, resume and abort jobs."),
    "migrate": Entry("migrate:app", "Judge migrations, and carry them out without downtime."),
    "policy": Entry("policy:app", "Check policies and print the schemas of files."),
}


class Tree(TyperGroup):
    """The root group: lists its commands from the table and loads the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, imported now; None when there is none."""
        # After a typing error all are loaded, for typer to say which was meant.
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.commands[name] = load(name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands in `--help`."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def load(name: str) -> Any:
    """Import a command of the table and make typer's command of it."""
    module, _, attribute = COMMANDS[name].place.partition(":")
    found = getattr(import_module(f"dbkit.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        return get_group(found)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name)(found)
    return get_command(single)
