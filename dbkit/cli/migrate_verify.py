"""`dbkit migrate verify`: prove that every row is filled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dbkit.cli import output, targets
from dbkit.cli.migrate_options import Migrations, VersionTable
from dbkit.cli.options import Config, Dsn, FailOn, FailOnOption, Format, OutputFormat, Outputs, Quiet, TargetNames
from dbkit.errors import UsageError

if TYPE_CHECKING:
    from dbkit.postgres.indexes.watch import Limits
    from dbkit.postgres.migrate.changes.spec import Change


def verify(
    change: Annotated[
        str | None,
        typer.Argument(
            help="A change's id, a revision of it, or its table; default: all that are expanded.",
            metavar="[CHANGE]",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option("--table", help="Without a change: a table, as schema.table.", metavar="NAME", show_default=False),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option("--check", help="With --table: its NOT VALID check.", metavar="NAME", show_default=False),
    ] = None,
    max_wait: Annotated[
        str,
        typer.Option("--max-wait", help="How long VALIDATE may wait for others; nobody waits for it.", metavar="TIME"),
    ] = "10min",
    deadline: Annotated[
        str, typer.Option("--deadline", help="The longest one VALIDATE may take.", metavar="TIME")
    ] = "6h",
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    migrations: Migrations = None,
    version_table: VersionTable = "alembic_version",
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
    fail_on: FailOnOption = FailOn.ERROR,
    quiet: Quiet = False,
) -> None:
    """Count the rows that differ, show some, and if there is none let the server validate the check that ties them.

    From then on the server refuses every write that would break it: the proof cannot go stale. Reads and writes go on
    meanwhile (SHARE UPDATE EXCLUSIVE). Rows that differ are findings (exit 1); nothing is changed then.

    Examples:

      dbkit migrate verify users-full_name-display_name -t prod

      dbkit migrate verify --table public.users --check users_name_tie -t prod

      dbkit migrate verify --table shop.orders --check total_is_set --max-wait 1min -o verified.html
    """
    from dbkit.postgres.connect import connect
    from dbkit.postgres.migrate import gate, revisions
    from dbkit.postgres.migrate import verify as engine
    from dbkit.postgres.migrate.backfill.due import due
    from dbkit.postgres.migrate.verify_report import report

    limits = _limits(max_wait, deadline)
    _, chosen = targets.one_target(target, dsn, config)
    if (table is None) != (check is None) or (change is not None and table is not None):
        raise UsageError("name a change, or --table with --check", hint="`dbkit migrate status` lists changes")
    changes: list[Change] = []
    if table is not None and check is not None:
        with connect(chosen, purpose="verify") as connection:
            specs = [engine.of_check(connection, table, check)]
    else:
        changes = due(chosen, revisions.find(migrations, version_table=version_table), change)
        specs = [spec for one in changes for spec in one.backfills]
    progress = targets.Progress(quiet=quiet)
    try:
        done = engine.verify(specs, chosen, limits, progress=progress)
    finally:
        progress.close()
    if done.whole:
        with connect(chosen, purpose="verify") as connection:
            for one in changes:
                gate.begin(connection, one)  # what uses the old shape is watched from here on
    code = output.deliver(report(done, chosen.name), fmt=fmt, outputs=outputs, fail_on=fail_on, verbose=True)
    if done.error is not None:
        raise done.error
    raise typer.Exit(code)


def _limits(max_wait: str, deadline: str) -> Limits:
    from dbkit.postgres.indexes.watch import Limits
    from dbkit.sizes import parse_seconds

    try:
        return Limits(max_wait=parse_seconds(max_wait), deadline=parse_seconds(deadline))
    except ValueError as error:
        raise UsageError(str(error)) from None
