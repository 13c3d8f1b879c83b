"""One worker's session: carries out units, each with a look before its locks, short attempts, and its bookkeeping."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

import psycopg
from psycopg import errors, sql

from dbkit import assets
from dbkit.errors import Broken, DbkitError, Stopped
from dbkit.model import Json
from dbkit.postgres.connect import Connection, fetch, pin
from dbkit.postgres.indexes import failure
from dbkit.postgres.indexes.build import Builder
from dbkit.postgres.indexes.watch import Limits, Running, Watch
from dbkit.postgres.jobstore import lock_number
from dbkit.postgres.migrate.executor import blockers, wants
from dbkit.postgres.migrate.executor.blockers import Holder
from dbkit.postgres.migrate.executor.budget import SMALLEST, Budget
from dbkit.postgres.migrate.executor.done import Done
from dbkit.postgres.migrate.executor.lone import Fill, Lone, statement
from dbkit.postgres.migrate.executor.units import Unit
from dbkit.postgres.migrate.executor.wants import Want
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.settings import Target
from dbkit.sizes import format_seconds

LOOK: Final = 0.1
QUICK_DEADLOCK: Final = "50ms"
"""The server gives an autovacuum's lock to us, and finds deadlocks, only after this: it must be under our patience."""
WAIT_FOR_DEAD: Final = 30.0
Book = Callable[[Connection], None]


