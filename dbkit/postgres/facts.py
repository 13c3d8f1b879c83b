"""A server as those meet it who connect through a pooler: limits, timeouts, and what its clients were seen to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import psycopg
from psycopg import conninfo, sql

from dbkit import assets
from dbkit.capacity import OwnTimeout, ServerFacts, SessionUse
from dbkit.postgres.conf.reader import ConfFile
from dbkit.postgres.connect import Connection, connect, explain, fetch, parse
from dbkit.secrets import redact
from dbkit.settings import Target
from dbkit.sizes import parse_seconds

_TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
_RESERVES = ("superuser_reserved_connections", "reserved_connections")


def of_server(target: Target, *, only: bool) -> ServerFacts:
    """Ask a server. `only` says that it is the pooler's single server, by whatever name the pooler calls it."""
    with connect(target, purpose="audit") as connection:
        try:
            row = fetch(connection, assets.query("postgres/connection_limits"))[0]
            uses, blind = _session_uses(connection, row["statements_schema"], sees_all=row["reads_all_stats"])
            if row["track"] == "none":
                uses, blind = None, "pg_stat_statements.track is none: it counts nothing"
            elif row["track_utility"] == "off":
                uses, blind = None, "pg_stat_statements.track_utility is off, which hides SET, LISTEN and PREPARE"
        except psycopg.Error as error:
            raise explain(error, f"cannot read the limits of {target.name}") from None
    timeouts: Mapping[str, float | None] = row["timeouts"] or {}
    return ServerFacts(
        name=target.name,
        addresses=() if only else addresses(target),
        max_connections=row["max_connections"],
        reserved=row["reserved"],
        timeouts={name: seconds for name, seconds in timeouts.items() if seconds is not None},
        hidden_timeouts=frozenset(name for name, seconds in timeouts.items() if seconds is None),
        own_timeouts=tuple(_own_timeouts(row["own_timeouts"] or ())),
        in_use=row["in_use"],
        session_uses=uses,
        blind=blind,
        major=row["major"],
    )


def of_conf(conf: ConfFile) -> ServerFacts:
    """What a server would offer that runs with a postgresql.conf; every pooler entry is taken to lead to such a one."""
    return ServerFacts(
        name=conf.path,
        addresses=(),
        max_connections=int(conf.value("max_connections") or 100),
        reserved=sum(int(conf.value(name) or 0) for name in _RESERVES),
        timeouts={name: float(value) / 1000 for name in _TIMEOUTS if (value := conf.value(name)) is not None},
        blind="a file does not tell what the application does: name a live target",
        major=conf.major,
    )


def _session_uses(
    connection: Connection, schema: str | None, *, sees_all: bool
) -> tuple[tuple[SessionUse, ...] | None, str]:
    if schema is None:
        return None, "pg_stat_statements is not installed in this database: create extension pg_stat_statements"
    if not sees_all:
        return None, "other roles' statements are hidden: grant pg_read_all_stats to the auditor"
    try:
        connection.execute(sql.SQL("set /* dbkit */ search_path = pg_catalog, {}").format(sql.Identifier(schema)))
        rows = fetch(connection, assets.query("postgres/session_statements"))
    except psycopg.errors.ObjectNotInPrerequisiteState:
        return None, "pg_stat_statements is not in shared_preload_libraries"
    finally:
        connection.execute("set /* dbkit */ search_path = pg_catalog")
    uses = (
        SessionUse(r["feature"], redact(r["example"]), r["calls"], r["database"], r["setting"] or "", tuple(r["roles"]))
        for r in rows
    )
    return tuple(uses), ""


def _own_timeouts(rows: Sequence[Mapping[str, str]]) -> Iterator[OwnTimeout]:
    for row in rows:
        name, _, value = row["setting"].partition("=")
        try:
            seconds = float(value) / 1000 if value.strip().isdigit() else parse_seconds(value)
        except ValueError:
            continue  # what the server took and we cannot read, such as 1.5e3, is not held against anything
        yield OwnTimeout(row["of"], name, seconds)


def addresses(target: Target) -> tuple[tuple[str, int], ...]:
    """Host and port of a target's address; several when it names several hosts."""
    given = conninfo.conninfo_to_dict(parse(target.dsn()))
    hosts = re.split(",", str(given.get("host") or given.get("hostaddr") or ""))
    ports = re.split(",", str(given.get("port") or "5432"))
    return tuple((host, int(ports[min(n, len(ports) - 1)] or 5432)) for n, host in enumerate(hosts))
