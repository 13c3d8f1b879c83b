"""An Alembic revision that asks for a connection (`op.get_bind()`, an inspector), run on the throw-away server.

SQLAlchemy gets a connection that looks like psycopg's, but hands every statement to the rehearsal's session, so that it
is watched as any other. Nothing of env.py runs, and what the revision's own Python would reach beside this connection
is refused: it might know the way to production.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, LiteralString, Self, cast

import psycopg

from dbkit.errors import UsageError
from dbkit.postgres import ddl
from dbkit.postgres.migrate import alembic_source, seclusion
from dbkit.postgres.migrate.alembic_call import surroundings
from dbkit.postgres.migrate.alembic_chain import opened
from dbkit.postgres.migrate.alembic_names import convention
from dbkit.postgres.migrate.alembic_places import directory, importable
from dbkit.postgres.migrate.rehearse import mentions
from dbkit.postgres.migrate.rehearse.observed import Observation, words
from dbkit.postgres.migrate.rehearse.session import Send, Session
from dbkit.postgres.migrate.source import Script

_LOOPED: Final = frozenset("select_stmt insert_stmt update_stmt delete_stmt merge_stmt".split())
"""Statements that a revision runs once a row: watched the first time."""
_PATIENCE: Final = "5s"
_BESIDE: Final = "the revision's second connection waits for what its first has locked, in the deploy for ever"
_ACTS: Final = re.compile(r"\A(?:pg_(?:try_)?advisory|pg_sleep|set_config|setval|nextval|lo_|pg_(?:terminate|cancel))")
"""Functions of the server that do more than answer."""


@dataclass
class Failed(Exception):
    """The revision ended in an error; `noted` when the statement that failed has been noted already."""

    line: int
    why: str
    sqlstate: str = ""
    noted: bool = False


def upgrade(session: Session, script: Script, notes: list[str], *, keep_open: bool) -> None:
    """Run the revision's upgrade(), each statement through the session. Raises Failed, and psycopg.Error at commit."""
    path = script.path or Path(script.file)
    ours = _Connection(session, script.file, path)
    try:
        with seclusion.seclude() as outside:
            _call(ours, path, keep_open=keep_open)
        outside.check()
    except (Exception, SystemExit) as error:  # whatever the revision raises is what the deploy would meet
        cause = _server_error(error)
        last = ours.errors[-1] if ours.errors else None
        line = alembic_source.line_in(error, path) or 1
        if cause is None:
            told = (
                "upgrade() " if isinstance(error, seclusion.Outside) else f"upgrade() raises {type(error).__name__}: "
            )
            raise Failed(line, f"{told}{error}".splitlines()[0]) from None
        noted = last is not None and (last.error, last.sqlstate) == (words(cause), cause.sqlstate or "")
        if last is not None and noted:
            ours.errors.pop()
            line = last.line
        beside = f"; {_BESIDE}" if ours.beside and isinstance(cause, psycopg.errors.LockNotAvailable) else ""
        raise Failed(line, words(cause) + beside, cause.sqlstate or "", noted=noted) from None
    finally:
        for seen in ours.errors:
            seen.caught = True
        notes += ours.notes


def _server_error(error: BaseException) -> psycopg.Error | None:
    """The server's error behind what a revision raised, if it let one through."""
    held: Any = error
    for _ in range(8):
        if isinstance(held, psycopg.Error):
            return held
        held = getattr(held, "orig", None) or held.__cause__
        if held is None:
            return None
    return None


def _call(ours: _Connection, path: Path, *, keep_open: bool) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine: Any = create_engine(
        "postgresql+psycopg://", creator=ours.connect, poolclass=NullPool, use_native_hstore=False
    )
    folder, _ = directory(path)
    naming = _naming(folder)
    with importable(path, folder), engine.connect() as connection:
        ours.started = True
        with (
            surroundings(
                connection, opened(path), naming, transactional_ddl=True, transaction_per_migration=True
            ) as context,
            context.begin_transaction(_per_migration=True),
        ):
            _load(path).upgrade()
            if ours.session.aborted:
                raise RuntimeError(
                    "it caught an error of the server without a savepoint around the statement: the transaction is"
                    " aborted, and Alembic cannot move its version in it"
                )
            ours.keep_open = keep_open


@functools.cache
def _naming(folder: Path) -> Mapping[str, str] | None:
    """Read once: it may be in any of the application's modules, and each revision runs several times."""
    return convention(folder)


