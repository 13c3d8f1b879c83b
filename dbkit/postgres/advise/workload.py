"""The statements advice is given for: what pg_stat_statements has counted, or a file of SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow

from dbkit import assets
from dbkit.errors import Unreachable, UsageError
from dbkit.postgres import ddl
from dbkit.postgres.advise.facts import Facts, path_sql
from dbkit.postgres.advise.statement import Statement, Unread, parse
from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import Connection, explain, fetch

EXTENSION: Final = "pg_stat_statements"
_SYSTEM: Final = ("pg_catalog", "information_schema", "dbkit")


@dataclass(frozen=True, slots=True)
class Workload:
    """Statements by weight, what could not be read, and what they are a part of."""

    source: str
    """In words."""
    statements: tuple[Statement, ...]
    unread: tuple[Unread, ...] = ()
    hidden: int = 0
    """Statements of other roles whose text this role may not see."""
    hidden_ms: float = 0.0
    total_ms: float | None = None
    """Of all statements counted in this database, those left out included; None for a file."""
    seconds: float = 0.0
    """Since when they are counted; 0 for a file."""
    rest: int = 0
    """Queries left out by the limits of the run."""
    notes: tuple[str, ...] = field(default=())


def from_text(text: str, label: str) -> Workload:
    """The workload of a text. Raises UsageError when not one statement of it can be read."""
    read = list(parse(text, label=label))
    statements = _merged(s for s in read if isinstance(s, Statement) and not _on_catalog(s.text))
    unread = tuple(s for s in read if isinstance(s, Unread))
    if not statements:
        why = f"{unread[0].where}: {unread[0].reason}" if unread else "there is no SELECT, INSERT, UPDATE or DELETE"
        raise UsageError(
            f"{label} holds no statement to advise on", why=why, hint="end each statement with a semicolon"
        )
    return Workload(label, statements, unread)


def from_statistics(connection: Connection, facts: Facts, *, top: int, min_calls: int) -> Workload:
    """The statements by total time. Raises UsageError without the extension, Unreachable without the rights."""
    rows, seconds = _rows(connection, facts)
    hidden = [row for row in rows if row["text"] is None]
    seen = [row for row in rows if row["text"] is not None]
    found: dict[str, Statement] = {}
    unread: list[Unread] = []
    rest = 0
    for row in seen:
        if row["calls"] < min_calls:
            continue
        for read in parse(row["text"]):
            if isinstance(read, Unread):
                if _on_tables(row["text"]):
                    unread.append(replace(read, text=row["text"], calls=row["calls"], total_ms=row["total_ms"]))
                break
            if _on_catalog(read.text):
                continue
            made = replace(read, calls=row["calls"], total_ms=row["total_ms"], rows=row["rows"])
            held = found.get(made.fingerprint)
            if held is None and len(found) >= top:
                rest += 1
                continue
            found[made.fingerprint] = held.merged(made) if held else made
    if hidden and not found:
        raise Unreachable(
            "the statements of other roles are hidden",
            why=f"{len(hidden)} statements are counted whose text this role may not see, and none is its own",
            hint=f"grant pg_read_all_stats to {quote(facts.server.user)}",
        )
    return Workload(
        f"{EXTENSION} of {facts.server.database}",
        tuple(found.values()),
        tuple(unread[:top]),
        hidden=len(hidden),
        hidden_ms=sum(row["total_ms"] for row in hidden),
        total_ms=sum(row["total_ms"] for row in rows),
        seconds=seconds,
        rest=rest,
    )


def _rows(connection: Connection, facts: Facts) -> tuple[list[DictRow], float]:
    """What is counted, and for how many seconds."""
    what = f"{EXTENSION} is not there to be read in database {facts.server.database}"
    offer = "or give the statements yourself: --sql FILE"
    if EXTENSION not in facts.extensions:
        raise UsageError(
            what,
            why="the extension is not installed in this database",
            hint=f"shared_preload_libraries = '{EXTENSION}' (restart), then: create extension {EXTENSION}; {offer}",
        )
    try:
        path = path_sql((facts.extensions[EXTENSION][0], "pg_catalog"))
        with connection.transaction():
            connection.execute("select /* dbkit */ set_config('search_path', %s, true)", [path])
            connection.execute("set local statement_timeout = '60s'")
            rows = fetch(connection, assets.query("postgres/statements"))
            return rows, fetch(connection, assets.query("postgres/statements_since"))[0]["seconds"]
    except psycopg.errors.ObjectNotInPrerequisiteState as error:
        raise UsageError(
            what,
            why=error.diag.message_primary or "its library is not loaded",
            hint=f"shared_preload_libraries = '{EXTENSION}' and a restart of the server; {offer}",
        ) from None
    except psycopg.Error as error:
        raise explain(error, f"cannot read {EXTENSION}") from None


def _merged(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    found: dict[str, Statement] = {}
    for made in statements:
        key = f"{made.fingerprint} {made.text}"
        found[key] = found[key].merged(made) if key in found else made
    return tuple(found.values())


def _tables(text: str) -> Iterator[tuple[str, str]]:
    """Schema and name of what a text reads and writes; what it defines itself by WITH is left out."""
    for statement in ddl.parse_loosely(text)[0]:
        held: list[Any] = list(ddl.walk(statement.node))
        own = {m.ctename for m in held if m.DESCRIPTOR.name == "CommonTableExpr"}
        ranges = [m for m in held if m.DESCRIPTOR.name == "RangeVar"]
        yield from ((r.schemaname, r.relname) for r in ranges if r.schemaname or r.relname not in own)


def _on_catalog(text: str) -> bool:
    """Whether a statement reads nothing but catalogues and statistics, or no table at all."""
    return all(schema in _SYSTEM or (not schema and name.startswith("pg_")) for schema, name in _tables(text))


def _on_tables(text: str) -> bool:
    """Whether a text that cannot be parsed looks like a query."""
    return text.lstrip().lower().startswith(("select", "with", "insert", "update", "delete", "merge"))
