"""The ground of a rehearsal: a throw-away server with a database that holds the schema before, and copies of it."""

from __future__ import annotations

import errno
import os
import re
import secrets
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, LiteralString, cast

import psycopg
from psycopg import errors, sql

from dbkit.ephemeral import Unavailable
from dbkit.ephemeral import postgres_databases as databases
from dbkit.ephemeral.own_way import own_way
from dbkit.ephemeral.postgres import ADDRESS, PostgresServer, start_postgres
from dbkit.errors import UsageError
from dbkit.postgres import ddl
from dbkit.postgres.migrate.rehearse import lacking
from dbkit.postgres.migrate.rehearse.observed import Observation
from dbkit.postgres.migrate.rehearse.run import Runner
from dbkit.postgres.migrate.source import Script, blank

PREFIX: Final = "dbkit_rehearsal_"
# autovacuum would hold locks of its own and count as somebody in the way.
_SETTINGS: Final = {"autovacuum": "off", "max_wal_size": "8GB", "checkpoint_timeout": "1h"}
_INSTALL: Final = "install it where the throw-away server runs, or give a server that has it: DBKIT_TEST_POSTGRES_DSN"
_ROLE: Final = re.compile(r'role "(.+)" does not exist')
_HARMLESS: Final = (
    errors.DuplicateSchema,  # a dump creates schema public
    errors.UndefinedObject,  # a setting that a newer pg_dump writes and this server does not know
    errors.DuplicateObject,
)


@dataclass(slots=True)
class Ground:
    """A server, the databases made on it, and roles made for the schema's sake."""

    server: PostgresServer
    keeper: psycopg.Connection
    _databases: list[str] = field(default_factory=list[str])
    roles: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    lacks: list[str] = field(default_factory=list[str])
    """Why some statements of the schema were passed over."""

    def database(self, source: str = "template0") -> str:
        """A new database, a copy of another; its name."""
        name = f"{PREFIX}{secrets.token_hex(6)}"
        # Whoever sweeps leaves a database alone while somebody holds this lock, which ends with our session.
        self.keeper.execute("select pg_advisory_lock(%s)", [_number(name)])
        databases.create(self.server, name, source=source)
        self._databases.append(name)
        return name

    def provide(self, roles: Iterable[str]) -> None:
        """Make roles that the scripts only name: other migrations, or a person, made them in production."""
        for role in roles:
            with suppress(errors.DuplicateObject):
                self.keeper.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
                self.roles.append(role)

    def expect(self, roles: Sequence[str]) -> None:
        """Roles that a script is going to make: dropped in the end, unless they are there already."""
        rows = self.keeper.execute("select rolname from pg_roles where rolname = any(%s)", [list(roles)]).fetchall()
        there = {name for (name,) in rows}
        self.roles += [role for role in roles if role not in there]

    def forget(self, roles: Iterable[str]) -> None:
        """Drop roles that a run has made: the next one makes them again. Its database is gone already."""
        for role in roles:
            with suppress(psycopg.Error):
                self.keeper.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))

    def dsn(self, name: str) -> str:
        """The address of a database; it carries the password."""
        return self.server.dsn_for(name)

    def close(self) -> None:
        """Drop what was made, where the server outlives us."""
        with suppress(psycopg.Error):
            if self.server.held is None:
                for name in self._databases:
                    databases.drop(self.server, name)
                for role in self.roles:
                    self.keeper.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))
        self.keeper.close()


@contextmanager
def prepare(major: int) -> Generator[Ground]:
    """A ground on PostgreSQL `major`. Raises Unavailable (exit 3) with every way that was tried."""
    with own_way(), _roomy(), _server(major) as server:
        keeper = psycopg.connect(server.dsn, autocommit=True, application_name="dbkit rehearse: keeper")
        ground = Ground(server, keeper)
        try:
            if server.held is None:
                _sweep(ground)
            yield ground
        except psycopg.OperationalError:
            if _is_full(server.log_file):
                raise _full() from None
            raise
        finally:
            ground.close()


