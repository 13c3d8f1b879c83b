"""The migrating session: its transactions, and each statement watched while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, LiteralString, cast

import psycopg
from psycopg.pq import TransactionStatus

from dbkit.postgres import ddl
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.reading import read
from dbkit.postgres.migrate.rehearse import mentions, notices, state
from dbkit.postgres.migrate.rehearse.brakes import Brakes
from dbkit.postgres.migrate.rehearse.ledger import Ledger
from dbkit.postgres.migrate.rehearse.observed import Observation, words
from dbkit.postgres.migrate.rehearse.watch import Sighting, Watcher
from dbkit.postgres.migrate.rules.transactions import refuses_transaction

Send = Callable[[], object]
"""Sends the statement another way than by its text: with parameters, or with the rows of a COPY."""

_UNSEEN: Final = frozenset("variable_set_stmt variable_show_stmt transaction_stmt".split())
"""Statements after which nothing is looked up: a query there would change what the next statement may do."""
_OWN_TRANSACTIONS: Final = frozenset(("call_stmt", "do_stmt"))
_EMPTY: Final = state.State({}, {}, {})


@dataclass(slots=True)
class Session:
    """One session; without a watcher it only runs and times (for calibration and for history)."""

    dsn: str
    connection: psycopg.Connection
    watcher: Watcher | None
    ledger: Ledger
    between: Callable[[int], None] = lambda position: None
    """Called whenever nothing is open, with the number of statements run so far."""
    ours: bool = False
    """The open transaction block was opened by the tool, not by the script."""
    _lines: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        """Listen to what the server says."""
        self.connection.add_notice_handler(lambda told: self._lines.append(told.message_primary or ""))

    @property
    def inside(self) -> bool:
        """Whether a transaction block is open."""
        return self.connection.info.transaction_status is not TransactionStatus.IDLE

    @property
    def aborted(self) -> bool:
        """Whether the open transaction block takes nothing but its end."""
        return self.connection.info.transaction_status is TransactionStatus.INERROR

    def open(self) -> None:
        """Begin a transaction as the tool does, unless one is open."""
        if not self.inside:
            self.ours = True
            self.begin()

    def begin(self) -> None:
        """Begin a transaction."""
        self._began()
        self.connection.execute("begin")

    def close(self) -> None:
        """Commit the open transaction, if there is one."""
        if self.inside:
            self.connection.execute("commit")
            self.ended()

    def roll_back(self) -> None:
        """Take the open transaction back, if there is one."""
        try:
            if self.inside:
                self.connection.execute("rollback")
        finally:
            self.ended()

    def control(self, statement: ddl.Statement) -> None:
        """Run BEGIN, COMMIT and the like, written in a script. Raises psycopg.Error."""
        found = next((x for x in read(statement) if isinstance(x, a.Transaction)), a.Transaction())
        if found.verb == "begin":
            if not self.inside:
                self.begin()
            self.ours = False
            return
        was = self.inside
        self.connection.execute(cast(LiteralString, statement.sql))
        if was and not self.inside:
            self.ended()
        elif found.chain:
            self.ended()
            self._began()

    def ended(self) -> None:
        """The transaction is over."""
        self.ours = False
        self.ledger.ended()
        with self.ledger.clock.paused():
            self.between(len(self.ledger.seen))

    def _began(self) -> None:
        visible = None
        if self.watcher is not None:
            with self.ledger.clock.paused():
                visible = state.look(self.connection, inside=False).relations
        self.ledger.began(visible)

    def run(self, seen: Observation, statement: ddl.Statement, send: Send | None = None) -> None:
        """Run a statement and note what it does. Raises psycopg.Error, which is noted too."""
        self.ledger.seen.append(seen)
        alone = not self.inside and (
            self.watcher is None
            or statement.kind in _OWN_TRANSACTIONS
            or any(refuses_transaction(x) for x in read(statement))
        )
        try:
            if alone:
                self._alone(seen, statement, send)
            else:
                self._together(seen, statement, send, own=not self.inside)
        except psycopg.Error as error:
            seen.end = self.ledger.clock.now()
            seen.error, seen.sqlstate = words(error), error.sqlstate or ""
            raise

    def again(self, seen: Observation, statement: ddl.Statement, send: Send) -> None:
        """Run once more what was seen in this transaction already, with other values: only its time is new."""
        began = time.monotonic()
        try:
            send()
        finally:
            seen.repeats += 1
            seen.repeated += time.monotonic() - began
        if seen.repeats == 1:  # as often as there are rows: it grows with the tables it names
            named = {n.name for n in mentions.relations(statement)}
            more = [str(r.name) for r in self.ledger.visible.values() if r.name.name in named and r.kind in "rm"]
            seen.tables = tuple(dict.fromkeys([*seen.tables, *more]))

    def _together(self, seen: Observation, statement: ddl.Statement, send: Send | None, *, own: bool) -> None:
        """Run it in a transaction; alone if that is ours and the server refuses it: REINDEX of a partitioned table."""
        try:
            self._in_transaction(seen, statement, send, own=own)
        except psycopg.errors.ActiveSqlTransaction:
            if not own:
                raise
            self.connection.execute("rollback")
            self._alone(seen, statement, send)

    def _in_transaction(self, seen: Observation, statement: ddl.Statement, send: Send | None, *, own: bool) -> None:
        """Run it in the open block or in one of its own, which takes the same locks; look before the block ends."""
        if own:
            self.begin()
        clock, watcher = self.ledger.clock, self.watcher
        seen.transaction = self.ledger.transaction
        quiet = statement.kind in _UNSEEN or watcher is None
        with clock.paused():
            before = _EMPTY if quiet else state.look(self.connection, inside=True)
            if not quiet:
                self.connection.execute("set client_min_messages = debug1")
        sighting = self._execute(seen, send, None)
        if not quiet:
            with clock.paused():
                after = state.look(self.connection, inside=True)
                self._compare(seen, statement, before, after)
                seen.waited = sighting.waited
                self._locked(seen, statement, before, after)
        if own:
            self.close()

    def _alone(self, seen: Observation, statement: ddl.Statement, send: Send | None) -> None:
        """Run it outside a block; its locks are seen from the second session."""
        ledger = self.ledger
        if self.watcher is None:
            ledger.began(None)
            seen.transaction, seen.bare = ledger.transaction, True
            self._execute(seen, send, None)
            self.ended()
            return
        with ledger.clock.paused():
            before = state.look(self.connection, inside=False)
            ledger.began(before.relations)
            self.connection.execute("set client_min_messages = debug1")
            named = [r for r in state.named(statement, before) if r.kind in "rp"]
            brakes = Brakes(self.dsn, [r.name for r in named])
        seen.transaction, seen.bare = ledger.transaction, True
        try:
            sighting = self._execute(seen, send, brakes)
        finally:
            brakes.close()
        with ledger.clock.paused():
            after = state.look(self.connection, inside=False)
            self._compare(seen, statement, before, after)
        seen.waited = sighting.waited
        start = ledger.clock.at(sighting.granted_at) if sighting.granted_at else seen.start
        for oid, mode in sighting.modes.items():
            ledger.lock(seen, before.relations.get(oid), mode, max(start, seen.start))
        self.ended()

    def _execute(self, seen: Observation, send: Send | None, brakes: Brakes | None) -> Sighting:
        clock, watcher = self.ledger.clock, self.watcher
        self._lines.clear()
        if watcher is not None:
            watcher.begin(brakes)
        began = time.monotonic()
        try:
            if send is not None:
                send()
            else:
                self.connection.execute(cast(LiteralString, seen.sql))
        finally:
            ended = time.monotonic()
            sighting = watcher.end() if watcher is not None else Sighting()
            if brakes is not None and brakes.last_release:
                clock.leave_out(began, brakes.last_release)
            clock.leave_out(ended, time.monotonic())
            seen.start, seen.end = clock.at(began), clock.at(ended)
        if watcher is not None and watcher.failure is not None:
            raise watcher.failure
        return sighting

    def _compare(self, seen: Observation, statement: ddl.Statement, before: state.State, after: state.State) -> None:
        if statement.kind == "truncate_stmt":  # new, empty files: nothing was rewritten or read
            return
        visible = self.ledger.visible
        said = notices.read(self._lines)
        seen.proved = said.proved
        found = [r for r in state.rewritten(before, after) if r.oid in visible]
        seen.rewritten = [str(r.name) for r in sorted(found, key=lambda r: r.is_index)]
        scans = state.scanned(self.connection, before, after, said, visible)
        seen.scanned = [str(r.name) for r in scans if str(r.name) not in seen.rewritten]
        whole = {t for _, t in said.building if any(r.name.name == t for r in visible.values())}
        seen.built = [index for index, table in said.building if table in whole]
        seen.tables = tuple(dict.fromkeys([*state.tables_of(seen.rewritten, before), *(str(r.name) for r in scans)]))

    def _locked(self, seen: Observation, statement: ddl.Statement, before: state.State, after: state.State) -> None:
        """Locks it took, and those held from earlier on what it names."""
        visible = self.ledger.visible
        named = {r.oid for r in state.named(statement, before)}
        for oid, mode in after.locks.items():
            relation = before.relations.get(oid) or visible.get(oid)
            if mode > before.locks.get(oid, Mode(1)):
                self.ledger.lock(seen, relation, mode, seen.start + seen.waited)
            elif oid in named and relation is not None and oid in visible and mode > Mode.ACCESS_SHARE:
                seen.locks[str(relation.name)] = mode
