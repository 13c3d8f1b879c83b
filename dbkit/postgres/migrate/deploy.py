"""Moves a database through its changes: which revisions are due, what keeps them from running, and what became of them.

`expand` runs what is due before the new application is rolled out, `contract` what is due after it, `rollback` takes
the last of it back. The work is the executor's; here it is decided, checked before and verified after.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import psycopg

from dbkit.errors import Broken, DbkitError, Refused, Stopped, Unreachable
from dbkit.job import Hooks, Record, Tick, locked, run
from dbkit.model import Report
from dbkit.postgres.connect import PRIMARY, Connection, Server, connect, fetch, require_supported, server
from dbkit.postgres.indexes import failure
from dbkit.postgres.jobstore import PostgresStore
from dbkit.postgres.migrate import backup, deploy_report, due, gate, rollback_moves
from dbkit.postgres.migrate.backfill import state
from dbkit.postgres.migrate.backfill.run import fill
from dbkit.postgres.migrate.changes import standing
from dbkit.postgres.migrate.executor.done import Done
from dbkit.postgres.migrate.executor.job import KEY, Knobs, Move, MoveJob
from dbkit.postgres.migrate.executor.lone import Fill
from dbkit.postgres.migrate.executor.units import Sentence
from dbkit.postgres.migrate.revisions import DOWN, Environment
from dbkit.settings import Target

Progress = Callable[[Record, Tick], None]


@dataclass
class Options:
    """What a run is told beside its target."""

    knobs: Knobs = field(default_factory=Knobs)
    change: str | None = None
    backup_command: str | None = None
    accept: tuple[str, ...] = ()
    """What of the gate is accepted, by kind or by itself; recorded in dbkit.gate_accept."""
    window: float = gate.WINDOW
    """Seconds for which nothing may have been seen to use the old shape."""
    standbys: tuple[Target, ...] = ()
    """Standbys whose statements the gate watches, too."""
    undo_failed: bool = True
    """Roll back an expand that failed, so that a pipeline leaves the database as it found it."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The report of a run, and the error it ended with; shown both, in this order."""

    report: Report
    error: DbkitError | None = None


def expand(target: Target, environment: Environment, options: Options, progress: Progress) -> Applied:
    """Run what is due before the application: everything up to the first contract that is still to come."""
    with _alone(target) as (connection, found):
        moves = due.before(connection, environment, options.change)
        applied = _carry_out("expand", connection, found, target, environment, moves, options, progress)
        if applied.error is None:
            try:
                _watch(connection, environment, moves, options.standbys)
            except psycopg.Error as error:
                return replace(applied, error=failure.of_build(error, "expand ran; beginning to watch the old shape"))
        return applied


def _watch(connection: Connection, environment: Environment, moves: Sequence[Move], standbys: Sequence[Target]) -> None:
    """Where no row is to be filled, what uses the old shape is watched from here on; else from verify on."""
    moved = {m.revision.id for m in moves}
    try:
        for change in standing.changes(connection, environment):
            if change.expand in moved and change.contract and not change.backfills:
                gate.begin(connection, change, standbys)
    except (psycopg.Error, Unreachable):
        connection.close()  # lost after all was done: the watch begins at the next look


def contract(target: Target, environment: Environment, options: Options, progress: Progress) -> Applied:
    """Run the contracts that are due. Raises Refused while a change is not verified or its old shape is in use."""
    with _alone(target) as (connection, found):
        moves = due.after(
            connection, environment, options.change, accept=options.accept, window=options.window,
            standbys=options.standbys,
        )  # fmt: skip
        if moves and options.backup_command:
            options.knobs.backup = backup.take(options.backup_command).data()
        return _carry_out("contract", connection, found, target, environment, moves, options, progress)


def rollback(target: Target, environment: Environment, options: Options, progress: Progress) -> Applied:
    """Take back one change, or without a name all that the last deploy did."""
    with _alone(target, waits=False) as (connection, found):
        moves = rollback_moves.due_back(connection, environment, options.change, options.accept)
        options.knobs.fill = _refill(connection, target, moves, progress)
        return _carry_out("rollback", connection, found, target, environment, moves, options, progress)


@contextmanager
def _alone(target: Target, *, waits: bool = True) -> Generator[tuple[Connection, Server]]:
    """A session under the lock of all runs: what is due is decided in it, so that nobody changes it until it is done.

    Without `waits` a run that had to wait for one that ended meanwhile is refused: it was asked for when the database
    stood elsewhere. A run that was killed has not ended; its lock is free as soon as the server has noticed.
    """
    with connect(target, purpose="migrate") as connection:
        found = prepared(connection, target)
        before = None if waits else _newest_end(connection)
        with locked(KEY, PostgresStore(connection), Hooks()):
            if not waits and _newest_end(connection) != before:
                raise Refused(
                    "another run has just moved the database",
                    why="this one was asked for before that, and would now take back something else",
                    hint="see `dbkit migrate status`, then run the same command again if it is still wanted",
                )
            yield connection, found


