"""Questions about an expression that only the server can answer; everything is rolled back."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

from dbkit.errors import UsageError
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.changes import words
from dbkit.postgres.migrate.changes.facts import Table


class _Undo(Exception):
    """Ends the transaction of a look."""


def immutable(connection: Connection, table: Table, expression: str) -> bool:
    """Whether an expression over a table's columns gives the same for ever: an index on an empty copy would take it.

    Raises UsageError when the server does not take the expression at all.
    """
    try:
        with connection.transaction():
            connection.execute("set local search_path to default")
            copy = sql.SQL("create temporary table dbkit_look (like {})").format(
                sql.Identifier(table.schema, table.name)
            )
            connection.execute(copy)
            index = sql.SQL("create index on dbkit_look (({}))").format(words.trusted(expression))
            connection.execute(index)
            raise _Undo
    except _Undo:
        return True
    except psycopg.errors.InvalidObjectDefinition:
        return False
    except psycopg.errors.UndefinedObject as error:
        if "operator class" in str(error):  # a type without btree order, such as json: judged by its functions alone
            return True
        raise UsageError(f"the server does not take {expression}", why=error.diag.message_primary) from None
    except psycopg.Error as error:
        raise UsageError(f"the server does not take {expression}", why=error.diag.message_primary) from None


def take_check(connection: Connection, table: Table, condition: str) -> None:
    """Raise UsageError unless the server takes a condition as a check of this table."""
    words.expression(condition, "the condition")
    try:
        with connection.transaction():
            connection.execute("set local search_path to default")
            copy = sql.SQL("create temporary table dbkit_look (like {})")
            connection.execute(copy.format(sql.Identifier(table.schema, table.name)))
            check = sql.SQL("alter table dbkit_look add check ({})").format(words.trusted(condition))
            connection.execute(check)
            raise _Undo
    except _Undo:
        return
    except psycopg.Error as error:
        raise UsageError(f"the server does not take {condition}", why=error.diag.message_primary) from None


def refused(connection: Connection, table: Table, column: str, type_: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """Which of some statements on `dbkit_look`, a copy in which a column has another type, the server refuses, and why.

    `wanted` is a name to its statement.
    """
    found: dict[str, str] = {}
    copy = sql.SQL("create temporary table dbkit_look (like {})").format(sql.Identifier(table.schema, table.name))
    change = sql.SQL("alter table dbkit_look drop column {0}, add column {0} {1}")
    try:
        with connection.transaction():
            connection.execute("set local search_path to default")
            connection.execute(copy)
            connection.execute(change.format(sql.Identifier(column), words.trusted(type_)))
            for name, statement in wanted.items():
                try:
                    with connection.transaction():
                        connection.execute(words.trusted(statement))
                except psycopg.Error as error:
                    found[name] = error.diag.message_primary or str(error)
            raise _Undo
    except _Undo:
        return found


def printed(connection: Connection, table: Table, expression: str) -> str:
    """An expression over a table's columns as the server prints it: with the casts it added, and names qualified."""
    try:
        with connection.transaction():
            connection.execute("set local search_path to default")
            copy = sql.SQL("create temporary table dbkit_look (like {})")
            connection.execute(copy.format(sql.Identifier(table.schema, table.name)))
            check = sql.SQL("alter table dbkit_look add constraint dbkit_seen check (({}) is not null)")
            connection.execute(check.format(words.trusted(expression)))
            connection.execute("set local search_path = pg_catalog, pg_temp")
            row = connection.execute(
                "select pg_catalog.pg_get_constraintdef(oid) from pg_catalog.pg_constraint where conname = 'dbkit_seen'"
            ).fetchone()
            raise _Printed(str(row[0]) if row else "")
    except _Printed as seen:
        return seen.text.removeprefix("CHECK ((").removesuffix(" IS NOT NULL))")
    except psycopg.Error as error:
        raise UsageError(f"the server does not take {expression}", why=error.diag.message_primary) from None