class Session:
    """Everything one run of revisions needs on the server. To be closed by `close`."""

    def __init__(
        self, target: Target, watch: Watch, budget: Budget, limits: Limits, *, cancel: str | None, fill: Fill,
        schema: str = "",
    ) -> None:  # fmt: skip
        self.watch = watch
        self.budget = budget
        self.limits = limits
        self._schema = schema
        self._locking = False
        self._cancel = blockers.pattern(cancel)
        self._builder = Builder(target, watch, limits, time.monotonic())
        self.connection: Connection = self._builder.connection
        self.server = self._builder.server
        self._lone = Lone(self._builder, watch, limits, fill)
        self._clean()
        self.wait_for_the_dead(self.connection, "migrate worker")

    def close(self) -> None:
        """Leave the server."""
        self._builder.close()

    def run(self, unit: Unit, done: Done, book: Book) -> None:
        """Carry out one unit and its bookkeeping. Raises Stopped or Broken; then it is as if it had not begun."""
        began = time.monotonic()
        try:
            self._clean()
            for setting in unit.settings:
                self.connection.execute(statement(setting))
            alone = unit.single
            if alone is None:
                self._together(unit, done, book)
            else:
                self._lone.run(alone, unit, done)
                self._clean()
                with self.connection.transaction():
                    book(self.connection)
        except psycopg.Error as error:
            done.outcome = "failed"
            raise failure.of_build(error, unit.told) from None
        except DbkitError as error:
            done.outcome = "failed"
            if self.connection.closed:  # whoever met it said that the server cannot be reached
                raise Stopped("the connection to the server was lost", why=error.why, hint=failure.AGAIN) from None
            raise
        finally:
            done.seconds = time.monotonic() - began
        done.outcome = "done"

    def quietly(self, work: Book) -> None:
        """A short transaction of bookkeeping."""
        with self.connection.transaction():
            self.connection.execute("set local lock_timeout = '5s'")
            work(self.connection)

    def _clean(self) -> None:
        """The session as a revision expects it: the role's own search_path, or its one schema; no timeout but ours."""
        self.connection.execute("reset role")
        self.connection.execute("reset all")
        pin(self.connection)
        if self._schema:
            self.connection.execute(sql.SQL("set /* dbkit */ search_path = {}").format(sql.Identifier(self._schema)))
        else:
            self.connection.execute("reset search_path")
        self.quick = False
        try:
            self.connection.execute(
                sql.SQL("set /* dbkit */ deadlock_timeout = {}").format(sql.Literal(QUICK_DEADLOCK))
            )
            self.quick = True
        except errors.InsufficientPrivilege:
            rows = fetch(self.connection, "select extract(epoch from current_setting('deadlock_timeout')::interval) s")
            self.quick = float(rows[0]["s"]) < self.budget.max_stall

    def wait_for_the_dead(self, connection: Connection, key: str) -> None:
        """Take the lock of a worker of this run: a killed one's server process may still be at its last statement.

        Raises Stopped when that does not end. The lock goes with the connection.
        """
        number = lock_number(self.server.database, key)
        until = time.monotonic() + WAIT_FOR_DEAD
        while not fetch(connection, "select /* dbkit */ pg_try_advisory_lock(%s) as held", [number])[0]["held"]:
            if time.monotonic() > until or self.watch.stopping:
                raise Stopped(
                    "the server still runs a statement of an earlier dbkit that is gone",
                    why=f"the lock of the {key} is held{self._held_by(connection, number)}",
                    hint="wait until it ends, or pg_terminate_backend it (what it does is rolled back or can be "
                    "begun again), then run the same command again",
                )
            time.sleep(LOOK)

    @staticmethod
    def _held_by(connection: Connection, number: int) -> str:
        rows = [row for row in fetch(connection, assets.query("state/locks")) if row["number"] == number]
        who = rows[0] if rows else {}
        return f" by server process {who['pid']}, {who['application_name']}, since {who['since']}" if who else ""

    def _together(self, unit: Unit, done: Done, book: Book) -> None:
        with self.watch.waiting(unit.told) as note:
            while True:
                wanted = wants.wanted(self.connection, unit.sentences)
                self.look(unit, wanted, done, note)
                if not self.budget.allowance:
                    raise self.spent(unit, done)
                done.attempts += 1
                began = time.monotonic()
                try:
                    self._attempt(unit, wanted, book)
                except (errors.LockNotAvailable, errors.DeadlockDetected, errors.QueryCanceled) as error:
                    if isinstance(error, errors.QueryCanceled) and not (self._locking and _timed_out(error)):
                        self.account(wanted, time.monotonic() - began, done)
                        raise self.cancelled(unit, wanted, error) from None
                    stall = time.monotonic() - began
                    self.account(wanted, stall, done)
                    found = self._holders(wanted)
                    told = [str(h.blocker) for h in found]
                    done.blockers = list(dict.fromkeys([*done.blockers, *told]))
                    detail: dict[str, Json] = {
                        "object": unit.told, "attempt": done.attempts, "sqlstate": error.sqlstate,
                        "stall_ms": round(stall * 1000, 1), "holders": list(told),
                    }  # fmt: skip
                    if found:
                        detail["blocker"] = found[0].blocker.data()
                    self.watch.say("attempt failed", **detail)
                    note(f"{unit.told}: attempt {done.attempts} got no lock{f', held by {told[0]}' if told else ''}")
                    self.stop_if_asked(unit)
                    pause = self.budget.backoff(done.attempts)
                    time.sleep(pause)
                    done.waited += pause
                    continue
                stall = time.monotonic() - began
                self.account(wanted, stall, done)
                self.watch.say(
                    "attempt", object=unit.told, attempt=done.attempts, stall_ms=round(done.stall * 1000, 1),
                    ms=round(stall * 1000, 1),
                )  # fmt: skip
                return

    def _attempt(self, unit: Unit, wanted: Sequence[Want], book: Book) -> None:
        strong = wants.strong(wanted)
        running = Running(self.connection, unit.told, self.limits)
        with self.watch.over(running), self.connection.transaction():
            allowance = self.budget.allowance
            until = time.monotonic() + allowance
            self._allow(allowance, allowance)  # lock_timeout is per table, statement_timeout is for all of them
            self._locking = True
            for number, lock in enumerate(wants.lock_tables(strong)):
                if number:  # others wait for the locks we hold already: all of them together have one allowance
                    left = max(SMALLEST, until - time.monotonic())
                    self._allow(left, left)
                self.connection.execute(lock)
            self._locking = False
            self._send(unit, allowance, self.budget.max_hold if strong else 0.0)
            book(self.connection)

    def _send(self, unit: Unit, allowance: float, hold: float) -> None:
        """The statements of a unit in one journey: others wait for its locks, and should not wait for the network."""
        with ExitStack() as stack:
            if not any(s.opaque for s in unit.sentences):
                stack.enter_context(self.connection.pipeline())
            self._allow(allowance, hold)
            for sentence in unit.sentences:
                self.connection.execute(statement(sentence.sql))

    def _allow(self, lock: float, statement: float) -> None:
        """The timeouts of what follows in this transaction, in seconds; 0 is none."""
        self.connection.execute(
            "select /* dbkit */ set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
            [milliseconds(lock), milliseconds(statement)],
        )

    def _holders(self, wanted: Sequence[Want]) -> list[Holder]:
        return blockers.holders(
            self.connection, {w.oid: w.mode for w in wanted if w.mode >= Mode.SHARE_UPDATE_EXCLUSIVE}
        )

    def look(self, unit: Unit, wanted: Sequence[Want], done: Done, note: Callable[[str], None]) -> None:
        """Stay away while somebody holds what we want for long: nobody queues behind those who do not queue."""
        began = time.monotonic()
        seen: dict[int, Holder] = {}
        while True:
            self.stop_if_asked(unit)
            found = [h for h in self._holders(wanted) if h.waits(yields=self.quick)]
            if not found:
                break
            for holder in found:
                if holder.blocker.pid not in seen:
                    self.watch.say("blocked", object=unit.told, on=holder.relation, told=str(holder.blocker))
                    done.blockers.append(str(holder.blocker))
                seen[holder.blocker.pid] = holder
            for holder, what in blockers.remove(self.connection, found, self._cancel):
                self.watch.say("blocker removed", object=unit.told, told=str(holder.blocker), what=what)
            waited = time.monotonic() - began
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            note(f"{unit.told}: stays away while {found[0].relation} is held by {found[0].blocker}{more}")
            if waited > self.budget.patience:
                raise Stopped(
                    f"{found[0].relation} did not come free within {format_seconds(self.budget.patience)}",
                    why=f"held by {found[0].blocker}{more}",
                    hint="end that session, or name it with --cancel-blockers, then run the same command again; "
                    "nobody had to wait for dbkit meanwhile",
                )
            time.sleep(LOOK)
        waited = time.monotonic() - began
        if seen:
            done.waited += waited
            first = next(iter(seen.values()))
            self.watch.say("waited", object=unit.told, waited=round(waited, 3), blocker=first.blocker.data())

    def stop_if_asked(self, unit: Unit) -> None:
        """Raise Stopped when a person wants the run to end."""
        if self.watch.stopping:
            raise Stopped(f"not done: {unit.told}", why="the run is being stopped", hint=failure.AGAIN)

    def account(self, wanted: Sequence[Want], seconds: float, done: Done) -> None:
        """Add an attempt to the budget, if it may have kept others waiting."""
        if wants.strong(wanted):
            self.budget.spend(seconds)
            done.stall = max(done.stall, seconds)

    def spent(self, unit: Unit, done: Done) -> Stopped:
        """What is told when the budget leaves no attempt."""
        whom = f"; in the way: {done.blockers[-1]}" if done.blockers else ""
        return Stopped(
            f"the stall budget of {format_seconds(self.budget.total)} is used up",
            why=f"{done.attempts} attempts at {unit.told} kept others waiting for "
            f"{format_seconds(self.budget.spent)} in all{whom}",
            hint="run the same command again when the table is less busy, or allow more with --budget",
        )

    def cancelled(self, unit: Unit, wanted: Sequence[Want], error: psycopg.Error) -> DbkitError:
        """What is told when a statement was cancelled: by us for what it held too long, or by somebody else."""
        strong = wants.strong(wanted)
        if not strong or not _timed_out(error):
            return failure.of_build(error, unit.told)
        what = f"{strong[0].mode.words} on {strong[0].schema}.{strong[0].name}"
        return Broken(
            f"{unit.told} took longer than {format_seconds(self.budget.max_hold)} under its lock",
            why=f"it holds {what}, which stops {strong[0].mode.blocks}; it was cancelled and nothing of it was done",
            hint="`dbkit migrate lint` shows a form that does not hold it; or allow the time with --max-hold",
        )


def _timed_out(error: psycopg.Error) -> bool:
    """Whether our own statement_timeout cancelled it, and not a person or the watch."""
    return "statement timeout" in (error.diag.message_primary or "")


def milliseconds(seconds: float) -> str:
    """A timeout as the server reads it; 0 is none."""
    return f"{max(1, round(seconds * 1000))}ms" if seconds else "0"
