"""A view in the place of a table: how it is made, and which statements of the application do not work through it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import sql

from dbkit import assets
from dbkit.postgres import ddl
from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.changes import rights
from dbkit.postgres.migrate.changes.design import Line, Refusals
from dbkit.postgres.migrate.changes.facts import Table
from dbkit.postgres.migrate.changes.words import trusted
from dbkit.postgres.migrate.names import literal
from dbkit.secrets import redact

STORY: Final = (
    "Through the view COPY FROM, TRUNCATE, ON CONFLICT ON CONSTRAINT, REFERENCES, WHERE CURRENT OF, ctid, "
    "pg_get_serial_sequence() and GROUP BY the key alone do not work, nor MERGE before PostgreSQL 17."
)
_PREPARED: Final = ("select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt")
_LONGEST: Final = 100
_MOST: Final = 5


class _Undo(Exception):
    """Ends the transaction of a look."""


def create(table: Table, place: str, columns: Sequence[str], also: Mapping[str, str]) -> list[Line]:
    """The view under the table's name over `place`, with the table's rights. `also` gives new columns their source."""
    whose = "" if _by_column(table) else " with (security_invoker = on)"
    why = "the rights on it are those on the table" if not whose else "with the caller's own rights and policies"
    lines = [
        Line(
            f"create view {table.sql}{whose} as\n  select {', '.join(columns)}\n  from {place}",
            f"reads and writes the same rows; {why}",
        ),
        _owner_goes_on(table, place),
    ]
    lines += rights.of_view(place, table.sql, also)
    if whose:
        lines.insert(
            0, Line(rights.nobody_by_column(place), "a view with its caller's rights is no way for such roles")
        )
    return lines


def _owner_goes_on(table: Table, place: str) -> Line:
    """The owner is looked up when it runs: it is called otherwise in another environment."""
    grant = f"grant select, insert, update, delete on {table.sql.replace('%', '%%')} to %I"
    body = (
        f"do $$\nbegin\n  execute format(\n    {literal(grant)},\n"
        "    (select pg_catalog.pg_get_userbyid(relowner) from pg_catalog.pg_class "
        f"where oid = {literal(place)}::regclass)\n  );\nend\n$$"
    )
    return Line(body, "whoever runs this owns the view; the table's owner may go on as before")


def _by_column(table: Table) -> list[str]:
    """Roles that may read some columns only: with its caller's rights a view wants all its columns to be readable."""
    whole = {g.grantee for g in table.grants if g.privilege == "select"}
    readers = {g.grantee for c in table.columns for g in c.grants if g.privilege == "select"}
    return [] if "public" in whole else sorted(readers - whole)


def refuse_table(table: Table, reasons: Refusals) -> None:
    """What keeps a view from standing in for the table at all."""
    if table.kind not in ("r", "p"):
        reasons.add(f"{table.sql} is not a table")
    if not table.owned:
        reasons.add(f"this role is not the owner {table.owner} of {table.sql}")
    elif not table.may_create:
        reasons.add(f"this role may not create in schema {quote(table.schema)}")
    if table.major < 15:
        reasons.add("before PostgreSQL 15 a view cannot run with its caller's rights")
    if table.publications:
        reasons.add(
            f"{table.sql} is published by {', '.join(table.publications)} and subscribers look for it by its name",
            accept="publication",
        )
    partial = _by_column(table)
    if partial and table.row_security:
        reasons.add(
            f"{', '.join(partial)} may read some columns of {table.sql} only, and it has row level security: a view "
            "can respect one of the two",
            accept="column-rights",
        )
    for user in table.row_type:
        reasons.add(f"{user} uses the row type of {table.sql}, which rows of a view are not", accept="row-type")


def refuse(connection: Connection, table: Table, columns: Sequence[str], reasons: Refusals) -> None:
    """Statements that pg_stat_statements has seen and that work on the table and would not work through the view."""
    found = failing(connection, table, columns)
    for query, why in found[:_MOST]:
        reasons.add(f"it does not work through a view: {query} ({why})", accept="statements")
    if len(found) > _MOST:
        reasons.add(f"nor do {len(found) - _MOST} more statements", accept="statements")