def _load(path: Path) -> Any:
    """The revision's module, imported anew."""
    spec = importlib.util.spec_from_file_location(f"dbkit_revision_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Connection:
    """What SQLAlchemy takes for a psycopg connection. Transactions are the session's, begun by the first statement."""

    def __init__(self, session: Session, file: str, path: Path) -> None:
        self.session = session
        self.file = file
        self.path = path
        self.autocommit = False
        self.isolation_level: Any = None
        self.started = False
        """SQLAlchemy has looked at the server; before that, what it rolls back is not the revision's."""
        self.keep_open = False
        """The transaction goes on with the next revision."""
        self.beside = False
        """There is a second connection."""
        self.errors: list[Observation] = []
        self.notes: list[str] = []
        self.loops: dict[tuple[Any, ...], tuple[Observation, ddl.Statement]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session.connection, name)

    def connect(self) -> Any:
        """This connection for SQLAlchemy's first call; a later one is a connection beside it, as in the deploy."""
        if not self.started:
            return self
        self.beside = True
        line = alembic_source.calling_line(self.path)
        self.notes.append(f"{self.file}:{line}: what goes through a second connection of the engine was not watched")
        with seclusion.lifted():  # a lock that the first one holds it would wait for for ever
            return psycopg.connect(self.session.dsn, prepare_threshold=None, options=f"-c lock_timeout={_PATIENCE}")

    def cursor(self, *args: Any, **options: Any) -> _Cursor:
        """A cursor whose statements go through the session."""
        return _Cursor(self, self.session.connection.cursor(*args, **options))

    def execute(self, query: Any, params: Any = None, **options: Any) -> _Cursor:
        """As psycopg's own: a cursor that has run the query."""
        return self.cursor().execute(query, params, **options)

    def commit(self) -> None:
        """End the transaction, unless it is to go on with the next revision."""
        if not self.keep_open:
            self.session.close()

    def rollback(self) -> None:
        """Take back what the revision did; SQLAlchemy's clean-up before and after it takes back nothing."""
        if self.started and not self.keep_open and self.session.inside:
            self.session.roll_back()

    def close(self) -> None:
        """The connection is the session's."""


class _Cursor:
    def __init__(self, ours: _Connection, real: Any) -> None:
        self._ours = ours
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._real)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._real.close()

    def execute(self, query: Any, params: Any = None, **options: Any) -> _Cursor:
        """Run it watched, or plainly when it only asks."""
        self._send(query, params, lambda: self._real.execute(query, params, **options))
        return self

    def executemany(self, query: Any, rows: Any, **options: Any) -> None:
        """Many rows at once: one statement of the migration."""
        rows = list(rows)
        self._send(query, rows[0] if rows else None, lambda: self._real.executemany(query, rows, **options))

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Generator[Any]:
        """COPY by the driver's own call: its rows come from Python while it runs, so it is not watched."""
        ours = self._ours
        line = alembic_source.calling_line(ours.path)
        ours.notes.append(f"{ours.file}:{line}: COPY from Python was run, but not watched")
        if not ours.autocommit:
            ours.session.open()
        with self._real.copy(statement, params, **options) as held:
            yield held

    def _send(self, query: Any, params: Any, send: Send) -> None:
        ours, session = self._ours, self._ours.session
        known = ours.loops.get(self._place(query)) if session.inside else None
        if known is not None:
            session.again(*known, send)
            return
        with seclusion.lifted():
            found = _statements(session.connection, query, params)
            if len(found) > 1:  # one message, which the server runs as one transaction
                alone = ours.autocommit and not session.inside
                if alone:
                    session.open()
                for statement in found:
                    self._one(statement, None)
                if alone:
                    session.close()
            elif found:
                self._one(found[0], send, query)
            else:  # the server says what is wrong with it
                if not ours.autocommit:
                    session.open()
                send()

    def _place(self, *what: Any) -> tuple[Any, ...]:
        """Something of this transaction and this line of the revision: what comes again there is a loop."""
        return (self._ours.session.ledger.transaction, alembic_source.calling_line(self._ours.path), *what)

    def _one(self, statement: ddl.Statement, send: Send | None, query: Any = None) -> None:
        session = self._ours.session
        if statement.kind == "transaction_stmt":
            if statement.sql.lower().startswith("savepoint") and not self._ours.autocommit:
                session.open()
            session.control(statement)
        elif send is not None and statement.kind in ("select_stmt", "variable_show_stmt") and self._asks(statement):
            with session.ledger.clock.paused():
                send()
        else:
            self._run(statement, send, query)

    def _run(self, statement: ddl.Statement, send: Send | None, query: Any) -> None:
        ours, session = self._ours, self._ours.session
        if not ours.autocommit:
            session.open()
        loops = statement.kind in _LOOPED and session.inside
        like = self._place(statement.kind, *mentions.relations(statement))
        if send is not None and loops and like in ours.loops:  # the values are written into its text
            session.again(*ours.loops[like], send)
            return
        seen = Observation(ours.file, like[1], statement.sql, statement.kind)
        try:
            session.run(seen, statement, send)
        except psycopg.Error:
            ours.errors.append(seen)
            raise
        if loops:
            ours.loops[like] = ours.loops[self._place(query)] = (seen, statement)

    def _asks(self, statement: ddl.Statement) -> bool:
        """Whether a query reads the catalogue only: answered, not shown."""
        made = {str(m.ctename) for m in _of(statement, "CommonTableExpr")}
        named = [n for n in mentions.relations(statement) if n.schema or n.name not in made]
        if any(n.schema not in ("pg_catalog", "information_schema") and not n.name.startswith("pg_") for n in named):
            return False
        called = {str(f.funcname[-1].string.sval) for f in _of(statement, "FuncCall")}
        if any(_ACTS.match(name) for name in called):
            return False
        if self._ours.session.aborted or not called:
            return True
        with self._ours.session.ledger.clock.paused():
            theirs = self._ours.session.connection.execute(
                "select from pg_catalog.pg_proc where proname = any(%s)"
                " and pronamespace <> all (array['pg_catalog', 'information_schema']::regnamespace[]) limit 1",
                [sorted(called)],
            )
        return theirs.rowcount == 0


def _of(statement: ddl.Statement, kind: str) -> Iterator[Any]:
    return (cast(Any, m) for m in ddl.walk(statement.node) if type(m).__name__ == kind)


def _statements(connection: psycopg.Connection, query: Any, params: Any) -> Sequence[ddl.Statement]:
    """The statements with parameters written out; none when they cannot be read."""
    text = query if isinstance(query, str) else query.decode() if isinstance(query, bytes) else query.as_string()
    if params:
        with psycopg.ClientCursor(connection) as cursor:
            text = cursor.mogrify(cast(LiteralString, text), params)
    elif params is not None:
        text = text.replace("%%", "%")
    try:
        return ddl.parse(text)
    except UsageError:
        return ()
