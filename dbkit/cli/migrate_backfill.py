"""`dbkit migrate backfill`: fill the rows nobody has touched since expand."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dbkit.cli import output, targets
from dbkit.cli.backfill_options import (
    BatchTime,
    HoldWhile,
    MaxActive,
    MaxDead,
    MaxHold,
    MaxLag,
    MaxSlotLag,
    MaxVacuums,
    MaxWaiters,
    MaxWal,
    PauseFile,
    Rest,
    given,
)
from dbkit.cli.migrate_fleet import Fleet, KeepGoing, Outcome, Place, SchemaPattern, finish
from dbkit.cli.migrate_options import VERSION_TABLE, Migrations, VersionTable
from dbkit.cli.options import (
    Config,
    DryRun,
    Dsn,
    FailOn,
    FailOnOption,
    Format,
    OutputFormat,
    Outputs,
    Quiet,
    TargetNames,
    Yes,
)
from dbkit.errors import UsageError
from dbkit.model import Report

if TYPE_CHECKING:
    from dbkit.postgres.migrate.backfill.job import Knobs
    from dbkit.postgres.migrate.changes.spec import BackfillSpec
    from dbkit.settings import Target


class By(StrEnum):
    """What ranges are made of."""

    AUTO = "auto"
    KEY = "key"
    CTID = "ctid"


class Triggers(StrEnum):
    """What becomes of the table's own triggers."""

    AUTO = "auto"
    SKIP = "skip"
    FIRE = "fire"


def backfill(
    change: Annotated[
        str | None,
        typer.Argument(
            help="A change's id, a revision of it, or its table; default: all that are expanded and not yet verified.",
            metavar="[CHANGE]",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            "--table", help="Without a change: the table, as schema.table.", metavar="NAME", show_default=False
        ),
    ] = None,
    set_: Annotated[
        str | None,
        typer.Option(
            "--set",
            help="With --table: what to write, column = expression over the row, ...",
            metavar="SQL",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            help="Which rows are to be filled; must no longer hold once a row is. Without it: those that differ.",
            metavar="SQL",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=16, help="Ranges filled side by side.")] = 2,
    by: Annotated[By, typer.Option("--by", help="Ranges of a unique key, or of pages (ctid).")] = By.AUTO,
    triggers: Annotated[
        Triggers,
        typer.Option(
            "--triggers",
            help="The table's own triggers on filled rows; auto: skipped for a change where possible.",
        ),
    ] = Triggers.AUTO,
    stop_after: Annotated[
        str | None,
        typer.Option(
            "--stop-after",
            help="Pause after this long; run it again to go on.",
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    batch_time: BatchTime = None,
    max_lag: MaxLag = None,
    max_slot_lag: MaxSlotLag = None,
    max_waiters: MaxWaiters = None,
    max_wal: MaxWal = None,
    max_dead: MaxDead = None,
    max_active: MaxActive = None,
    max_vacuums: MaxVacuums = None,
    rest: Rest = None,
    max_hold: MaxHold = None,
    pause_file: PauseFile = None,
    hold_while: HoldWhile = None,
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    migrations: Migrations = None,
    version_table: VersionTable = VERSION_TABLE,
    schema_pattern: SchemaPattern = None,
    keep_going: KeepGoing = False,
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
    fail_on: FailOnOption = FailOn.ERROR,
    quiet: Quiet = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Fill rows in small transactions, held back by what the server and its replicas can bear.

    For a change that `dbkit migrate expand` has begun, or for a table by itself with --table and --set. Each batch and
    its place are committed together: killed, cut off or out of disk, the same command goes on, and no row is written
    twice. `dbkit job pause | resume | limit` steer it meanwhile. See `dbkit explain backfill`.

    Examples:

      dbkit migrate backfill users-full_name-display_name -t prod

      dbkit migrate backfill --workers 2 --max-lag 5s -t prod

      dbkit migrate backfill --table public.users --set "display_name = full_name" -t prod --yes

      dbkit migrate backfill --table shop.orders --set "total_cents = round(total * 100)::bigint"
      --where "total_cents is null" --workers 2 --max-lag 5s --stop-after 2h -t prod --yes

      dbkit migrate backfill --table public.users --set "token = gen_random_uuid()" --where "token is null" --dry-run
    """
    from dbkit.postgres.migrate.backfill import text
    from dbkit.postgres.migrate.backfill.job import Knobs
    from dbkit.postgres.migrate.backfill.outline import outline
    from dbkit.sizes import parse_seconds

    texts = given(
        batch_time=batch_time,
        max_lag=max_lag,
        max_slot_lag=max_slot_lag,
        max_waiters=max_waiters,
        max_wal=max_wal,
        max_dead=max_dead,
        max_active=max_active,
        max_vacuums=max_vacuums,
        rest=rest,
        max_hold=max_hold,
        pause_file=pause_file,
        hold_while=hold_while,
    )
    try:
        deadline = parse_seconds(stop_after) if stop_after else None
    except ValueError as error:
        raise UsageError(f"--stop-after: {error}") from None
    knobs = Knobs(workers=workers, by=by.value, triggers=triggers.value, texts=texts, deadline=deadline)
    named = table is None
    if named != (set_ is None) or (change is not None and not named):
        raise UsageError("name a change, or --table with --set", hint="`dbkit migrate status` lists changes")
    if where is not None and table is None:
        raise UsageError("--where goes with --table: the rows of a change are its own")
    if table is not None and set_ is not None:
        if schema_pattern:
            raise UsageError("--schema-pattern goes with changes", hint="name the table with its schema")
        _, chosen = targets.one_target(target, dsn, config)
        specs = [text.read(table, set_, where)]
        shown = outline(specs[0], chosen, knobs, ours=False)
        if dry_run:
            print(shown)
            return
        output.note(shown, quiet=quiet)
        # A change was reviewed as a revision; what is typed here was not.
        targets.confirm(f"Fill {specs[0].schema}.{specs[0].table}?", yes=yes)
        finish(_fill(specs, chosen, knobs, ours=False, quiet=quiet), fmt=fmt, outputs=outputs, fail_on=fail_on)

    def work(place: Place) -> Outcome:
        from dbkit.postgres.migrate.backfill.due import due, names

        changes = due(place.target, place.environment, change)
        specs = [spec for one in changes for spec in one.backfills]
        shown = "\n\n".join(outline(spec, place.target, knobs, ours=True) for spec in specs)
        output.note(f"to fill{f' in {place.name}' if place.schema else ''}: {names(changes)}", quiet=quiet)
        if dry_run:
            print(shown)
            return Outcome(Report(command="migrate backfill"))
        output.note(shown, quiet=quiet)
        return _fill(specs, place.target, knobs, ours=True, quiet=quiet)

    fleet = Fleet(target, dsn, config, migrations, version_table, schema_pattern, keep_going)
    done = fleet.run("migrate backfill", work)
    if dry_run and done.error is None:
        return
    finish(done, fmt=fmt, outputs=outputs, fail_on=fail_on)


def _fill(specs: list[BackfillSpec], target: Target, knobs: Knobs, *, ours: bool, quiet: bool) -> Outcome:
    """One after the other, in the order the change needs; the first that does not end well is the last."""
    from dbkit.model import merge
    from dbkit.postgres.migrate.backfill.run import Filled, fill

    done: list[Filled] = []
    progress = targets.Progress(quiet=quiet)
    try:
        for spec in specs:
            done.append(fill(spec, target, knobs, ours=ours, progress=progress))
            if done[-1].error is not None:
                break
    finally:
        progress.close()
    return Outcome(merge("migrate backfill", [d.report for d in done]), done[-1].error if done else None)
