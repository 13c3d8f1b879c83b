"""`dbkit job`: long pieces of work, seen and steered from outside."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dbkit.cli import targets
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
from dbkit.cli.options import Config, Dsn, FailOn, FailOnOption, Format, OutputFormat, Outputs, Quiet, TargetNames
from dbkit.errors import Refused, UsageError

if TYPE_CHECKING:
    from dbkit.job import Record
    from dbkit.postgres.jobstore import PostgresStore
    from dbkit.settings import Target

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, inspect, pause, resume and abort jobs.")
JobId = Annotated[int, typer.Argument(help="The number that `dbkit job list` shows.", metavar="ID")]


@app.command("list")
def list_(target: TargetNames = None, dsn: Dsn = None, config: Config = None, fmt: OutputFormat = Format.TEXT) -> None:
    """List the jobs of a database, newest first. One that says running without a runner is shown as interrupted.

    Examples:

      dbkit job list -t prod

      dbkit job list --format json
    """
    _known(fmt)
    with _store(target, dsn, config) as (store, _):
        records = store.records()
    if fmt is Format.JSON:
        print(json.dumps({"jobs": [_data(r) for r in records]}, indent=2, ensure_ascii=False))
        return
    rows = [(str(r.id), r.kind, state(r), _share(r), r.updated, r.runner, r.note) for r in records]
    if not rows:
        print("no job has run in this database")
        return
    head = ("id", "kind", "state", "done", "last progress", "runner", "note")
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command()
def show(
    job_id: JobId,
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    fmt: OutputFormat = Format.TEXT,
) -> None:
    """Tell the story of one job: who ran it, what was decided, when and why.

    Examples:

      dbkit job show 3 -t prod

      dbkit job show 3 --format json
    """
    _known(fmt)
    with _store(target, dsn, config) as (store, _):
        record, runs, events = store.get(job_id), store.runs(job_id), store.events(job_id)
    if fmt is Format.JSON:
        told = {"job": {**_data(record), "spec": record.spec}, "runs": runs, "events": events}
        print(json.dumps(told, indent=2, ensure_ascii=False, default=str))
        return
    print(f"job {record.id}: {record.kind}, {state(record)}, {_share(record)} done")
    if record.note:
        print(f"  {record.note}")
    for run in runs:
        ended = f"{run['outcome']} {run['finished']}" if run["finished"] else "not ended by itself"
        print(f"run {run['id']}: {run['runner']} as {run['role']} from {run['client']}, {run['tool']}")
        print(f"  plan {run['plan_hash']}, started {run['started']}, {ended}, waited {run['waited_seconds']:.1f} s")
    for event in events:
        print(f"  {event['at']}  {event['event']}{_told(event['detail'])}")


@app.command()
def pause(job_id: JobId, target: TargetNames = None, dsn: Dsn = None, config: Config = None) -> None:
    """Ask the runner of a job to stop in a safe state; `dbkit job resume` goes on.

    A concurrent build cannot be held: it is cancelled and its remains are removed. What was finished stays.

    Examples:

      dbkit job pause 3 -t prod
    """
    with _store(target, dsn, config) as (store, _):
        record = store.get(job_id)
        _refuse_ended(record)
        if store.request(record, "pause"):
            raise Refused(
                f"job {job_id} is {state(record)}: nobody runs it", hint=f"`dbkit job resume {job_id}` goes on"
            )
    print(f"job {job_id} was asked to pause; its runner {record.runner} stops within seconds")


@app.command()
def abort(job_id: JobId, target: TargetNames = None, dsn: Dsn = None, config: Config = None) -> None:
    """End a job for good. Its runner cancels what it builds and removes the remains; finished indexes stay.

    Examples:

      dbkit job abort 3 -t prod
    """
    with _store(target, dsn, config) as (store, _):
        record = store.get(job_id)
        _refuse_ended(record)
        ended = store.request(record, "abort")
    told = "is aborted" if ended else f"was asked to abort; its runner {record.runner} stops within seconds"
    print(f"job {job_id} {told}")


@app.command()
def resume(
    job_id: JobId,
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    fmt: OutputFormat = Format.TEXT,
    outputs: Outputs = None,
    fail_on: FailOnOption = FailOn.ERROR,
    quiet: Quiet = False,
) -> None:
    """Go on with a job that was paused, interrupted, killed or failed, with its plan and limits.

    Examples:

      dbkit job resume 3 -t prod

      dbkit job resume 3 -o applied.json
    """
    from dbkit.cli.apply import execute
    from dbkit.plan import from_data
    from dbkit.postgres.apply import Knobs

    with _store(target, dsn, config) as (store, chosen):
        record = store.get(job_id)
    _refuse_ended(record)
    if record.kind == "backfill":
        _resume_backfill(record, chosen, fmt=fmt, outputs=outputs, fail_on=fail_on, quiet=quiet)
        return
    if record.kind == "migrate":
        again = str(record.spec.get("command", "dbkit migrate deploy"))
        raise UsageError(
            f"job {job_id} goes on by its own command",
            why="it needs the folder of the revisions",
            hint=f"run `{again}`",
        )
    if record.kind == "verify":
        raise UsageError(f"job {job_id} is a verification", hint="run `dbkit migrate verify` again: it counts anew")
    if "plan" not in record.spec:
        raise UsageError(f"job {job_id} holds no plan", hint="it was started by another version of dbkit")
    plan = from_data(record.spec["plan"], f"job {job_id}")
    how = Knobs.of_spec(record.spec, resume=job_id)
    execute(plan, chosen, how, fmt=fmt, outputs=outputs, fail_on=fail_on, quiet=quiet)


@app.command()
def limit(
    job_id: JobId,
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
) -> None:
    """Show or change the limits of a backfill, also while it runs: its runner takes them up within a second.

    `off` switches a limit off. They stay with the job: `dbkit job resume` goes on with them.

    Examples:

      dbkit job limit 3 -t prod

      dbkit job limit 3 --max-lag 2s --batch-time 50ms --rest 1 -t prod

      dbkit job limit 3 --max-wal off -t prod
    """
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
    from dbkit.postgres.connect import connect
    from dbkit.postgres.migrate.backfill import limits, state

    with _store(target, dsn, config) as (store, chosen):
        record = store.get(job_id)
        if record.kind != "backfill":
            raise UsageError(f"job {job_id} is no backfill", hint="only backfills have limits that change meanwhile")
        if texts:
            _refuse_ended(record)
        with connect(chosen, purpose="job") as connection:
            state.set_limits(connection, job_id, texts)
            held = state.limits(connection, job_id)
    for name in limits.NAMES:
        if name in held:
            value, by = held[name]
            print(f"{name.replace('_', '-'):<13} {limits.told(name, limits.parse(name, value)):<10} set by {by}")


def state(record: Record) -> str:
    """The status as people see it: a running row that nobody runs is interrupted."""
    return "interrupted" if record.status.value == "running" and not record.alive else record.status.value


def _resume_backfill(
    record: Record, target: Target, *, fmt: Format, outputs: list[Path] | None, fail_on: FailOn, quiet: bool
) -> None:
    from dbkit.cli.migrate_fleet import Outcome, finish
    from dbkit.postgres.migrate.backfill.job import Knobs
    from dbkit.postgres.migrate.backfill.run import resume as go_on

    progress = targets.Progress(quiet=quiet)
    try:
        done = go_on(record, target, Knobs(), progress)
    finally:
        progress.close()
    finish(Outcome(done.report, done.error), fmt=fmt, outputs=outputs, fail_on=fail_on)


@contextmanager
def _store(target: list[str] | None, dsn: str | None, config: Path | None) -> Generator[tuple[PostgresStore, Target]]:
    from dbkit.postgres.connect import connect
    from dbkit.postgres.jobstore import PostgresStore

    _, chosen = targets.one_target(target, dsn, config)
    with connect(chosen, purpose="job") as connection:
        yield PostgresStore(connection), chosen


def _known(fmt: Format) -> None:
    if fmt not in (Format.TEXT, Format.JSON):
        raise UsageError(f"jobs are not written as {fmt.value}", hint="use --format text or json")


def _refuse_ended(record: Record) -> None:
    if record.status.value in ("done", "aborted"):
        raise Refused(f"job {record.id} is {record.status.value}", hint="the command that started it starts it anew")


def _data(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "kind": record.kind,
        "state": state(record),
        "done": record.done,
        "total": record.total,
        "note": record.note,
        "runner": record.runner,
        "requested": record.requested,
        "started": record.started,
        "updated": record.updated,
    }


def _share(record: Record) -> str:
    return f"{record.done:g} of {record.total:g}" if record.total is not None else f"{record.done:g}"


def _told(detail: Mapping[str, Any]) -> str:
    """An event's facts on one line; a blocker in words."""
    parts: list[str] = []
    for name, value in detail.items():
        if name == "blocker" and isinstance(value, dict):
            if "told" in detail:
                continue
            shown = f"pid {value.get('pid')} ({value.get('user')}, {value.get('application')})"  # pyright: ignore[reportUnknownMemberType]
            parts.append(f"by {shown}")
        elif name == "object":
            parts.insert(0, str(value))
        elif value not in (None, ""):
            shown = f"{value:.1f} s" if name in ("seconds", "waited") else str(value)
            parts.append(f"{name}: {shown}")
    return f"  {'; '.join(parts)}" if parts else ""