def _is_full(log: Path | None) -> bool:
    """Whether a server of ours has met a full disk, by its own log."""
    try:
        return log is not None and os.strerror(errno.ENOSPC) in log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _full() -> Unavailable:
    return Unavailable(
        f"no space is left in {tempfile.gettempdir()}",
        what="the throw-away server has run out of disk",
        hint="set TMPDIR to a folder with more room, or rehearse with fewer --rows",
    )


@contextmanager
def _roomy() -> Generator[None]:
    """A disk that is full while the server is being made, told as one."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _full() from None


def _server(major: int) -> PostgresServer:
    if os.environ.get(ADDRESS):
        with suppress(Unavailable):  # of another version, or not there: the next sources say what is missing
            return start_postgres(major, sources=("dsn",))
    return start_postgres(major, settings=_SETTINGS, sources=("embedded", "local", "container"))


def _sweep(ground: Ground) -> None:
    """Drop databases of rehearsals that were killed: nobody holds their lock any more."""
    names = ground.keeper.execute("select datname from pg_database where datname like %s", [f"{PREFIX}%"]).fetchall()
    for (name,) in names:
        taken = ground.keeper.execute("select pg_try_advisory_lock(%s)", [_number(name)]).fetchone()
        if taken and taken[0]:
            databases.drop(ground.server, name)


def _number(name: str) -> int:
    return zlib.crc32(name.encode())


def build(
    ground: Ground, name: str, schema: str, label: str, history: Sequence[Script], assume: bool | None
) -> list[Observation]:
    """Make the schema before: the dump first, then the history, whose statements are handed back.

    Raises UsageError naming the statement that fails.
    """
    if schema:
        with psycopg.connect(ground.dsn(name), autocommit=True, prepare_threshold=None) as connection:
            _load(ground, connection, schema, label)
    if not history:
        return []
    runner = Runner(ground.dsn(name), assume, watching=False)
    try:
        runner.run(history)
    except psycopg.Error as error:
        raise UsageError("the history cannot be run", why=str(error).strip()) from None
    seen = runner.ledger.seen
    ground.notes += runner.notes
    ground.lacks += [o.unrehearsed for o in seen if o.unrehearsed and not o.error]
    if runner.stop is not None:
        lacks = seen[-1].unrehearsed
        raise UsageError(
            f"{runner.stop.file}:{runner.stop.line}: the history fails on an empty PostgreSQL"
            f" {ground.server.version_text}",
            why=lacks or runner.stop.why,
            hint=_INSTALL
            if lacks
            else "give the schema production has, --schema FILE (pg_dump -s): then only what is pending is run",
        )
    return seen


def _load(ground: Ground, connection: psycopg.Connection, schema: str, label: str) -> None:
    for statement in ddl.parse(blank(schema), label=label):
        if statement.kind == "copy_stmt":
            continue  # a schema holds no rows
        why = lacking.passed_over(connection, statement, inside=False)
        if why:
            ground.lacks.append(why)
            continue
        _tolerate(ground, statement, label, lambda text=statement.sql: connection.execute(cast(LiteralString, text)))


def _tolerate(ground: Ground, statement: ddl.Statement, label: str, run: Callable[[], object]) -> None:
    """Run a statement of a dump; roles it wants are made, and what only this server lacks is passed over."""
    for _ in range(8):
        try:
            run()
        except errors.UndefinedObject as error:
            missing = _ROLE.search(str(error))
            if missing is None:
                if statement.kind == "variable_set_stmt" or (statement.kind == "comment_stmt" and ground.lacks):
                    return  # a setting of a newer server, or a comment on an extension that is not there
                raise _broken(ground, statement, label, error) from None
            ground.provide([missing[1]])
        except _HARMLESS:
            return
        except psycopg.Error as error:
            raise _broken(ground, statement, label, error) from None
        else:
            return


def _broken(ground: Ground, statement: ddl.Statement, label: str, error: psycopg.Error) -> UsageError:
    why = " ".join((error.diag.message_primary or str(error)).split())
    lacks = lacking.because(error, ground.lacks)
    return UsageError(
        f"{label}:{statement.line}: the schema cannot be built",
        why=lacks or why,
        hint=_INSTALL if lacks else "give the whole schema as `pg_dump -s` writes it",
    )
