"""One worker's session: runs the statements of a plan, each the way its lock asks for.

Statements that build or drop concurrently run without timeouts under the watch, after a look ahead for those they
would wait for. The few that take a real lock run with a short lock_timeout and are tried again with jitter, so that
nobody queues behind them for longer than a moment.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, LiteralString, cast

import psycopg
from psycopg import errors, sql

from dbkit.errors import Broken, DbkitError, Stopped
from dbkit.plan import Step
from dbkit.postgres import catalog
from dbkit.postgres.connect import Connection, Server, connect, server
from dbkit.postgres.indexes import cleanup, failure
from dbkit.postgres.indexes.outcome import Outcome, Ran
from dbkit.postgres.indexes.watch import Blocker, Limits, Running, Watch
from dbkit.settings import Target
from dbkit.sizes import format_seconds

POLL: Final = 0.5
SHORT_LOCK: Final = "200ms"
BRIEF: Final = frozenset({"create-parent-index", "attach-index"})
"""Steps that take a lock which stops writers (or readers), for a moment."""
BUILDS: Final = frozenset({"create-index", "reindex"})
MAX_PAUSE: Final = 2.0
DEADLOCK_ATTEMPTS: Final = 3


class Overtaken(Broken):
    """Another session made or removed the object meanwhile: look again before judging."""


class Builder:
    """A session of its own with all that one worker needs. To be closed by `close`."""

    def __init__(self, target: Target, watch: Watch, limits: Limits, epoch: float) -> None:
        self.connection: Connection = connect(target, purpose="index build")
        self.server: Server = server(self.connection)
        watch.own(self.connection)
        self.target = target
        self.watch = watch
        self.limits = limits
        self._epoch = epoch

    def close(self) -> None:
        """Leave the server."""
        self.connection.close()

    def run(self, step: Step, outcome: Outcome, search_path: str, table_oid: int, *, tries: int = 1) -> None:
        """Run one step. Raises Stopped or Broken after tidying up what the statement left."""
        before = cleanup.invalid(self.connection)
        self.connection.execute("select /* dbkit */ set_config('search_path', %s, false)", [search_path])
        ran = outcome.started(step, self._epoch)
        self.watch.say("step", object=step.object, action=step.action, sql=step.sql)
        began = time.monotonic()
        try:
            if step.action in BRIEF:
                self._briefly(step, ran, table_oid)
            else:
                if step.action in BUILDS:
                    self._look_ahead(step, ran, table_oid)
                self._watched(step.object, _sql(step), ran)
        except errors.DeadlockDetected as error:
            self._fail(ran, began, error)
            self._tidy(step, before)
            if tries >= DEADLOCK_ATTEMPTS or self.watch.stopping:
                raise failure.of_build(error, step.object) from None
            self.watch.say("again", object=step.object, why="deadlock with another transaction", attempt=tries + 1)
            self.run(step, outcome, search_path, table_oid, tries=tries + 1)
            return
        except psycopg.Error as error:
            self._fail(ran, began, error)
            raise self._failed(step, before, error, ran.error) from None
        except DbkitError as error:
            ran.seconds, ran.outcome, ran.error = time.monotonic() - began, "not run", error.what
            raise
        ran.seconds, ran.outcome = time.monotonic() - began, "done"
        self.watch.say("done", object=step.object, seconds=round(ran.seconds, 3))

    def analyze(self, schema: str, table: str, outcome: Outcome) -> None:
        """Give an expression index its statistics: without them the planner guesses how selective it is."""
        statement = sql.SQL("analyze {}").format(sql.Identifier(schema, table))
        name = catalog.quoted(schema, table)
        step = Step(
            id="analyze", action="analyze", object=name, sql=statement.as_string(self.connection), undo="",
            lock=f"SHARE UPDATE EXCLUSIVE on {name}", blocks="nobody who reads or writes", table=name,
        )  # fmt: skip
        ran = outcome.started(step, self._epoch)
        began = time.monotonic()
        try:
            self._watched(name, statement, ran)
        except psycopg.Error as error:
            self._fail(ran, began, error)
            raise failure.of_build(error, f"analyze {name}", ran.error) from None
        ran.seconds, ran.outcome = time.monotonic() - began, "done"
        self.watch.say("done", object=f"analyze {name}", seconds=round(ran.seconds, 3))

    def _fail(self, ran: Ran, began: float, error: psycopg.Error) -> None:
        ran.seconds, ran.outcome = time.monotonic() - began, "failed"
        self.watch.say(
            "failed", object=ran.object, sqlstate=error.sqlstate, why=(error.diag.message_primary or str(error))
        )

    def _failed(self, step: Step, before: frozenset[int], error: psycopg.Error, reason: str) -> DbkitError:
        if self.connection.closed:
            return failure.of_build(error, step.object, reason)
        if isinstance(error, (errors.DuplicateTable, errors.UndefinedObject, errors.UndefinedTable)):
            told = failure.of_build(error, step.object)
            return Overtaken(told.what, why=told.why, hint=told.hint)
        if isinstance(error, errors.UniqueViolation) and not self.watch.stopping:
            made = cleanup.remains(self.connection, before, step)
            told = failure.of_duplicates(
                self.connection, made.oid if made else None, f"the unique index {step.object}", error
            )
        else:
            told = failure.of_build(error, step.object, reason)
        self._tidy(step, before)
        return told

    def _tidy(self, step: Step, before: frozenset[int]) -> None:
        """Take away what our failed build left."""
        if step.action not in BUILDS or self.connection.closed:
            return
        if self.watch.hurry:
            self.watch.say("kept", object=step.object, why="told to leave at once; the next run removes it")
            return
        try:
            made = cleanup.remains(self.connection, before, step)
            if made is not None:
                cleanup.sweep(self.connection, self.server, self.watch, made)
        except psycopg.Error as second:
            why = f"{failure.of_build(second, 'removing it').why}; the next run removes it"
            self.watch.say("kept", object=step.object, why=why)

    def _watched(self, name: str, statement: sql.SQL | sql.Composed, ran: Ran) -> None:
        running = Running(self.connection, name, self.limits)
        try:
            with self.watch.over(running):
                self.connection.execute(statement)
        finally:
            ran.waited += running.waited
            ran.error = running.reason

    def _look_ahead(self, step: Step, ran: Ran, table_oid: int) -> None:
        """Give old transactions a while to end before the build: one that waits holds off VACUUM all the time."""
        began, waited = time.monotonic(), 0.0
        seen: dict[int, Blocker] = {}
        blockers: list[Blocker] = []
        with self.watch.waiting(step.object) as note:
            while not self.watch.stopping:
                blockers = self.watch.ahead(self.connection, table_oid)
                waited = time.monotonic() - began
                for blocker in blockers:
                    if blocker.pid not in seen:
                        self.watch.say("ahead", object=step.object, blocker=blocker.data(), told=str(blocker))
                    seen[blocker.pid] = blocker
                if not blockers or waited >= self.limits.wait:
                    break
                more = f" and {len(blockers) - 1} more" if len(blockers) > 1 else ""
                note(f"{step.object}: before it starts, waits for {blockers[0]}{more}")
                time.sleep(POLL)
        if seen:
            ran.waited += waited
            then = "they have ended" if not blockers else "started all the same: the build waits for them itself"
            self.watch.say("looked ahead", object=step.object, waited=round(waited, 3), then=then)

    def _briefly(self, step: Step, ran: Ran, table_oid: int) -> None:
        until = time.monotonic() + self.limits.max_wait
        pause, attempt = 0.1, 0
        with self._short_lock(), self.watch.waiting(step.object) as note:
            while True:
                attempt += 1
                began = time.monotonic()
                try:
                    self._watched(step.object, _sql(step), ran)
                    return
                except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
                    if time.monotonic() > until:
                        raise
                    holders = self.watch.ahead(self.connection, table_oid)
                    whom = f", held by {holders[0]}" if holders else ""
                    note(f"{step.object}: attempt {attempt} got no lock within {SHORT_LOCK}{whom}")
                    if attempt == 1:
                        self.watch.say(
                            "no lock", object=step.object, sqlstate=error.sqlstate, holders=[str(h) for h in holders]
                        )
                if self.watch.stopping:
                    raise Stopped(f"{step.object} was not started: the run is being stopped")
                pause = min(MAX_PAUSE, pause * 2)
                time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - jitter, so that two runs do not keep step
                ran.waited += time.monotonic() - began

    @contextmanager
    def _short_lock(self) -> Generator[None]:
        self.connection.execute(sql.SQL("set /* dbkit */ lock_timeout = {}").format(sql.Literal(SHORT_LOCK)))
        try:
            yield
        finally:
            if not self.connection.closed:
                self.connection.execute("set /* dbkit */ lock_timeout = 0")

    def wait(self, what: str, began: float) -> None:
        """Let another session's build go on for a moment. Raises Stopped after the deadline."""
        if time.monotonic() - began > self.limits.deadline:
            limit = format_seconds(self.limits.deadline)
            raise Stopped(f"{what} is still being built by another session", why=f"after {limit}", hint=failure.AGAIN)
        time.sleep(POLL)


def _sql(step: Step) -> sql.SQL:
    # A plan's statements come from planning.py or a rule's remedy, and were reviewed by a person as they stand.
    return sql.SQL(cast(LiteralString, step.sql))
