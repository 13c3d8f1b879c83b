"""Connections to PostgreSQL: one place where a DSN is parsed, errors get their hint, and the session is pinned.

A session of ours has `search_path` pinned to pg_catalog, so that what the server deparses does not depend on the role's
settings, and an `application_name` that a DBA can find. A driver's own parse error shows the password, therefore it is
caught here and replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, LiteralString, TypeAlias

import psycopg
from psycopg import conninfo, errors, sql
from psycopg.rows import DictRow, TupleRow, dict_row

from dbkit.errors import DbkitError, Refused, Stopped, Unreachable, UsageError
from dbkit.secrets import redact
from dbkit.settings import Target

Connection: TypeAlias = "psycopg.Connection[TupleRow]"

PATIENCE: Final = {
    "connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
    "tcp_user_timeout": 120_000,
}  # fmt: skip
"""A build says nothing for hours: without keepalives a firewall forgets it, and a dead peer is never noticed. They do
not see one that vanished under a statement just sent: there tcp_user_timeout (ms) does, where the system has it."""
ALIVE: Final = {
    "tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3",
    "tcp_user_timeout": "120000",
}  # fmt: skip
"""The same for the server's end: by default it keeps the session, and the locks, of a host that vanished for hours."""
PRIMARY: Final = "name the primary; a DSN of all hosts with target_session_attrs=read-write finds it after a failover"
OLDEST: Final = 140000


@dataclass(frozen=True, slots=True)
class Server:
    """What a connection is connected to."""

    system: str
    database: str
    user: str
    version: int
    """As server_version_num: 150018, 180006."""
    version_text: str
    in_recovery: bool
    direct: bool
    """False when a pooler stands between: the backend that answers is not the one libpq spoke to."""
    superuser: bool
    reads_all_stats: bool
    """Whether pg_stat_activity and progress views show other roles' sessions in full."""

    @property
    def major(self) -> int:
        """15, 18."""
        return self.version // 10000


def parse(dsn: str, **extra: str | int) -> str:
    """The DSN as libpq reads it, with `extra` filled in. Raises UsageError that never shows the DSN."""
    why = "libpq rejects it"
    try:
        full = conninfo.make_conninfo(dsn, **extra)
        port = str(conninfo.conninfo_to_dict(full).get("port") or "")
        if all(p.isdecimal() and 0 < int(p) < 65536 for p in port.split(",") if p):
            return full
        why = "its port is not a number from 1 to 65535"  # in postgresql://user:password it is the password
    except psycopg.Error:
        pass
    raise UsageError(
        "the connection string cannot be read",
        why=f"{why}; it is not shown because it may hold a password",
        hint="write postgresql://user@host:5432/database, percent-encode special characters, "
        "and give the password by .pgpass or PGPASSWORD",
    )


def connect(target: Target, *, purpose: str = "", autocommit: bool = True) -> Connection:
    """Open a pinned session. `purpose` is added to application_name. Raises Unreachable with a hint that fits."""
    name = f"dbkit {purpose}".strip()
    full = parse(target.dsn(), fallback_application_name=name, application_name=name)
    given = conninfo.conninfo_to_dict(full)
    full = parse(full, **{name: value for name, value in PATIENCE.items() if name not in given})
    try:
        connection = psycopg.connect(full, autocommit=True, prepare_threshold=None)
    except psycopg.Error as error:
        raise unreachable(error, full, target.name) from None
    try:
        if _is_direct(connection):
            pin(connection)
        else:
            connection = _through_a_pooler(connection, full)
        connection.autocommit = autocommit
    except psycopg.Error as error:
        connection.close()
        raise explain(error, f"cannot prepare the session on {target.name}") from None
    return connection


