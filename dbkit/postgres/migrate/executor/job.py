"""The job that moves a database along its revisions, up or down, unit by unit.

What is done already is read from alembic_version and from dbkit.migration_part, whose rows are written in the units'
own transactions: a run that was killed anywhere goes on with the first unit that is not done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString, cast

import psycopg
from psycopg import sql

from dbkit.errors import Broken, DbkitError, Refused
from dbkit.job import Log, Tick
from dbkit.model import Json
from dbkit.postgres.connect import Connection, connect, fetch
from dbkit.postgres.indexes import failure
from dbkit.postgres.indexes.build import POLL
from dbkit.postgres.indexes.watch import Limits, Watch
from dbkit.postgres.migrate import revisions
from dbkit.postgres.migrate.executor.budget import Budget
from dbkit.postgres.migrate.executor.done import Done
from dbkit.postgres.migrate.executor.lone import Fill
from dbkit.postgres.migrate.executor.online import Online
from dbkit.postgres.migrate.executor.session import Session
from dbkit.postgres.migrate.executor.units import Unit, cut
from dbkit.postgres.migrate.revisions import DOWN, UP, Environment, Revision
from dbkit.settings import Target

KEY: Final = "migrate"
"""Every run that moves the schema of a database holds this one lock."""


@dataclass(frozen=True, slots=True)
class Move:
    """One revision in one direction."""

    revision: Revision
    direction: str
    clears: tuple[str, ...] = ()
    """Other revisions whose begun units are void once this one has ended: a contract that was begun on it."""

    def __str__(self) -> str:
        return f"{self.direction} {self.revision.id}"


@dataclass
class Knobs:
    """How a run behaves. `command` is what a person types to go on."""

    budget: Budget = field(default_factory=Budget)
    limits: Limits = field(default_factory=Limits)
    cancel_blockers: str | None = None
    fill: Fill = lambda sentence: False
    command: str = "dbkit migrate deploy"
    backup: Mapping[str, Json] | None = None
    """The backup that was taken for this run; kept in its history."""


class MoveJob:
    """Moves along revisions in order; `done` tells of every unit when it has ended."""

    def __init__(self, target: Target, environment: Environment, moves: Sequence[Move], knobs: Knobs) -> None:
        self._target = target
        self._environment = environment
        self._moves = tuple(moves)
        self._knobs = knobs
        self._watch: Watch | None = None
        self._error: DbkitError | None = None
        self._epoch = time.monotonic()
        self._parts = {move: move.revision.parts(move.direction) for move in self._moves}
        self._finished = 0
        self.done: list[Done] = []

    @property
    def kind(self) -> str:
        return "migrate"

    @property
    def key(self) -> str:
        return KEY

    @property
    def spec(self) -> Mapping[str, Json]:
        schema = self._environment.schema
        return {
            "plan": [part.sql for parts in self._parts.values() for part in parts if part.sql],
            "work": "; ".join(map(str, self._moves)) + (f" in {schema}" if schema else ""),
            "schema": schema,
            "moves": [
                {
                    "revision": m.revision.id,
                    "direction": m.direction,
                    "phase": m.revision.phase,
                    "change": str(m.revision.change["id"]) if m.revision.change else None,
                }
                for m in self._moves
            ],
            "command": self._knobs.command,
        }

    def cancel(self) -> None:
        """Leave at once. Called inside a signal handler."""
        if self._watch is not None:
            self._watch.stopping = self._watch.hurry = True

    def ticks(self, cursor: Mapping[str, Any], log: Log) -> Generator[Tick, None, None]:
        """Run the revisions in a thread of its own, watched from here twice a second."""
        del cursor
        self._epoch = time.monotonic()
        if self._knobs.backup:  # into the history, which a later run of the same work does not write over
            log("backup", {**self._knobs.backup, "revisions": [m.revision.id for m in self._moves]})
        with connect(self._target, purpose="watch") as connection:
            watch = self._watch = Watch(connection)
            worker = threading.Thread(target=self._work, args=(watch,), daemon=True)
            worker.start()
            try:
                while worker.is_alive():
                    worker.join(POLL / 5)
                    _drain(watch, log)
                    yield Tick(self._finished, len(self._moves), watch.look())
            finally:
                watch.stopping = True
                while worker.is_alive():
                    watch.cancel()
                    worker.join(0.2)
                with suppress(psycopg.OperationalError):  # the store's connection may be what was lost
                    _drain(watch, log)
        told = f"{self._finished} of {len(self._moves)} revisions"
        yield Tick(self._finished, len(self._moves), told)
        if self._error is not None:
            raise self._error
        if self._finished < len(self._moves):
            raise Broken("the run ended early", why=told, hint="this is a defect of dbkit: see `dbkit job show`")

    def _work(self, watch: Watch) -> None:
        knobs, session = self._knobs, None
        try:
            session = Session(
                self._target, watch, knobs.budget, knobs.limits, cancel=knobs.cancel_blockers, fill=knobs.fill,
                schema=self._environment.schema,
            )  # fmt: skip
            for move in self._moves:
                self._move(session, move)
                self._finished += 1
        except DbkitError as error:
            self._error = error
        except psycopg.Error as error:
            self._error = failure.of_build(error, "the run")
        except Exception as error:  # a defect of ours must not end as a silent thread
            why = f"{type(error).__name__}: {error}"
            self._error = Broken("the run failed", why=why, hint="this is a defect of dbkit: see `dbkit job show`")
        finally:
            if session is not None:
                session.close()

    def _move(self, session: Session, move: Move) -> None:
        revision, direction = move.revision, move.direction
        label, mark = revision.path.name, self._environment.mark
        units = cut(self._parts[move], label, session.server.major)
        heads = revisions.heads(session.connection, self._environment)
        applied = revision.id in self._environment.ancestors(heads)
        recorded = _recorded(session.connection, mark(revision.id))
        if applied == (direction == UP) and not recorded:
            return
        before = {part: mark for way, part, mark in recorded if way == direction}
        for unit in units:
            if unit.number in before and before[unit.number] != unit.fingerprint:
                raise Refused(
                    f"{label} was changed after its unit {unit.number + 1} had run",
                    why=f"now it reads: {unit.told}",
                    hint="put the file back as it was and go on, or roll the revision back first",
                )
        versions: tuple[str, ...] = ()
        if applied != (direction == UP):
            versions = self._environment.moves(heads, revision, direction)
        left = [u for u in units if u.number not in before]
        session.watch.say("revision", object=revision.id, direction=direction, units=len(left), doc=revision.doc)
        void = tuple(map(mark, (revision.id, *move.clears)))
        end = _Close(self._environment, void, versions, create=not heads)
        if left and not recorded and left[0].single and not left[0].sentences[0].online:
            session.quietly(_Begin(mark(revision.id), direction))
        closed = False
        for unit in left:
            last = unit is left[-1]
            done = Done(revision.id, direction, unit.number + 1, unit.told, time.monotonic() - self._epoch)
            self.done.append(done)
            closing = end if last else None
            note = _Note(mark(revision.id), direction, unit, closing)
            if unit.sentences[0].online:
                Online(self._target, self._environment, revision, direction).run(session, unit, done, note)
            else:
                session.run(unit, done, note)
            session.watch.say(
                "unit", object=revision.id, unit=done.unit, told=done.told, seconds=round(done.seconds, 3),
                attempts=done.attempts, stall_ms=round(done.stall * 1000, 1),
                change=str(revision.change["id"]) if revision.change else None,
            )  # fmt: skip
            closed = last
        if not closed:
            session.quietly(end)


@dataclass(frozen=True, slots=True)
class _Begin:
    """The mark of a revision whose first unit is no transaction: killed in it, something of it may be there all the
    same, or come yet, as of an index that the server goes on building. It goes when the revision is closed.
    """

    revision: str
    direction: str

    def __call__(self, connection: Connection) -> None:
        connection.execute(
            "insert into dbkit.migration_part (revision, direction, part, fingerprint) values (%s, %s, -1, '')",
            [self.revision, self.direction],
        )


@dataclass(frozen=True, slots=True)
class _Close:
    """The end of a revision: its version is moved and its records go, in one transaction."""

    environment: Environment
    done: tuple[str, ...]
    versions: tuple[str, ...]
    create: bool
    """There is no version table yet."""

    def __call__(self, connection: Connection) -> None:
        if self.create:
            connection.execute(_sql(revisions.version_table_ddl(self.environment)))
        for statement in self.versions:
            if connection.execute(_sql(statement)).rowcount != 1:
                raise Refused(
                    "the version of the database has changed while this run worked",
                    why=f"another tool moved {self.environment.version_table}",
                    hint="find out who runs migrations beside dbkit, then run the same command again",
                )
        connection.execute("delete from dbkit.migration_part where revision = any(%s)", [list(self.done)])


@dataclass(frozen=True, slots=True)
class _Note:
    """The record of one unit; with the last one the revision is closed."""

    revision: str
    direction: str
    unit: Unit
    closing: _Close | None

    def __call__(self, connection: Connection) -> None:
        if self.closing is not None:
            self.closing(connection)
            return
        connection.execute(
            "insert into dbkit.migration_part (revision, direction, part, fingerprint) values (%s, %s, %s, %s)",
            [self.revision, self.direction, self.unit.number, self.unit.fingerprint],
        )


def _recorded(connection: Connection, revision: str) -> list[tuple[str, int, str]]:
    rows = fetch(
        connection,
        "select direction, part, fingerprint from dbkit.migration_part where revision = %s order by part",
        [revision],
    )
    return [(r["direction"], r["part"], r["fingerprint"]) for r in rows]


def _drain(watch: Watch, log: Log) -> None:
    for at, event, detail in watch.events():
        log(event, detail, time.monotonic() - at)


def _sql(text: str) -> sql.SQL:
    # Alembic's statements on its version table.
    return sql.SQL(cast(LiteralString, text))


__all__ = ["DOWN", "KEY", "UP", "Knobs", "Move", "MoveJob"]
