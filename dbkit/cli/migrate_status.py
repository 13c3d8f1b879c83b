"""`dbkit migrate status` and `plan`: where changes stand, and what the next run would do. Both only read."""

from __future__ import annotations

import typer

from dbkit.cli import output, targets
from dbkit.cli.migrate_options import Migrations, VersionTable
from dbkit.cli.options import Config, Dsn, Format, OutputFormat, Outputs, TargetNames


def status(
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    migrations: Migrations = None,
    version_table: VersionTable = "alembic_version",
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
    from dbkit.postgres.migrate import revisions
    from dbkit.postgres.migrate import status as engine

    environment = revisions.find(migrations, version_table=version_table)
    _, chosen = targets.one_target(target, dsn, config)
    report = engine.status(chosen, environment)
    raise typer.Exit(output.deliver(report, fmt=fmt, outputs=outputs, verbose=True))


def plan(
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    migrations: Migrations = None,
    version_table: VersionTable = "alembic_version",
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
) -> None:
    """Show the statements that are due, each with its locks and whom they stop. Changes nothing.

    Examples:

      dbkit migrate plan -t prod

      dbkit migrate plan -t prod -o plan.md
    """
    from dbkit.postgres.migrate import revisions
    from dbkit.postgres.migrate import status as engine

    environment = revisions.find(migrations, version_table=version_table)
    _, chosen = targets.one_target(target, dsn, config)
    report = engine.plan(chosen, environment)
    raise typer.Exit(output.deliver(report, fmt=fmt, outputs=outputs, verbose=True))
