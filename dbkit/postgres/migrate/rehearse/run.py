"""Runs scripts as their tool would, statement by statement, up to the first that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import psycopg

from dbkit.postgres import ddl
from dbkit.postgres.migrate.found import parse, plain
from dbkit.postgres.migrate.reading import read
from dbkit.postgres.migrate.rehearse import copying, lacking, online
from dbkit.postgres.migrate.rehearse.ledger import Ledger
from dbkit.postgres.migrate.rehearse.observed import Observation, Stop, words
from dbkit.postgres.migrate.rehearse.session import Session
from dbkit.postgres.migrate.rehearse.watch import Watcher
from dbkit.postgres.migrate.source import Part, Script
from dbkit.postgres.migrate.transactions import Wrap
from dbkit.postgres.migrate.wrapping import wrap

_SURVIVES: Final = "-c deadlock_timeout=1h"
"""Who waits for the migration while it waits for them loses: the watcher sees to it."""


@dataclass(slots=True)
class Runner:
    """One migrating session over some scripts. With `watching` off it only runs and times."""

    dsn: str
    assume: bool | None = None
    watching: bool = True
    one_transaction: bool = False
    """All scripts share one transaction, as Alembic runs them unless `transaction_per_migration` is set."""
    between: Callable[[int], None] = lambda position: None
    """Called whenever nothing is open, with the number of statements run so far."""
    lacks: Sequence[str] = ()
    """Why statements of the schema before could not be run on this server."""
    ledger: Ledger = field(default_factory=Ledger)
    stop: Stop | None = None
    notes: list[str] = field(default_factory=list[str])

    def run(self, scripts: Sequence[Script]) -> None:
        """Run all; ends at the first statement that fails, with `stop` set."""
        with psycopg.connect(
            self.dsn,
            autocommit=True,
            application_name="dbkit rehearse: migration",
            prepare_threshold=None,
            options=_SURVIVES if self.watching else None,
        ) as connection:
            watcher = Watcher(self.dsn, connection.info.backend_pid) if self.watching else None
            session = Session(self.dsn, connection, watcher, self.ledger, self.between)
            try:
                for number, script in enumerate(scripts):
                    self._script(session, script, keep_open=self.one_transaction and number < len(scripts) - 1)
                    if self.stop is not None:
                        break
            finally:
                if watcher is not None:
                    watcher.close()

    def _script(self, session: Session, script: Script, *, keep_open: bool) -> None:
        try:
            if script.online:
                online.upgrade(session, script, self.notes, keep_open=keep_open)
            else:
                self._text(session, script, keep_open=keep_open)
        except online.Failed as failed:
            self._fail(session, script.file, failed.line, failed.why, failed.sqlstate, noted=failed.noted)
        except psycopg.Error as error:
            self._fail(session, script.file, 1, words(error), error.sqlstate or "", sql="commit")

    def _text(self, session: Session, script: Script, *, keep_open: bool) -> None:
        parts, problems = parse(script)
        if problems or script.problems:
            first = problems[0] if problems else None
            line = first.line if first else script.problems[0][0] or 1
            self._fail(session, script.file, line, plain(first) if first else script.problems[0][1])
            return
        statements = [s for _, found in parts for s in found]
        one_message = script.one_message and self.assume is None and len(statements) > 1
        wrapped = wrap(script, statements, self.assume, read) is not Wrap.NO or one_message
        if wrapped:
            session.open()
        for part, found in parts:
            if part is not None and part.control:
                wrapped = part.control != "end"
                session.close() if part.control == "end" else session.open()
                continue
            for position, statement in enumerate(found):
                self._statement(session, script, part, statement)
                if self.stop is not None:
                    return
                if one_message and not session.inside and position < len(found) - 1:
                    session.open()  # the rest of the message is a new implicit transaction
        if wrapped and not keep_open:
            session.close()
        elif session.inside and not session.ours:
            self.notes.append(f"{script.file} ends with its transaction open: rolled back, as the tool's exit does")
            session.roll_back()

    def _statement(self, session: Session, script: Script, part: Part | None, statement: ddl.Statement) -> None:
        line = part.line if part is not None else statement.line
        seen = Observation(script.file, line, statement.sql, statement.kind)
        send = None
        if copying.reads_stdin(statement):
            rows = copying.data(script, statement)
            if rows is None:
                self.notes.append(f"{script.file}:{line}: COPY ... FROM stdin has no rows in the file, and is not run")
                return
            send = copying.sender(session.connection, statement.sql, rows)
        try:
            seen.unrehearsed = lacking.passed_over(session.connection, statement, inside=session.inside)
            if seen.unrehearsed:
                seen.start = seen.end = self.ledger.clock.now()
                self.ledger.seen.append(seen)
                return
            if statement.kind == "transaction_stmt":
                session.control(statement)
            else:
                session.run(seen, statement, send)
        except psycopg.Error as error:
            noted = bool(self.ledger.seen) and self.ledger.seen[-1] is seen
            why = words(error)
            seen.unrehearsed = lacking.because(error, [*self.lacks, *(o.unrehearsed for o in self.ledger.seen)])
            self._fail(session, script.file, line, why, error.sqlstate or "", sql=statement.sql, noted=noted)

    def _fail(
        self,
        session: Session,
        file: str,
        line: int,
        why: str,
        sqlstate: str = "",
        *,
        sql: str = "",
        noted: bool = False,
    ) -> None:
        """End here; what no statement has noted gets a row of its own."""
        if not noted:
            now = self.ledger.clock.now()
            self.ledger.seen.append(Observation(file, line, sql, "", start=now, end=now, error=why, sqlstate=sqlstate))
        self.stop = Stop(file, line, why)
        with suppress(psycopg.Error):
            session.roll_back()