def _newest_end(connection: Connection) -> int:
    rows = fetch(
        connection,
        "select count(*) as n from dbkit.run r join dbkit.job j on j.id = r.job "
        "where j.kind = 'migrate' and r.finished is not null",
    )
    return int(rows[0]["n"])


def _refill(connection: Connection, target: Target, moves: Sequence[Move], progress: Progress) -> Fill:
    """Rows of an old shape that is made again are filled in batches, as those of a new one are."""
    wanted = [s for m in moves if m.revision.phase == "contract" for s in standing.specs(connection, m.revision)]

    def refill(sentence: Sentence) -> bool:
        del sentence
        for spec in wanted:
            filled = fill(spec, target, progress=progress)
            if filled.error is not None:
                raise filled.error
        return bool(wanted)

    return refill


def prepared(connection: Connection, target: Target) -> Server:
    """The server, fit to be changed, with dbkit's state in it. Raises Refused or Unreachable."""
    found = server(connection)
    require_supported(found)
    if found.in_recovery:
        raise Refused(f"{target.name} is a standby", why="schemas are changed on its primary", hint=PRIMARY)
    if not found.direct:
        raise Refused(
            "this connection goes through a pooler such as PgBouncer",
            why="lock timeouts set for one attempt may reach another server session",
            hint="connect to PostgreSQL itself, usually on port 5432",
        )
    PostgresStore(connection).prepare()
    state.prepare(connection)
    return found


def _carry_out(
    command: str, connection: Connection, found: Server, target: Target, environment: Environment,
    moves: Sequence[Move], options: Options, progress: Progress,
) -> Applied:  # fmt: skip
    began = time.monotonic()
    if not moves:
        return Applied(
            deploy_report.report(command, connection, found, target, environment, [], None, 0.0, options.knobs.budget)
        )
    done, record, error = _run(connection, target, environment, moves, options, progress)
    if isinstance(error, Refused) and any(d.outcome == "done" for d in done):
        error = Broken(error.what, why=error.why, hint=error.hint)  # a refusal would say that nothing was changed
    if isinstance(error, Unreachable) and any(d.outcome == "done" for d in done):
        error = Stopped(error.what, why=error.why, hint=error.hint)
    if error is not None and command == "expand" and options.undo_failed and isinstance(error, Broken):
        error = _undo(connection, target, environment, moves, done, options, progress, error)
    seconds = time.monotonic() - began
    report = deploy_report.report(
        command, connection, found, target, environment, done, record, seconds, options.knobs.budget
    )
    if error is None and report.findings:
        error = Broken(
            f"{command} ran, but the server is not as it should be", why=report.findings[0].message,
            hint="`dbkit migrate status` shows where each change stands",
        )  # fmt: skip
    return Applied(report, error)


def _run(
    connection: Connection, target: Target, environment: Environment, moves: Sequence[Move], options: Options,
    progress: Progress,
) -> tuple[list[Done], Record | None, DbkitError | None]:  # fmt: skip
    job = MoveJob(target, environment, moves, options.knobs)
    seen: list[Record] = []

    def follow(record: Record, tick: Tick) -> None:
        seen[:] = [record]
        progress(record, tick)

    try:
        record = run(job, PostgresStore(connection), Hooks(progress=follow, save_every=0.3))
    except DbkitError as error:
        if not seen:  # it never began
            raise
        return job.done, seen[0], error
    except psycopg.Error as error:  # of the connection that keeps account of the run
        return job.done, seen[0] if seen else None, failure.of_build(error, "keeping account of the run")
    return job.done, record, None


def _undo(
    connection: Connection, target: Target, environment: Environment, moves: Sequence[Move], done: list[Done],
    options: Options, progress: Progress, error: DbkitError,
) -> DbkitError:  # fmt: skip
    """Take back the change that failed to expand; what other revisions of the run did stays."""
    failed = next((m for m in moves if done and m.revision.id == done[-1].revision), None)
    if failed is None or failed.revision.change is None:
        return error
    undone, _, second = _run(connection, target, environment, [Move(failed.revision, DOWN)], options, progress)
    done += undone
    if second is not None:
        why = f"{error.why or ''}; and it could not be rolled back: {second.what}"
        return Broken(error.what, why=why, hint=f"`dbkit migrate rollback {failed.revision.change['id']}`")
    return Broken(
        f"{error.what}; the change was rolled back, nothing of it is left", why=error.why,
        hint=error.hint,
    )  # fmt: skip