def pin(connection: Connection) -> None:
    """Take role and database defaults out of play: search path, timeouts, and what the session may be ended by.

    And let the server notice within a minute or two that our host is gone.
    """
    alive = sql.SQL("; ").join(
        sql.SQL("set /* dbkit */ {} = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in ALIVE.items()
    )
    connection.execute(sql.SQL("; ").join([_pins(connection, "set"), alive]))


def _pins(connection: Connection, how: LiteralString) -> sql.Composed:
    settings: list[tuple[LiteralString, str]] = [
        ("search_path", "pg_catalog"),
        ("statement_timeout", "0"),
        ("lock_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        ("idle_session_timeout", "0"),
        ("client_min_messages", "warning"),
    ]
    if connection.info.server_version >= 170000:
        settings.append(("transaction_timeout", "0"))
    return sql.SQL("; ").join(
        sql.SQL(how) + sql.SQL(" /* dbkit */ {} = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in settings
    )


def _is_direct(connection: Connection) -> bool:
    """Asked before anything is set: the backend that answers is the one libpq spoke to."""
    row = connection.execute("select pg_catalog.pg_backend_pid()").fetchone()
    return row is not None and row[0] == connection.info.backend_pid


def _through_a_pooler(first: Connection, full: str) -> Connection:
    from dbkit.postgres.pooled import Pooled, PooledCursor

    first.close()
    connection = Pooled.connect(full, autocommit=True, prepare_threshold=None, cursor_factory=PooledCursor)
    connection.local = _pins(connection, "set local")
    return connection


def server(connection: Connection) -> Server:
    """Identity, version and rights behind a connection."""
    from dbkit import assets

    row = fetch(connection, assets.query("postgres/server"))[0]
    return Server(
        system=row["system"],
        database=row["database"],
        user=row["username"],
        version=row["version"],
        version_text=row["version_text"],
        in_recovery=row["in_recovery"],
        direct=row["backend_pid"] == connection.info.backend_pid,
        superuser=row["superuser"],
        reads_all_stats=row["reads_all_stats"],
    )


def require_supported(found: Server) -> None:
    """Raise Refused on a server older than PostgreSQL 14."""
    if found.version < OLDEST:
        raise Refused(f"PostgreSQL {found.version_text} is too old", hint="dbkit supports PostgreSQL 14 to 18")


def fetch(connection: Connection, query: LiteralString | sql.SQL | sql.Composed, params: Any = None) -> list[DictRow]:
    """All rows of a query as dictionaries."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, params).fetchall()


def unreachable(error: psycopg.Error, dsn: str, name: str) -> DbkitError:
    """The error for a failed connection attempt, with the address but never the password."""
    parts = conninfo.conninfo_to_dict(dsn)
    address = f"{parts.get('host') or 'the local socket'}:{parts.get('port') or 5432}"
    why = _reason(error)
    return Unreachable(f"cannot connect to {name} at {address}", why=why, hint=_connect_hint(why))


def explain(error: psycopg.Error, what: str, *, hint: str | None = None) -> DbkitError:
    """A DbkitError for a failed statement: the server's text with its SQLSTATE, and the hint that fits."""
    state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
    why = f"{_reason(error)}{state}"
    if isinstance(error, errors.InsufficientPrivilege):
        return Unreachable(what, why=why, hint=hint or "`dbkit doctor` lists missing rights, each with its GRANT")
    if lost(error):
        return Unreachable(what, why=why, hint=hint or "the connection was lost: run the same command again")
    if isinstance(error, errors.DiskFull):
        return Stopped(what, why=why, hint=hint or "the disk is full: free space and run the same command again")
    known = {
        "55P03": "a lock did not come free in time: `dbkit doctor` names who holds it",
        "57014": "the statement was cancelled: look for statement_timeout on the role or a person's pg_cancel_backend",
        "53300": "the server has no free connection: close some, or raise max_connections",
        "25006": "this is a standby or a read-only session: connect to the primary",
    }
    return DbkitError(what, why=why, hint=hint or known.get(error.sqlstate or ""))


def lost(error: psycopg.Error) -> bool:
    """Whether the session is gone: the connection broke, or the server ended it or is not up."""
    state = error.sqlstate or ""
    return state.startswith(("08", "57P")) or (not state and isinstance(error, psycopg.OperationalError))


def _reason(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error)
    return redact(" ".join(text.split()))


def _connect_hint(why: str) -> str:
    lowered = why.lower()
    if "password authentication failed" in lowered or "no password supplied" in lowered:
        return "check user and password: PGPASSWORD, .pgpass (mode 0600), or the variable that dsn_env names"
    if "does not exist" in lowered:
        return "check the name: `psql -l` lists databases, `\\du` roles"
    if "could not translate host name" in lowered or "name or service not known" in lowered:
        return "check the host name"
    if "pg_hba.conf" in lowered:
        return "the server refuses this user from this address: a line in pg_hba.conf must allow it"
    if "too many" in lowered or "remaining connection slots" in lowered:
        return "the server has no free connection: close some, or raise max_connections"
    return "check host and port, that the server runs, and that a firewall lets you through"
