"""An Alembic revision that only runs online (`op.get_bind()`, an inspector), run on the throw-away server.

SQLAlchemy gets a connection that looks like psycopg's, but hands every statement to the runner, so that it is watched
as any other. Nothing of env.py runs: it might know the way to production.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, LiteralString, cast

import psycopg

from dbkit.errors import UsageError
from dbkit.postgres import ddl
from dbkit.postgres.migrate.alembic_source import calling_line, line_in
from dbkit.postgres.migrate.source import Part, Script

if TYPE_CHECKING:
    from dbkit.postgres.migrate.rehearse.run import Runner
    from dbkit.postgres.migrate.rehearse.watch import Watcher

_READS: Final = frozenset(("select_stmt", "variable_show_stmt"))
"""Questions of the revision to the catalogue: answered, not shown."""


class _Ended(Exception):
    """The runner has noted a failed statement; the revision is over."""


def upgrade(
    runner: Runner, connection: psycopg.Connection, watcher: Watcher | None, script: Script, *, keep_open: bool
) -> None:
    """Run the revision's upgrade(), each statement through the runner. A Python error is noted as its failure."""
    path = script.path or Path(script.file)
    ours = _Connection(runner, connection, watcher, script)
    try:
        _upgrade(ours, path, keep_open=keep_open)
    except _Ended:
        pass
    except Exception as error:  # whatever the revision raises is what the deploy would meet
        if runner.stop is None:
            words = f"upgrade() raises {type(error).__name__}: {error}".splitlines()[0]
            runner.fail(connection, script.file, line_in(error, path) or 1, "", words)


def _upgrade(ours: _Connection, path: Path, *, keep_open: bool) -> None:
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine: Any = create_engine(
        "postgresql+psycopg://", creator=lambda: ours, poolclass=NullPool, use_native_hstore=False
    )
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection=connection, opts={"transactional_ddl": True, "transaction_per_migration": True}
        )
        transaction = context.begin_transaction(_per_migration=True)
        with transaction:
            with Operations.context(context):
                _load(path).upgrade()
            ours.keep_open = keep_open


def _load(path: Path) -> Any:
    """The revision's module, imported anew, without leaving bytecode in the user's folder."""
    spec = importlib.util.spec_from_file_location(f"dbkit_revision_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    held, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = held
    return module


class _Connection:
    """What SQLAlchemy takes for a psycopg connection. Transactions are the runner's, begun by the first statement."""

    def __init__(self, runner: Runner, connection: psycopg.Connection, watcher: Watcher | None, script: Script) -> None:
        self.runner = runner
        self.real = connection
        self.watcher = watcher
        self.script = script
        self.autocommit = False
        self.isolation_level: Any = None
        self.keep_open = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def cursor(self, *args: Any, **options: Any) -> _Cursor:
        """A cursor whose statements go through the runner."""
        return _Cursor(self, self.real.cursor(*args, **options))

    def commit(self) -> None:
        """End the transaction, unless it is to go on with the next revision."""
        if not self.keep_open:
            self.runner.close(self.real)

    def rollback(self) -> None:
        """SQLAlchemy's clean-up after a statement or a connection: nothing of ours is open then but on purpose."""

    def close(self) -> None:
        """The session is the runner's."""


class _Cursor:
    def __init__(self, ours: _Connection, real: Any) -> None:
        self._ours = ours
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._real)

    def execute(self, query: Any, params: Any = None, **options: Any) -> _Cursor:
        """Run it watched, or plainly when it only asks."""
        self._send(query, params, lambda: self._real.execute(query, params, **options))
        return self

    def executemany(self, query: Any, rows: Any, **options: Any) -> None:
        """Many rows at once: one statement of the migration."""
        rows = list(rows)
        self._send(query, rows[0] if rows else None, lambda: self._real.executemany(query, rows, **options))

    def _send(self, query: Any, params: Any, send: Any) -> None:
        ours, runner = self._ours, self._ours.runner
        statement = _statement(ours.real, query, params)
        if statement is not None and statement.kind in _READS:
            with runner.clock.paused():
                send()
            return
        if not ours.autocommit:
            runner.open(ours.real)
        if statement is None:
            send()
            return
        path = ours.script.path
        line = calling_line(path) if path is not None else 1
        runner.send = lambda _: send()
        try:
            runner.statement(ours.real, ours.watcher, ours.script, Part(statement.sql, line), statement)
        finally:
            runner.send = None
        if runner.stop is not None:
            raise _Ended


def _statement(connection: psycopg.Connection, query: Any, params: Any) -> ddl.Statement | None:
    """The statement with its parameters written out; None when it cannot be read, so that it is run unwatched."""
    text = str(query)
    if params:
        with psycopg.ClientCursor(connection) as cursor:
            text = cursor.mogrify(cast(LiteralString, text), params)
    try:
        found = ddl.parse(re.sub(r"%%", "%", text) if not params else text)
    except UsageError:
        return None
    return found[0] if len(found) == 1 else None
