"""`dbkit migrate expand|contract|rollback|deploy`: carry changes out, and take them back."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbkit.cli import targets
from dbkit.cli.migrate_fleet import Fleet, KeepGoing, Outcome, Place, SchemaPattern, finish
from dbkit.cli.migrate_options import (
    VERSION_TABLE,
    Accept,
    BackupCommand,
    BudgetOption,
    CancelBlockers,
    ChangeName,
    Deadline,
    MaxHold,
    MaxStall,
    Migrations,
    Patience,
    Standby,
    VersionTable,
    Window,
    knobs,
    seconds,
)
from dbkit.cli.options import (
    Config,
    Dsn,
    FailOn,
    FailOnOption,
    Format,
    OutputFormat,
    Outputs,
    Quiet,
    TargetNames,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbkit.job import Record, Tick
    from dbkit.postgres.migrate.deploy import Applied, Options
    from dbkit.postgres.migrate.revisions import Environment
    from dbkit.settings import Target

    Run = Callable[[Target, Environment, Options, Callable[[Record, Tick], None]], Applied]


class Phase(StrEnum):
    """When a pipeline calls."""

    PRE = "pre"
    POST = "post"


def expand(
    change: ChangeName = None,
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    migrations: Migrations = None,
    version_table: VersionTable = VERSION_TABLE,
    schema_pattern: SchemaPattern = None,
    keep_going: KeepGoing = False,
    max_stall: MaxStall = "100ms",
    budget: BudgetOption = "5s",
    max_hold: MaxHold = "2s",
    patience: Patience = "10min",
    deadline: Deadline = "6h",
    cancel_blockers: CancelBlockers = None,
    keep_failed: Annotated[
        bool, typer.Option("--keep-failed", help="Leave a change whose expand failed as it is; default: roll it back.")
    ] = False,
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
    fail_on: FailOnOption = FailOn.ERROR,
    quiet: Quiet = False,
) -> None:
    """Run what is due before the new application: plain revisions and expands, up to the first contract in the chain.

    Each statement looks for blockers before it asks for its lock, gives its place in the queue up after --max-stall,
    and tries again; all attempts together keep others waiting for --budget at most. Killed anywhere, the next run goes
    on where this one was.

    Examples:

      dbkit migrate expand -t prod

      dbkit migrate expand users-full_name-display_name --budget 2s --cancel-blockers reporting
    """
    from dbkit.postgres.migrate import deploy

    def how() -> Options:
        made = knobs("expand", max_stall, budget, max_hold, patience, deadline, cancel_blockers)
        return deploy.Options(made, change, undo_failed=not keep_failed)

    fleet = Fleet(target, dsn, config, migrations, version_table, schema_pattern, keep_going)
    _run("expand", deploy.expand, how, fleet, fmt, outputs, fail_on, quiet=quiet)


def contract(
    change: ChangeName = None,
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    migrations: Migrations = None,
    version_table: VersionTable = VERSION_TABLE,
    schema_pattern: SchemaPattern = None,
    keep_going: KeepGoing = False,
    backup_command: BackupCommand = None,
    accept: Accept = None,
    window: Window = "1h",
    standby: Standby = None,
    max_stall: MaxStall = "100ms",
    budget: BudgetOption = "5s",
    max_hold: MaxHold = "2s",
    patience: Patience = "10min",
    deadline: Deadline = "6h",
    cancel_blockers: CancelBlockers = None,
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
    fail_on: FailOnOption = FailOn.ERROR,
    quiet: Quiet = False,
) -> None:
    """Take the old shape away, once every row is verified and nothing uses it any more (`dbkit explain gate`).

    Examples:

      dbkit migrate contract users-full_name-display_name -t prod

      dbkit migrate contract -t prod --backup-command "pgbackrest --stanza=main backup"

      dbkit migrate contract -t prod --standby prod-replica --window 25h
    """
    from dbkit.postgres.migrate import deploy

    def how() -> Options:
        made = knobs("contract", max_stall, budget, max_hold, patience, deadline, cancel_blockers)
        return deploy.Options(made, change, backup_command, tuple(accept or ()), seconds("--window", window))

    fleet = Fleet(target, dsn, config, migrations, version_table, schema_pattern, keep_going, standby)
    _run("contract", deploy.contract, how, fleet, fmt, outputs, fail_on, quiet=quiet)


def rollback(
    change: Annotated[
        str | None,
        typer.Argument(
            help="A change's id, a revision of it, or its table; default: the last deploy.", metavar="[CHANGE]"
        ),
    ] = None,
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    migrations: Migrations = None,
    version_table: VersionTable = VERSION_TABLE,
    schema_pattern: SchemaPattern = None,
    keep_going: KeepGoing = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept", help="loss: take plain revisions back though that drops rows or values.", metavar="WHAT"
        ),
    ] = None,
    max_stall: MaxStall = "100ms",
    budget: BudgetOption = "5s",
    max_hold: MaxHold = "2s",
    patience: Patience = "10min",
    deadline: Deadline = "6h",
    cancel_blockers: CancelBlockers = None,
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
    fail_on: FailOnOption = FailOn.ERROR,
    quiet: Quiet = False,
) -> None:
    """Take back one change by one phase, or without a name all that the last deploy did; the time it took is printed.

    Before contract nothing has to be copied back: the old columns were right at every moment. After it the old shape
    is made again and filled where that is possible; where it is not, this refuses and says why. A plain revision whose
    downgrade() drops a table with rows, or a column with values, is taken back with --accept loss only.

    Examples:

      dbkit migrate rollback -t prod

      dbkit migrate rollback users-full_name-display_name -t prod
    """
    from dbkit.postgres.migrate import deploy

    def how() -> Options:
        made = knobs("rollback", max_stall, budget, max_hold, patience, deadline, cancel_blockers)
        return deploy.Options(made, change, accept=tuple(accept or ()))

    fleet = Fleet(target, dsn, config, migrations, version_table, schema_pattern, keep_going)
    _run("rollback", deploy.rollback, how, fleet, fmt, outputs, fail_on, quiet=quiet)


def deploy(
    phase: Annotated[Phase, typer.Option("--phase", help="pre: before the rollout; post: after it.")],
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    migrations: Migrations = None,
    version_table: VersionTable = VERSION_TABLE,
    schema_pattern: SchemaPattern = None,
    keep_going: KeepGoing = False,
    backup_command: BackupCommand = None,
    accept: Accept = None,
    window: Window = "1h",
    standby: Standby = None,
    max_stall: MaxStall = "100ms",
    budget: BudgetOption = "5s",
    max_hold: MaxHold = "2s",
    patience: Patience = "10min",
    deadline: Deadline = "6h",
    cancel_blockers: CancelBlockers = None,
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
    fail_on: FailOnOption = FailOn.ERROR,
    quiet: Quiet = False,
) -> None:
    """Run what is due before or after the application is rolled out; the form for a pipeline.

    pre expands, backfills and verifies: when it ends with 0 the new application may start. post contracts what may be
    contracted; while the gate is closed that is a warning, and the next deploy asks again (--fail-on warn: exit 1).

    Examples:

      dbkit migrate deploy --phase pre -t prod

      dbkit migrate deploy --phase post -t prod --backup-command "pgbackrest --stanza=main backup"

      dbkit migrate deploy --phase pre -t eu -t us --schema-pattern "tenant_*"
    """
    from dbkit.postgres.migrate import deploy as engine
    from dbkit.postgres.migrate import pipeline

    command = f"deploy --phase {phase.value}"

    def how() -> Options:
        made = knobs(command, max_stall, budget, max_hold, patience, deadline, cancel_blockers)
        return engine.Options(made, None, backup_command, tuple(accept or ()), seconds("--window", window))

    fleet = Fleet(target, dsn, config, migrations, version_table, schema_pattern, keep_going, standby)
    run = pipeline.pre if phase is Phase.PRE else pipeline.post
    _run(command, run, how, fleet, fmt, outputs, fail_on, quiet=quiet)


def _run(
    command: str, run: Run, options: Callable[[], Options], fleet: Fleet, fmt: Format, outputs: list[Path] | None,
    fail_on: FailOn, *, quiet: bool,
) -> None:  # fmt: skip
    """Each place has a budget of its own: what one keeps waiting, the next one's users do not feel."""
    options()  # a wrong flag is said before anything is touched

    def work(place: Place) -> Outcome:
        progress = targets.Progress(quiet=quiet)
        chosen = options()
        chosen.standbys = place.standbys
        named = f" {chosen.change}" if chosen.change else ""
        chosen.knobs.command = place.command(chosen.knobs.command + named)
        try:
            applied = run(place.target, place.environment, chosen, progress)
        finally:
            progress.close()
        return Outcome(applied.report, applied.error)

    finish(fleet.run(f"migrate {command}", work), fmt=fmt, outputs=outputs, fail_on=fail_on)
