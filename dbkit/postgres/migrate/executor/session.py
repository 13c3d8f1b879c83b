"""One worker's session: carries out units, each with a look before its locks, short attempts, and its bookkeeping."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final, LiteralString, cast

import psycopg
from psycopg import errors, sql

from dbkit.errors import Broken, DbkitError, Stopped
from dbkit.model import Json
from dbkit.postgres import ddl
from dbkit.postgres.connect import Connection, fetch, pin
from dbkit.postgres.indexes import desired, failure, wishes
from dbkit.postgres.indexes.build import Builder
from dbkit.postgres.indexes.outcome import Outcome
from dbkit.postgres.indexes.watch import Limits, Running, Watch
from dbkit.postgres.jobstore import lock_number
from dbkit.postgres.migrate.executor import blockers, wants
from dbkit.postgres.migrate.executor.blockers import Holder
from dbkit.postgres.migrate.executor.budget import SMALLEST, Budget
from dbkit.postgres.migrate.executor.done import Done
from dbkit.postgres.migrate.executor.units import Sentence, Unit
from dbkit.postgres.migrate.executor.wants import Want
from dbkit.postgres.migrate.locks import Mode
from dbkit.postgres.migrate.names import Name
from dbkit.settings import Target
from dbkit.sizes import format_seconds

LOOK: Final = 0.1
QUICK_DEADLOCK: Final = "50ms"
"""The server gives an autovacuum's lock to us, and finds deadlocks, only after this: it must be under our patience."""
WAIT_FOR_DEAD: Final = 30.0
Book = Callable[[Connection], None]
Fill = Callable[[Sentence], bool]
"""Fills rows in batches instead of the statement; False leaves it to the statement."""


class Session:
    """Everything one run of revisions needs on the server. To be closed by `close`."""

    def __init__(
        self, target: Target, watch: Watch, budget: Budget, limits: Limits, *, cancel: str | None, fill: Fill,
        schema: str = "",
    ) -> None:  # fmt: skip
        self.watch = watch
        self.budget = budget
        self.limits = limits
        self._fill = fill
        self._schema = schema
        self._locking = False
        self._cancel = blockers.pattern(cancel)
        self._builder = Builder(target, watch, limits, time.monotonic())
        self.connection: Connection = self._builder.connection
        self.server = self._builder.server
        self._clean()
        self._wait_for_the_dead()

    def close(self) -> None:
        """Leave the server."""
        self._builder.close()

    def run(self, unit: Unit, done: Done, book: Book) -> None:
        """Carry out one unit and its bookkeeping. Raises Stopped or Broken; then it is as if it had not begun."""
        began = time.monotonic()
        try:
            self._clean()
            for setting in unit.settings:
                self.connection.execute(_sql(setting))
            alone = unit.single
            if alone is None:
                self._together(unit, done, book)
            else:
                self._alone(alone, unit, done)
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

    def _wait_for_the_dead(self) -> None:
        """A killed runner's server process may still be at its last statement: its lock goes with it."""
        number = lock_number(self.server.database, "migrate worker")
        until = time.monotonic() + WAIT_FOR_DEAD
        while not fetch(self.connection, "select /* dbkit */ pg_try_advisory_lock(%s) as held", [number])[0]["held"]:
            if time.monotonic() > until:
                raise Stopped(
                    "the server still runs a statement of an earlier dbkit that is gone",
                    why=f"its session holds the lock of the migration worker after {format_seconds(WAIT_FOR_DEAD)}",
                    hint="wait until it ends (pg_stat_activity, application_name dbkit index build), then run it again",
                )
            time.sleep(LOOK)

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
                self.connection.execute(_sql(sentence.sql))

    def _allow(self, lock: float, statement: float) -> None:
        """The timeouts of what follows in this transaction, in seconds; 0 is none."""
        self.connection.execute(
            "select set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
            [milliseconds(lock), milliseconds(statement)],
        )

    def _alone(self, sentence: Sentence, unit: Unit, done: Done) -> None:
        """A statement that cannot share a transaction with its bookkeeping, and therefore must bear to be run again."""
        done.attempts += 1
        if sentence.fill and self._fill(sentence):
            return
        if sentence.index == "create":
            outcome = Outcome(unit.told, "")
            wanted = desired.read(self._qualified(_plain(sentence.sql)), f"line {sentence.line}")[0]
            wishes.settle(self._builder, wanted, outcome)
            done.waited += outcome.waited
            if self._called(wanted):
                return
            self.connection.execute("reset search_path")
        running = Running(self.connection, unit.told, self.limits)
        try:
            with self._watched(running):
                self.connection.execute(_sql(sentence.sql))
        except errors.UndefinedObject:
            if sentence.index != "drop":
                raise
        finally:
            done.waited += running.waited

    def _called(self, wanted: desired.Wanted) -> bool:
        """Whether the index is there under its own name, which later statements of a revision may go by.

        Its equal under another name is enough for a wish, but not here. An invalid one is removed.
        """
        name = Name(wanted.schema or "", wanted.name).sql
        rows = fetch(
            self.connection,
            "select indisvalid as valid from pg_catalog.pg_index where indexrelid = pg_catalog.to_regclass(%s)",
            [name],
        )
        if rows and not rows[0]["valid"]:
            self.connection.execute(_sql(f"drop index concurrently {name}"))
            return False
        return bool(rows)

    def _qualified(self, statement: str) -> str:
        """The index on the table that the revision's search_path means: the builder looks with its own."""
        node = ddl.copy(ddl.parse(statement)[0].node)
        relation = node.index_stmt.relation
        if not relation.schemaname:
            rows = fetch(
                self.connection,
                "select n.nspname::text as schema "
                "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
                "where c.oid = pg_catalog.to_regclass(%s)",
                [Name("", relation.relname).sql],
            )
            if rows:
                relation.schemaname = rows[0]["schema"]
        return ddl.deparse(node)

    @contextmanager
    def _watched(self, running: Running) -> Generator[None]:
        try:
            with self.watch.over(running):
                yield
        except psycopg.Error as error:
            if running.reason:
                raise failure.of_build(error, running.object, running.reason) from None
            raise

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


def _plain(statement: str) -> str:
    """The statement without IF NOT EXISTS: an index of that name is judged by its definition, not by its name."""
    return re.sub(r"(?i)\bif\s+not\s+exists\s+", "", statement, count=1)


def _sql(text: str) -> sql.SQL:
    # The statements of a revision: the user's own program, sent as it stands.
    return sql.SQL(cast(LiteralString, text))