def failing(connection: Connection, table: Table, columns: Sequence[str]) -> list[tuple[str, str]]:
    """Statement and reason. The server is asked: each is prepared on an empty copy of the table, and on a view of that.

    Where pg_stat_statements is not there, or may not be read, nothing is seen and nothing found.
    """
    seen = [(query, statement) for query in _seen(connection, table) for statement in _parsed(query)]
    found = [(query, why) for query, statement in seen if (why := _by_grammar(statement, table))]
    asked = [(q, s.node) for q, s in seen if s.kind in _PREPARED and not _by_grammar(s, table)]
    if asked:
        found += _by_server(connection, table, columns, [(q, _local(node, table)) for q, node in asked])
    return [(_short(query), why) for query, why in found]


def _seen(connection: Connection, table: Table) -> list[str]:
    sight = fetch(connection, assets.query("gate/sight"))[0]
    if sight["extension"] is None:
        return []
    try:
        with connection.transaction():
            connection.execute(
                "select /* dbkit */ set_config('search_path', quote_ident(%s) || ', pg_catalog', true)",
                [sight["extension"]],
            )
            rows = fetch(connection, assets.query("gate/statements"))
    except psycopg.Error:  # not loaded, or not for this role: the gate says so later, here it is a courtesy
        return []
    word = re.compile(rf"(?<![\w$]){re.escape(table.name)}(?![\w$])", re.IGNORECASE)
    return list(dict.fromkeys(r["query"] for r in rows if r["query"] and word.search(r["query"])))


def _parsed(query: str) -> tuple[ddl.Statement, ...]:
    try:
        return ddl.parse(query)
    except ddl.SqlSyntaxError:
        return ()


def _is(node: Any, table: Table) -> bool:
    return node.relname == table.name and node.schemaname in ("", table.schema)


def _by_grammar(statement: ddl.Statement, table: Table) -> str:
    """Why a statement cannot work through a view, where its form alone says so."""
    node = getattr(statement.node, statement.kind) if statement.kind else None
    if node is None:
        return ""
    if statement.kind == "copy_stmt" and node.is_from and _is(node.relation, table):
        return "COPY FROM needs a table"
    if statement.kind == "copy_stmt" and not node.query.WhichOneof("node") and _is(node.relation, table):
        return "COPY of a view needs COPY (SELECT ...)"
    if statement.kind == "truncate_stmt" and any(_is(r.range_var, table) for r in node.relations):
        return "TRUNCATE needs a table"
    if (
        statement.kind == "insert_stmt"
        and _is(node.relation, table)
        and node.HasField("on_conflict_clause")
        and node.on_conflict_clause.infer.conname
    ):
        return "ON CONFLICT ON CONSTRAINT needs a table"
    return ""


def _local(node: Any, table: Table) -> str:
    """The statement with the table's schema turned into that of the copy."""
    copy = ddl.copy(node)
    for inner in ddl.walk(copy):
        if type(inner).__name__ == "RangeVar" and _is(inner, table):
            held: Any = inner
            if held.schemaname:
                held.schemaname = "pg_temp"
    return ddl.deparse(copy)


def _by_server(
    connection: Connection, table: Table, columns: Sequence[str], statements: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    name = sql.Identifier(table.name)
    try:
        with connection.transaction():
            connection.execute("set local search_path to default")
            copy = sql.SQL("create temporary table {} (like {} including all)")
            connection.execute(copy.format(name, sql.Identifier(table.schema, table.name)))
            fit = [(query, text) for query, text in statements if not _fails(connection, text)]
            connection.execute(sql.SQL("alter table pg_temp.{} rename to dbkit_look").format(name))
            view = sql.SQL("create temporary view {} as select {} from pg_temp.dbkit_look")
            connection.execute(view.format(name, trusted(", ".join(columns))))
            for query, text in fit:
                why = _fails(connection, text)
                if why:
                    found.append((query, why))
            raise _Undo
    except _Undo:
        return found
    except psycopg.errors.InsufficientPrivilege:  # no TEMPORARY on this database
        return []


def _fails(connection: Connection, statement: str) -> str:
    """What the server says against a statement it is to prepare; empty when it takes it."""
    try:
        with connection.transaction():
            connection.execute(sql.SQL("prepare dbkit_look as {}").format(trusted(statement)))
            connection.execute("deallocate dbkit_look")
    except psycopg.Error as error:
        return error.diag.message_primary or "the server does not take it"
    return ""


def _short(query: str) -> str:
    text = redact(" ".join(query.split()))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
