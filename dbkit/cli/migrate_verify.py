"""`dbkit migrate verify`: prove that every row is filled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dbkit.cli import targets
from dbkit.cli.migrate_fleet import Fleet, KeepGoing, Outcome, Place, SchemaPattern, finish
from dbkit.cli.migrate_options import VERSION_TABLE, Migrations, Standby, VersionTable
from dbkit.cli.options import Config, Dsn, FailOn, FailOnOption, Format, OutputFormat, Outputs, Quiet, TargetNames
from dbkit.errors import UsageError

if TYPE_CHECKING:
    from dbkit.postgres.indexes.watch import Limits
    from dbkit.postgres.migrate.changes.spec import BackfillSpec, Change
    from dbkit.settings import Target


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
    version_table: VersionTable = VERSION_TABLE,
    schema_pattern: SchemaPattern = None,
    keep_going: KeepGoing = False,
    standby: Standby = None,
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
    limits = _limits(max_wait, deadline)
    if (table is None) != (check is None) or (change is not None and table is not None):
        raise UsageError("name a change, or --table with --check", hint="`dbkit migrate status` lists changes")
    if table is not None and check is not None:
        if schema_pattern:
            raise UsageError("--schema-pattern goes with changes", hint="name the table with its schema")
        _, chosen = targets.one_target(target, dsn, config)
        finish(_of_check(chosen, table, check, limits, quiet=quiet), fmt=fmt, outputs=outputs, fail_on=fail_on)

    def work(place: Place) -> Outcome:
        from dbkit.postgres.migrate.backfill.due import due

        return _of_changes(place, due(place.target, place.environment, change), limits, quiet=quiet)

    fleet = Fleet(target, dsn, config, migrations, version_table, schema_pattern, keep_going, standby)
    finish(fleet.run("migrate verify", work), fmt=fmt, outputs=outputs, fail_on=fail_on)


def _of_check(target: Target, table: str, check: str, limits: Limits, *, quiet: bool) -> Outcome:
    from dbkit.postgres.connect import connect
    from dbkit.postgres.migrate import verify as engine

    with connect(target, purpose="verify") as connection:
        specs = [engine.of_check(connection, table, check)]
    return _verified(target, specs, limits, quiet=quiet)[0]


def _of_changes(place: Place, changes: list[Change], limits: Limits, *, quiet: bool) -> Outcome:
    from dbkit.postgres.connect import connect
    from dbkit.postgres.migrate import gate

    outcome, whole = _verified(place.target, [s for one in changes for s in one.backfills], limits, quiet=quiet)
    if whole:
        with connect(place.target, purpose="verify") as connection:
            for one in changes:
                gate.begin(connection, one, place.standbys)  # what uses the old shape is watched from here on
    return outcome


def _verified(target: Target, specs: list[BackfillSpec], limits: Limits, *, quiet: bool) -> tuple[Outcome, bool]:
    from dbkit.postgres.migrate import verify as engine
    from dbkit.postgres.migrate.verify_report import report

    progress = targets.Progress(quiet=quiet)
    try:
        done = engine.verify(specs, target, limits, progress=progress)
    finally:
        progress.close()
    return Outcome(report(done, target.name), done.error), done.whole


def _limits(max_wait: str, deadline: str) -> Limits:
    from dbkit.postgres.indexes.watch import Limits
    from dbkit.sizes import parse_seconds

    try:
        return Limits(max_wait=parse_seconds(max_wait), deadline=parse_seconds(deadline))
    except ValueError as error:
        raise UsageError(str(error)) from None
