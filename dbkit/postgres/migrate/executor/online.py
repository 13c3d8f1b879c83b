"""A revision that needs a connection (`op.get_bind()`), run by Alembic itself in one transaction with its version.

Its statements are not known before they are sent, so nobody can be looked for first. Each is sent with dbkit's own
timeouts; one that gets no lock in time, or meets a deadlock, ends the transaction, and as nothing of it was done the
function is called again. What would commit on the way is refused: then nobody could say what a second call would do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import psycopg
from psycopg import errors, sql

from dbkit.errors import Broken, DbkitError, Refused
from dbkit.postgres.connect import Connection, connect, fetch
from dbkit.postgres.indexes import failure
from dbkit.postgres.indexes.watch import Running
from dbkit.postgres.migrate import alembic_source
from dbkit.postgres.migrate.alembic_call import surroundings
from dbkit.postgres.migrate.executor import units, wants
from dbkit.postgres.migrate.executor.done import Done
from dbkit.postgres.migrate.executor.session import QUICK_DEADLOCK, Book, Session, milliseconds
from dbkit.postgres.migrate.executor.units import Sentence, Unit
from dbkit.postgres.migrate.executor.wants import Want
from dbkit.postgres.migrate.revisions import Environment, Revision
from dbkit.postgres.migrate.source import Part
from dbkit.settings import Target

RACES: Final = ("55P03", "40P01", "40001")


@dataclass(frozen=True, slots=True)
class Online:
    """One direction of such a revision."""

    target: Target
    environment: Environment
    revision: Revision
    direction: str

    def run(self, session: Session, unit: Unit, done: Done, book: Book) -> None:
        """Call it until its transaction commits. Raises Stopped, Refused or Broken; then nothing of it was done."""
        began = time.monotonic()
        try:
            with session.watch.waiting(unit.told) as note:
                self._until_done(session, unit, done, book, note)
        except BaseException:
            done.outcome = "failed"
            raise
        finally:
            done.seconds = time.monotonic() - began
        done.outcome = "done"

    def _until_done(self, session: Session, unit: Unit, done: Done, book: Book, note: Callable[[str], None]) -> None:
        wanted: list[Want] = []
        while True:
            session.look(unit, wanted, done, note)
            if not session.budget.allowance:
                raise session.spent(unit, done)
            done.attempts += 1
            call = _Call(self, session)
            try:
                call.run(unit, book)
            except psycopg.Error as error:
                session.account(call.strong, call.held, done)
                if error.sqlstate not in RACES:
                    raise self._failed(error, call, session, unit) from None
                wanted = call.wanted
                session.watch.say("attempt failed", object=unit.told, attempt=done.attempts, sqlstate=error.sqlstate)
                note(f"{unit.told}: attempt {done.attempts} got no lock")
                pause = session.budget.backoff(done.attempts)
                time.sleep(pause)
                done.waited += pause
                continue
            session.account(call.strong, call.held, done)
            return

    def _failed(self, error: psycopg.Error, call: _Call, session: Session, unit: Unit) -> DbkitError:
        if isinstance(error, errors.QueryCanceled) and call.strong:
            return session.cancelled(unit, call.strong, error)
        if error.sqlstate == "25001":
            return Refused(
                f"{self.revision.path.name}: {call.last} refuses to run in a transaction",
                hint="put it into a revision of its own that needs no connection, in an autocommit_block()",
            )
        shown = failure.of_build(error, f"{self.direction}() of {self.revision.path.name}")
        if call.line and not shown.what.startswith(f"{self.revision.path.name}:"):
            shown.what = f"{self.revision.path.name}:{call.line}: {shown.what}"
        return shown


@dataclass
class _Call:
    """One call of the function, in a transaction and on a connection of its own."""

    online: Online
    session: Session
    wanted: list[Want] = field(default_factory=list[Want])
    """What the last statement asked for."""
    strong: list[Want] = field(default_factory=list[Want])
    """What stops others and is held, or was asked for."""
    last: str = ""
    line: int | None = None
    held: float = 0.0
    _since: float | None = None

    def run(self, unit: Unit, book: Book) -> None:
        """Raises psycopg.Error for what the server said, and a DbkitError for anything else."""
        connection = connect(self.online.target, purpose="migrate online")
        running = Running(connection, unit.told, self.session.limits)
        try:
            self._settle(connection)
            with self.session.watch.over(running):
                self._call(connection, book)
        except psycopg.Error as error:
            if running.reason:
                raise failure.of_build(error, running.object, running.reason) from None
            raise
        finally:
            if self._since is not None:
                self.held = time.monotonic() - self._since
            connection.close()

    def _settle(self, connection: Connection) -> None:
        """As the revision expects it; the lock of the run that may have died over it comes first."""
        schema = self.online.environment.schema
        path = (
            sql.SQL("set /* dbkit */ search_path = {}").format(sql.Identifier(schema))
            if schema
            else sql.SQL("reset search_path")
        )
        connection.execute(path)
        with suppress(errors.InsufficientPrivilege):
            connection.execute(sql.SQL("set /* dbkit */ deadlock_timeout = {}").format(sql.Literal(QUICK_DEADLOCK)))
        self.session.wait_for_the_dead(connection, "migrate online")
        connection.autocommit = False

    def _call(self, connection: Connection, book: Book) -> None:
        from sqlalchemy import create_engine, event
        from sqlalchemy.exc import DBAPIError
        from sqlalchemy.pool import StaticPool

        engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
        path = self.online.revision.path
        try:
            with engine.connect() as bound, bound.begin() as transaction:
                self._allow(connection)
                before = _transaction(connection)

                def sending(_c: Any, _cursor: Any, statement: str, given: Any, *_rest: Any) -> None:
                    self._before(connection, statement, given=bool(given))

                event.listen(bound, "before_cursor_execute", sending)
                with self._alembic(bound):
                    getattr(self.online.revision.script.module, self.online.direction)()
                event.remove(bound, "before_cursor_execute", sending)
                if not transaction.is_active or _transaction(connection) != before:
                    raise Broken(
                        f"{path.name}: {self.online.direction}() ended the transaction it runs in",
                        why="what it did until then is committed, but its version is not moved",
                        hint="take commit and rollback out of it, undo what it did, then run the same command again",
                    )
                book(connection)
        except DBAPIError as error:
            self.line = alembic_source.line_in(error, path)
            if isinstance(error.orig, psycopg.Error):
                raise error.orig from None
            raise self._defect(error) from None
        except (psycopg.Error, DbkitError) as error:
            self.line = alembic_source.line_in(error, path)
            raise
        except (Exception, SystemExit) as error:  # the user's own program: whatever it raises, it was rolled back
            self.line = alembic_source.line_in(error, path)
            raise self._defect(error) from None

    def _defect(self, error: BaseException) -> Broken:
        place = f"{self.online.revision.path.name}{f':{self.line}' if self.line else ''}"
        return Broken(
            f"{place}: {self.online.direction}() fails; nothing of it was done",
            why=f"{type(error).__name__}: {error}".splitlines()[0],
            hint="mend the revision, then run the same command again",
        )

    @contextmanager
    def _alembic(self, bound: Any) -> Generator[None]:
        environment, revision = self.online.environment, self.online.revision
        schema, _, name = environment.version_table.rpartition(".")
        with surroundings(
            bound, environment.script, revision.naming, version_table=name, version_table_schema=schema or None
        ) as context:
            context.autocommit_block = self._no_commit
            yield

    def _no_commit(self) -> NoReturn:
        raise Refused(
            f"{self.online.revision.path.name}: autocommit_block() in a revision that needs a connection",
            why="it would commit half of a revision of which nobody can say where to go on",
            hint="split it: one revision with op.get_bind(), one with the autocommit_block()",
        )

    def _before(self, connection: Connection, statement: str, *, given: bool) -> None:
        """The timeouts of the next statement, and what it is going to lock as far as its text tells."""
        self.last = " ".join(statement.split())[:70]
        read: list[Sentence] = [] if given else units.sentences(Part(statement, 1), "", self.session.server.major)
        self.wanted = wants.wanted(connection, read)
        strong = wants.strong(self.wanted)
        if strong:
            self.strong = strong
            self._since = self._since or time.monotonic()
        self._allow(connection)

    def _allow(self, connection: Connection) -> None:
        budget = self.session.budget
        connection.execute(
            "select /* dbkit */ set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
            [milliseconds(budget.allowance or 0.01), milliseconds(budget.max_hold if self.strong else 0.0)],
        )


def _transaction(connection: Connection) -> str:
    return str(fetch(connection, "select pg_catalog.pg_current_xact_id()::text as id")[0]["id"])
