"""Runs scripts as their tool would, statement by statement, and notes what each one does to the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, LiteralString, cast

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from dbkit.postgres import ddl
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.found import parse, plain
from dbkit.postgres.migrate.locks import Mode
from dbkit.postgres.migrate.reading import read
from dbkit.postgres.migrate.rehearse import copying, notices, state
from dbkit.postgres.migrate.rehearse.brakes import Brakes
from dbkit.postgres.migrate.rehearse.clock import Clock
from dbkit.postgres.migrate.rehearse.observed import Hold, Observation, Relation, Stop, words
from dbkit.postgres.migrate.rehearse.watch import Sighting, Watcher
from dbkit.postgres.migrate.rules.transactions import refuses_transaction
from dbkit.postgres.migrate.schema import Schema
from dbkit.postgres.migrate.source import Part, Script
from dbkit.postgres.migrate.transactions import Wrap
from dbkit.postgres.migrate.walk import Walk

_UNSEEN: Final = frozenset("variable_set_stmt variable_show_stmt transaction_stmt".split())
"""Statements after which nothing is looked up: a query there would change what the next statement may do."""
_OWN_TRANSACTIONS: Final = frozenset(("call_stmt", "do_stmt"))
_EMPTY: Final = state.State({}, {}, {})


@dataclass(slots=True)
class Runner:
    """One migrating session. With `watching` off it only runs and times (for calibration and for history)."""

    dsn: str
    assume: bool | None = None
    watching: bool = True
    one_transaction: bool = False
    """All scripts share one transaction, as Alembic runs them unless `transaction_per_migration` is set."""
    between: Callable[[int], None] = lambda position: None
    """Called whenever nothing is open, with the number of statements run so far."""
    clock: Clock = field(default_factory=Clock)
    seen: list[Observation] = field(default_factory=list[Observation])
    holds: list[Hold] = field(default_factory=list[Hold])
    stop: Stop | None = None
    notes: list[str] = field(default_factory=list[str])
    send: Callable[[str], object] | None = None
    """Sends a statement another way than by its text (one of a revision that runs online brings parameters, COPY
    its rows)."""
    _lines: list[str] = field(default_factory=list[str])
    _visible: dict[int, Relation] = field(default_factory=dict[int, Relation])
    _taken: dict[str, tuple[Mode, float, int]] = field(default_factory=dict[str, tuple[Mode, float, int]])
    _transaction: int = 0
    _ours: bool = False
    """The open transaction block was opened by the tool, not by the script."""

    def run(self, scripts: Sequence[Script]) -> None:
        """Run all; ends at the first statement that fails, with `stop` set."""
        with psycopg.connect(
            self.dsn, autocommit=True, application_name="dbkit rehearse: migration", prepare_threshold=None
        ) as connection:
            connection.add_notice_handler(lambda told: self._lines.append(told.message_primary or ""))
            watcher = Watcher(self.dsn, connection.info.backend_pid) if self.watching else None
            try:
                for number, script in enumerate(scripts):
                    last = number == len(scripts) - 1
                    self._script(connection, watcher, script, keep_open=self.one_transaction and not last)
                    if self.stop is not None:
                        break
            finally:
                if watcher is not None:
                    watcher.close()

    def _script(
        self, connection: psycopg.Connection, watcher: Watcher | None, script: Script, *, keep_open: bool
    ) -> None:
        if script.kind == "alembic" and script.problems and script.path is not None:
            from dbkit.postgres.migrate.rehearse.online import upgrade

            upgrade(self, connection, watcher, script, keep_open=keep_open)
            return
        parts, problems = parse(script)
        if problems or script.problems:
            first = problems[0] if problems else None
            line = first.line if first else script.problems[0][0] or 1
            why = plain(first) if first else script.problems[0][1]
            self.fail(connection, script.file, line, "", why)
            return
        statements = [s for _, found in parts for s in found]
        wrap = Walk({}, Schema(), 15, None, self.assume).wrap(script, statements)
        one_message = script.one_message and self.assume is None and len(statements) > 1
        wrapped = wrap is not Wrap.NO or one_message
        try:
            if wrapped:
                self.open(connection)
            for part, found in parts:
                if part is not None and part.control:
                    wrapped = part.control != "end"
                    self.close(connection) if part.control == "end" else self.open(connection)
                    continue
                for position, statement in enumerate(found):
                    self.statement(connection, watcher, script, part, statement)
                    if self.stop is not None:
                        return
                    if one_message and not self.inside(connection) and position < len(found) - 1:
                        self.open(connection)  # the rest of the message is a new implicit transaction
            if wrapped and not keep_open:
                self.close(connection)
            elif self.inside(connection) and not self._ours:
                self.notes.append(f"{script.file} ends with its transaction open: rolled back, as the tool's exit does")
                connection.execute("rollback")
                self._ended()
        except psycopg.Error as error:
            self.fail(connection, script.file, 1, "commit", words(error), error.sqlstate or "")

    def inside(self, connection: psycopg.Connection) -> bool:
        """Whether a transaction block is open."""
        return connection.info.transaction_status is not TransactionStatus.IDLE

    def open(self, connection: psycopg.Connection) -> None:
        """Begin a transaction as the tool does, unless one is open."""
        if not self.inside(connection):
            self._ours = True
            self._begin(connection)

    def _begin(self, connection: psycopg.Connection) -> None:
        if self.watching:
            with self.clock.paused():
                self._visible = state.look(connection, inside=False).relations
        self._transaction += 1
        self._taken.clear()
        connection.execute("begin")

    def close(self, connection: psycopg.Connection) -> None:
        """Commit the open transaction, if there is one."""
        if self.inside(connection):
            connection.execute("commit")
            self._ended()

    def _ended(self) -> None:
        """The transaction is over: give every lock its end."""
        now = self.clock.now()
        self._ours = False
        for relation, (mode, start, statement) in self._taken.items():
            self.holds.append(Hold(relation, mode, start, now, statement))
        for one in self.seen:
            if one.transaction == self._transaction and not one.released:
                one.released = now
        self._taken.clear()
        self._transaction += 1
        with self.clock.paused():
            self.between(len(self.seen))

    def fail(
        self, connection: psycopg.Connection, file: str, line: int, sql: str, why: str, sqlstate: str = ""
    ) -> None:
        if not self.seen or (self.seen[-1].file, self.seen[-1].line, self.seen[-1].error) != (file, line, why):
            now = self.clock.now()
            self.seen.append(Observation(file, line, sql, "", start=now, end=now, error=why, sqlstate=sqlstate))
        self.stop = Stop(file, line, why)
        with suppress(psycopg.Error):
            if self.inside(connection):
                connection.execute("rollback")
        self._ended()

    def statement(
        self,
        connection: psycopg.Connection,
        watcher: Watcher | None,
        script: Script,
        part: Part | None,
        statement: ddl.Statement,
    ) -> None:
        line = part.line if part is not None else statement.line
        seen = Observation(script.file, line, statement.sql, statement.kind)
        rows = copying.data(script, statement) if copying.reads_stdin(statement) else ""
        if rows is None:
            self.notes.append(f"{script.file}:{line}: COPY ... FROM stdin has no rows in the file, and is not run")
            return
        if statement.kind == "transaction_stmt":
            self._control(connection, seen, statement)
            return
        self.seen.append(seen)
        inside = self.inside(connection)
        acts = read(statement)
        alone = not inside and (
            any(refuses_transaction(x) for x in acts) or statement.kind in _OWN_TRANSACTIONS or not self.watching
        )
        if copying.reads_stdin(statement):
            self.send = lambda text: copying.load(connection, text, rows)
        try:
            if alone:
                self._bare(connection, watcher, seen, statement)
            else:
                self._in_transaction(connection, watcher, seen, statement, own=not inside)
        except psycopg.Error as error:
            seen.end = self.clock.now()
            seen.error, seen.sqlstate = words(error), error.sqlstate or ""
            self.fail(connection, script.file, line, statement.sql, seen.error)
            if isinstance(error, errors.OperationalError) and connection.closed:
                raise
        finally:
            if copying.reads_stdin(statement):
                self.send = None

    def _control(self, connection: psycopg.Connection, seen: Observation, statement: ddl.Statement) -> None:
        """BEGIN, COMMIT and the like, written in the script."""
        verb = next((x.verb for x in read(statement) if isinstance(x, a.Transaction)), "")
        if verb == "begin":
            if not self.inside(connection):
                self._begin(connection)
            self._ours = False
            return
        was = self.inside(connection)
        try:
            connection.execute(cast(LiteralString, statement.sql))
        except psycopg.Error as error:
            self.seen.append(seen)
            seen.start = seen.end = self.clock.now()
            seen.error, seen.sqlstate = words(error), error.sqlstate or ""
            self.fail(connection, seen.file, seen.line, statement.sql, seen.error)
            return
        if was and not self.inside(connection):
            self._ended()

    def _in_transaction(
        self,
        connection: psycopg.Connection,
        watcher: Watcher | None,
        seen: Observation,
        statement: ddl.Statement,
        *,
        own: bool,
    ) -> None:
        """Run it in the open block or in one of its own, which takes the same locks; look before the block ends."""
        if own:
            self._begin(connection)
        seen.transaction = self._transaction
        quiet = statement.kind in _UNSEEN or watcher is None
        with self.clock.paused():
            before = _EMPTY if quiet else state.look(connection, inside=True)
            if not quiet:
                connection.execute("set client_min_messages = debug1")
        sighting = self._execute(connection, watcher, seen, None)
        if not quiet:
            with self.clock.paused():
                after = state.look(connection, inside=True)
                self._compare(connection, seen, statement, before, after)
                seen.waited = sighting.waited
                self._locked(seen, statement, before, after)
        if own:
            connection.execute("commit")
            self._ended()

    def _bare(
        self, connection: psycopg.Connection, watcher: Watcher | None, seen: Observation, statement: ddl.Statement
    ) -> None:
        """Run it outside a block; its locks are seen from the second session."""
        self._transaction += 1
        seen.transaction, seen.bare = self._transaction, True
        self._taken.clear()
        if watcher is None:
            self._execute(connection, None, seen, None)
            self._ended()
            return
        with self.clock.paused():
            before = state.look(connection, inside=False)
            self._visible = before.relations
            connection.execute("set client_min_messages = debug1")
            named = [r for r in state.named(statement, before) if r.kind in "rpm"]
            brakes = Brakes(self.dsn, [r.name for r in named if r.kind in "rp"])
        try:
            sighting = self._execute(connection, watcher, seen, brakes)
        finally:
            brakes.close()
        with self.clock.paused():
            after = state.look(connection, inside=False)
            self._compare(connection, seen, statement, before, after)
        seen.waited = sighting.waited
        start = self.clock.at(sighting.granted_at) if sighting.granted_at else seen.start
        for oid, mode in sighting.modes.items():
            self._note(seen, before.relations.get(oid), mode, max(start, seen.start))
        self._ended()

    def _execute(
        self, connection: psycopg.Connection, watcher: Watcher | None, seen: Observation, brakes: Brakes | None
    ) -> Sighting:
        self._lines.clear()
        if watcher is not None:
            watcher.begin(brakes)
        began = time.monotonic()
        try:
            if self.send is not None:
                self.send(seen.sql)
            else:
                connection.execute(cast(LiteralString, seen.sql))
        finally:
            ended = time.monotonic()
            sighting = watcher.end() if watcher is not None else Sighting()
            if brakes is not None and brakes.last_release:
                self.clock.leave_out(began, brakes.last_release)
            self.clock.leave_out(ended, time.monotonic())
            seen.start, seen.end = self.clock.at(began), self.clock.at(ended)
        if watcher is not None and watcher.failure is not None:
            raise watcher.failure
        return sighting

    def _compare(
        self,
        connection: psycopg.Connection,
        seen: Observation,
        statement: ddl.Statement,
        before: state.State,
        after: state.State,
    ) -> None:
        if statement.kind == "truncate_stmt":  # new, empty files: nothing was rewritten or read
            return
        said = notices.read(self._lines)
        seen.proved = said.proved
        found = [r for r in state.rewritten(before, after) if r.oid in self._visible]
        seen.rewritten = [str(r.name) for r in sorted(found, key=lambda r: r.is_index)]
        scans = state.scanned(connection, before, after, said, self._visible)
        seen.scanned = [str(r.name) for r in scans if str(r.name) not in seen.rewritten]
        whole = {t for _, t in said.building if any(r.name.name == t for r in self._visible.values())}
        seen.built = [index for index, table in said.building if table in whole]
        seen.tables = tuple(dict.fromkeys([*state.tables_of(seen.rewritten, before), *(str(r.name) for r in scans)]))

    def _locked(self, seen: Observation, statement: ddl.Statement, before: state.State, after: state.State) -> None:
        """Locks it took, and those held from earlier on what it names."""
        named = {r.oid for r in state.named(statement, before)}
        for oid, mode in after.locks.items():
            relation = before.relations.get(oid) or self._visible.get(oid)
            if mode > before.locks.get(oid, Mode(1)):
                self._note(seen, relation, mode, seen.start + seen.waited)
            elif oid in named and relation is not None and oid in self._visible and mode > Mode.ACCESS_SHARE:
                seen.locks[str(relation.name)] = mode

    def _note(self, seen: Observation, relation: Relation | None, mode: Mode, since: float) -> None:
        if relation is None or relation.oid not in self._visible or mode is Mode.ACCESS_SHARE:
            return
        name = str(relation.name)
        seen.locks[name] = seen.taken[name] = mode
        held = self._taken.get(name)
        position = len(self.seen) - 1
        if held is None:
            self._taken[name] = (mode, since, position)
        elif mode > held[0]:
            self.holds.append(Hold(name, held[0], held[1], since, held[2]))
            self._taken[name] = (mode, since, position)
