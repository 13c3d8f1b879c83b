"""Flags that the commands which change a schema share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dbkit.errors import UsageError

if TYPE_CHECKING:
    from dbkit.postgres.migrate.executor.job import Knobs

Migrations = Annotated[
    Path | None,
    typer.Option(
        "--migrations",
        help="alembic.ini, pyproject.toml or the folder with env.py; default: the nearest upwards.",
        metavar="PATH",
    ),
]
VERSION_TABLE: Final = "alembic_version"
VersionTable = Annotated[
    str, typer.Option("--version-table", help="Where env.py keeps the version, if not there.", metavar="TABLE")
]
MaxStall = Annotated[
    str,
    typer.Option(
        "--max-stall", help="How long one attempt may queue for its locks, and others behind it.", metavar="TIME"
    ),
]
BudgetOption = Annotated[
    str, typer.Option("--budget", help="How long others may be kept waiting in the whole run.", metavar="TIME")
]
MaxHold = Annotated[
    str,
    typer.Option("--max-hold", help="How long one statement may run under a lock that stops others.", metavar="TIME"),
]
Patience = Annotated[
    str,
    typer.Option(
        "--patience", help="How long to stay away from a table that somebody holds, nobody waiting.", metavar="TIME"
    ),
]
CancelBlockers = Annotated[
    str | None,
    typer.Option(
        "--cancel-blockers",
        help="Cancel blockers whose application name or query matches; end those idle in a transaction.",
        metavar="PATTERN",
    ),
]
Deadline = Annotated[str, typer.Option("--deadline", help="The longest one statement may take.", metavar="TIME")]
BackupCommand = Annotated[
    str | None,
    typer.Option("--backup-command", help="Run this first and go on only if it succeeds; no shell.", metavar="COMMAND"),
]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        help="What of the closed gate is accepted, by kind (observation) or itself (view:public.v); it is recorded.",
        metavar="WHAT",
    ),
]
Window = Annotated[
    str, typer.Option("--window", help="How long nothing may have been seen to use the old shape.", metavar="TIME")
]
Standby = Annotated[
    list[str] | None,
    typer.Option(
        "--standby",
        help="A standby whose statements count, too, beside `replicas` of the target; may be repeated.",
        metavar="TARGET|DSN",
    ),
]
ChangeName = Annotated[
    str | None,
    typer.Argument(help="A change's id, a revision of it, or its table; default: all that is due.", metavar="[CHANGE]"),
]


def seconds(flag: str, text: str) -> float:
    """A duration of a flag. Raises UsageError naming it."""
    from dbkit.sizes import parse_seconds

    try:
        return parse_seconds(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


def knobs(
    command: str, max_stall: str, budget: str, max_hold: str, patience: str, deadline: str, cancel: str | None
) -> Knobs:
    """The flags as numbers. Raises UsageError."""
    from dbkit.postgres.indexes.watch import Limits
    from dbkit.postgres.migrate.executor.blockers import pattern
    from dbkit.postgres.migrate.executor.budget import SMALLEST, Budget
    from dbkit.postgres.migrate.executor.job import Knobs
    from dbkit.sizes import parse_seconds

    try:
        made = Budget(*(parse_seconds(text) for text in (max_stall, budget, max_hold, patience)))
        limits = Limits(wait=30.0, max_wait=made.patience, deadline=parse_seconds(deadline))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not made.allowance:
        raise UsageError("--max-stall and --budget leave no attempt", hint=f"at least {SMALLEST * 1000:.0f} ms each")
    pattern(cancel)  # a wrong one is said before anything is touched
    return Knobs(budget=made, limits=limits, cancel_blockers=cancel, command=f"dbkit migrate {command}")
