"""Empty temporary copies of tables, and the wanted indexes built on them: the server's own reading of a statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString, cast

import psycopg
from psycopg import errors, sql

from dbkit.postgres import ddl
from dbkit.postgres.catalog import Index, Relation, quote
from dbkit.postgres.connect import Connection, Server
from dbkit.postgres.indexes.desired import Wanted
from dbkit.postgres.indexes.states import State


@dataclass(frozen=True, slots=True)
class Built:
    """A wanted index on the temporary copy, or why it cannot be built or compared there."""

    index: Index | None = None
    failure: State | None = None
    detail: str = ""
    hint: str = ""


def name_on_copy(position: int) -> str:
    """What the wanted index of this position is called on its table's copy."""
    return f"dbkit_wanted_{position}"


def build_all(
    connection: Connection,
    server: Server,
    wanted: Sequence[Wanted],
    tables: list[int | None],
    relations: dict[int, Relation],
) -> list[Built]:
    """Build every wanted index on an empty copy of its table. The caller's transaction is rolled back afterwards."""
    built = [Built(failure=State.NO_TABLE) for _ in wanted]
    for oid in dict.fromkeys(t for t in tables if t is not None):
        members = [n for n, t in enumerate(tables) if t == oid]
        relation = relations.get(oid)
        if relation is None or relation.kind not in ("r", "p", "m"):
            for n in members:
                built[n] = Built(failure=State.CANNOT_BUILD, detail=f"{wanted[n].table} is not a table")
            continue
        failed = _make_copy(connection, server, relation)
        for n in members:
            built[n] = failed or _build(connection, wanted[n], relation, n)
    return built


def _make_copy(connection: Connection, server: Server, relation: Relation) -> Built | None:
    """The empty copy `pg_temp.dbkit_<oid>`, or why there can be none."""
    if server.in_recovery:
        return Built(failure=State.NOT_COMPARED, detail="this is a standby: nothing can be built on it for comparison")
    statement = sql.SQL("create temp table {} (like {}) on commit drop")
    names = (sql.Identifier(f"dbkit_{relation.oid}"), sql.Identifier(relation.schema, relation.name))
    try:
        with connection.transaction():
            connection.execute(statement.format(*names))
    except errors.InsufficientPrivilege as error:
        reason = error.diag.message_primary or ""
        missing = "temporary" in reason
        grant = f"temporary on database {quote(server.database)}" if missing else f"select on {relation.qualified}"
        return Built(failure=State.NOT_COMPARED, detail=reason, hint=f"grant {grant} to {quote(server.user)}")
    except errors.LockNotAvailable:
        return Built(
            failure=State.NOT_COMPARED,
            detail=f"{relation.qualified} is locked by another session",
            hint="run again when the lock is gone",
        )
    return None


def _build(connection: Connection, wanted: Wanted, relation: Relation, position: int) -> Built:
    node = ddl.copy(wanted.node)
    node.idxname = name_on_copy(position)
    node.concurrent = False
    node.relation.schemaname, node.relation.relname = "pg_temp", f"dbkit_{relation.oid}"
    # Typed as a literal although it comes from a file: it is the author's statement, printed by the server's grammar.
    statement = sql.SQL(cast(LiteralString, ddl.deparse_node(index_stmt=node)))
    try:
        with connection.transaction():
            connection.execute(statement)
    except psycopg.Error as error:
        if isinstance(error, psycopg.OperationalError):  # a full disk says nothing of the index
            raise
        return Built(failure=State.CANNOT_BUILD, detail=error.diag.message_primary or str(error), hint=_hint(error))
    return Built()


def _hint(error: psycopg.Error) -> str:
    text = error.diag.message_primary or ""
    if isinstance(error, errors.UndefinedObject) and "gin_trgm_ops" in text:
        return (
            "create extension pg_trgm; if it is there already, its schema is off the search_path: "
            "write the operator class with its schema, such as ext.gin_trgm_ops"
        )
    if isinstance(error, errors.UndefinedObject) and text.startswith("tablespace"):
        return "create the tablespace, or leave it out: the index then goes where the table's database keeps its own"
    if isinstance(error, errors.UndefinedObject):
        return "create the extension that brings it, or write it with its schema"
    if isinstance(error, errors.InvalidObjectDefinition):
        return "an index expression may only use IMMUTABLE functions: name the text search configuration, avoid now()"
    if isinstance(error, errors.UndefinedColumn):
        return "run the migration that adds the column first"
    if isinstance(error, errors.InsufficientPrivilege):
        return "grant usage on the schema that holds the type, function or operator class"
    return error.diag.message_hint or ""