def generated(
    connection: Connection, table: Table, column: str, type_: str, expression: str, how: str
) -> tuple[str, str]:
    """The expression as the server writes it, every name qualified, and why it may not generate a column (or nothing).

    Raises UsageError when it is no expression over this table's columns.
    """
    name = sql.Identifier(column)
    copy = sql.SQL("create temporary table dbkit_look (like {} including generated)")
    add = sql.SQL("alter table dbkit_look add column {} {} generated always as ({}) {}")
    check = sql.SQL("alter table dbkit_look add check ({} is not distinct from ({}))")
    query = (
        "select pg_get_expr(d.adbin, d.adrelid) as written from pg_attrdef d join pg_attribute a "
        "on (a.attrelid, a.attnum) = (d.adrelid, d.adnum) where d.adrelid = 'pg_temp.dbkit_look'::regclass "
        "and a.attname = %s"
    )
    written = ""
    try:
        with connection.transaction():
            connection.execute("set local search_path to default")
            connection.execute(copy.format(sql.Identifier(table.schema, table.name)))
            value = words.trusted(expression)
            connection.execute(add.format(name, words.trusted(type_), value, words.trusted(how)))
            connection.execute(check.format(name, value))
            connection.execute("set local search_path = pg_catalog")
            written = str(fetch(connection, query, [column])[0]["written"])
            raise _Undo
    except _Undo:
        return written, ""
    except (psycopg.errors.InvalidObjectDefinition, psycopg.errors.FeatureNotSupported) as error:
        return "", error.diag.message_primary or str(error)
    except psycopg.Error as error:
        raise UsageError(f"the server does not take {expression}", why=error.diag.message_primary) from None


class _Printed(Exception):
    """Ends the transaction of a look that has a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


def type_of(connection: Connection, table: Table, expression: str) -> str:
    """The type of an expression over a table's columns, as the server prints it."""
    query = sql.SQL("select {} as value from {} limit 0").format(
        words.trusted(expression), sql.Identifier(table.schema, table.name)
    )
    try:
        with connection.transaction():
            connection.execute("set local search_path to default")
            result = connection.execute(query).pgresult
            found = (result.ftype(0), result.fmod(0)) if result else (0, -1)
    except psycopg.Error as error:
        raise UsageError(f"the server does not take {expression}", why=error.diag.message_primary) from None
    row = connection.execute("select pg_catalog.format_type(%s, %s)", found).fetchone()
    return str(row[0]) if row else "text"


def exists(connection: Connection, name: str) -> bool:
    """Whether a relation of that qualified name is there."""
    row = connection.execute("select pg_catalog.to_regclass(%s) is not null", [name]).fetchone()
    return bool(row and row[0])


def exists_as_written(connection: Connection, name: str) -> bool:
    """Whether a relation is found under a name as a user writes it, on the role's own search_path."""
    with connection.transaction():
        connection.execute("set local search_path to default")
        try:
            return exists(connection, name)
        except psycopg.Error:  # not even a name, such as one of too many parts
            return False


def volatile(connection: Connection, expression: str) -> bool:
    """Whether a default differs from row to row: the server would rewrite a table for it."""
    words.expression(expression, "--default")
    try:
        with connection.transaction():
            connection.execute("set local search_path to default")
            connection.execute("create temporary table dbkit_look (a int)")
            before = connection.execute("select pg_catalog.pg_relation_filenode('dbkit_look')").fetchone()
            add = sql.SQL("alter table dbkit_look add column b text default ({})::text").format(
                words.trusted(expression)
            )
            connection.execute(add)
            after = connection.execute("select pg_catalog.pg_relation_filenode('dbkit_look')").fetchone()
            raise _Seen(before != after)
    except _Seen as seen:
        return seen.answer
    except psycopg.Error as error:
        raise UsageError(f"the server does not take {expression}", why=error.diag.message_primary) from None


class _Seen(Exception):
    """Ends the transaction of a look that has an answer."""

    def __init__(self, answer: bool) -> None:
        super().__init__()
        self.answer = answer
