"""The admin console: one place where its address is parsed, errors get their hint, and SHOW is read.

The console speaks the simple protocol only: no transaction, no parameters, no prepared statement.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, LiteralString

import psycopg
from psycopg import conninfo

from dbkit.errors import DbkitError, Unreachable, UsageError
from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.ini.parameters import Version
from dbkit.pgbouncer.live import Live, Row
from dbkit.secrets import redact
from dbkit.settings import Target

SHOWN: Final[tuple[LiteralString, ...]] = ("config", "databases", "pools", "users", "stats", "lists", "clients")
PATIENCE: Final = {"connect_timeout": 10}


class Console:
    """An open console."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]], version: Version) -> None:
        self._connection = connection
        self.version = version

    @property
    def user(self) -> str:
        """Who is logged in."""
        return self._connection.info.user

    @property
    def host(self) -> str:
        """Where it was reached: an address, or a folder for a Unix socket."""
        return self._connection.info.hostaddr or self._connection.info.host

    @property
    def port(self) -> int:
        """Its port."""
        return self._connection.info.port

    def look(self) -> Live:
        """Everything that the console shows to this user."""
        tables: dict[str, tuple[Row, ...]] = {}
        hidden: dict[str, str] = {}
        for what in SHOWN:
            try:
                tables[what] = _rows(self._connection, what)
            except psycopg.Error as error:
                hidden[what] = redact(str(error).strip())
        return Live(self.version, tables, hidden)

    def reload(self) -> str:
        """RELOAD; what it complained of, empty when it did not. Up to 1.24 it never does."""
        return self._run("reload")

    def set(self, key: str, value: str) -> str:
        """SET a key until the next RELOAD; what it complained of, empty when it did not."""
        quoted = value.replace("'", "''")
        return self._run(f"set {key} = '{quoted}'")

    def _run(self, command: str) -> str:
        try:
            # The console takes no parameters; key and value are the plan's, and bytes are sent as they stand.
            self._connection.execute(command.encode())
        except psycopg.Error as error:
            return redact(" ".join(str(error).split()))
        return ""


@contextmanager
def opened(target: Target) -> Generator[Console]:
    """The console of a pooler. Raises Unreachable when it cannot be asked."""
    full = _parse(target)
    try:
        connection = psycopg.connect(full, autocommit=True, prepare_threshold=None, cursor_factory=psycopg.ClientCursor)
    except psycopg.Error as error:
        raise _unreachable(error, full, target.name) from None
    with connection:
        try:
            version = parameters.version(_rows(connection, "version")[0]["version"] or "")
        except (psycopg.Error, KeyError, IndexError) as error:
            raise Unreachable(
                f"{target.name} is not a PgBouncer console",
                why=redact(str(error)),
                hint="the address must lead to the pooler's port and its database `pgbouncer`",
            ) from None
        yield Console(connection, version)


def look(target: Target) -> Live:
    """Everything that the console shows to this user. Raises Unreachable when it cannot be asked."""
    with opened(target) as console:
        return console.look()


def _rows(connection: psycopg.Connection[tuple[object, ...]], what: LiteralString) -> tuple[Row, ...]:
    # what is one of SHOWN: the console takes no parameters
    cursor = connection.execute(f"show {what}")
    names = [column.name for column in cursor.description or ()]
    return tuple(
        {name: None if value is None else str(value) for name, value in zip(names, row, strict=True)} for row in cursor
    )


def _parse(target: Target) -> str:
    """The address as libpq reads it, leading to the console. Raises UsageError that never shows it."""
    why = "libpq rejects it"
    try:
        given = conninfo.conninfo_to_dict(target.dsn().replace("pgbouncer://", "postgresql://", 1))
        port = str(given.get("port") or "")
        if not port or (port.isdecimal() and 0 < int(port) < 65536):
            held = {name: value for name, value in PATIENCE.items() if name not in given}
            return conninfo.make_conninfo("", **{**given, **held, "dbname": "pgbouncer"})
        why = "its port is not a number from 1 to 65535"  # in pgbouncer://user:password it is the password
    except psycopg.Error:
        pass
    raise UsageError(
        f"the address of {target.name} cannot be read",
        why=f"{why}; it is not shown because it may hold a password",
        hint="write pgbouncer://monitoring@host:6432, and give the password by .pgpass or PGPASSWORD",
    )


_UP: Final = "check host and port (6432), and that PgBouncer runs"
_HINTS: Final = (
    (("not allowed", "no such user"), "the user must stand in stats_users (or admin_users) of pgbouncer.ini"),
    (
        ("authentication failed", "no password"),
        "check user and password: auth_file of the pooler, PGPASSWORD, .pgpass",
    ),
    (('database "pgbouncer" does not exist',), "a PostgreSQL server answers there: name the pooler's own port (6432)"),
    (
        ("does not support ssl",),
        "the pooler has client_tls_sslmode = disable: take sslmode out of the address, or switch TLS on there",
    ),
    (("ssl required",), "the pooler takes TLS only: add ?sslmode=verify-full&sslrootcert=ca.crt to the address"),
    (
        ("root certificate", "certificate verify failed"),
        "name the certificate of whoever signed the pooler's: ?sslmode=verify-full&sslrootcert=ca.crt",
    ),
    (
        ("timeout",),
        "a console user must have a line in auth_file (auth_query does not serve the console); else check the host",
    ),
)


def _unreachable(error: psycopg.Error, full: str, name: str) -> DbkitError:
    given = conninfo.conninfo_to_dict(full)
    why = redact(" ".join(str(error).split()))
    hint = next((said for words, said in _HINTS if any(w in why.lower() for w in words)), _UP)
    address = f"{given.get('host') or 'the local socket'}:{given.get('port') or 5432}"
    return Unreachable(f"cannot reach the console of {name} at {address}", why=why, hint=hint)
