"""`dbkit migrate status` and `plan`: where changes stand, and what the next run would do. Both only read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dbkit.cli.migrate_fleet import Fleet, KeepGoing, Outcome, Place, SchemaPattern, finish
from dbkit.cli.migrate_options import VERSION_TABLE, Migrations, Standby, VersionTable
from dbkit.cli.options import Config, Dsn, FailOn, Format, OutputFormat, Outputs, TargetNames

if TYPE_CHECKING:
    from dbkit.model import Report


def status(
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
) -> None:
    """Show where each change stands, what is allowed next, and what keeps it from being done.

    The phase is read from alembic_version and the catalogue: it is right whoever moved the database. What is seen to
    use the old shape of a verified change is remembered in schema dbkit: contract waits until it has been quiet.

    Examples:

      dbkit migrate status -t prod

      dbkit migrate status -t prod --format json
    """
    from dbkit.postgres.migrate import status as engine

    fleet = Fleet(target, dsn, config, migrations, version_table, schema_pattern, keep_going, standby)
    _show("migrate status", fleet, lambda p: engine.status(p.target, p.environment, p.standbys), fmt, outputs)


def plan(
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    migrations: Migrations = None,
    version_table: VersionTable = VERSION_TABLE,
    schema_pattern: SchemaPattern = None,
    keep_going: KeepGoing = False,
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
) -> None:
    """Show the statements that are due, each with its locks and whom they stop. Changes nothing.

    Examples:

      dbkit migrate plan -t prod

      dbkit migrate plan -t prod -o plan.md
    """
    from dbkit.postgres.migrate import status as engine

    fleet = Fleet(target, dsn, config, migrations, version_table, schema_pattern, keep_going)
    _show("migrate plan", fleet, lambda p: engine.plan(p.target, p.environment), fmt, outputs)


def _show(command: str, fleet: Fleet, look: Callable[[Place], Report], fmt: Format, outputs: list[Path] | None) -> None:
    finish(fleet.run(command, lambda place: Outcome(look(place))), fmt=fmt, outputs=outputs, fail_on=FailOn.NEVER)
