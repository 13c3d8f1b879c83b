"""Change the type of a column: under a new name with both written side by side, or under its own name by a swap."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from dbkit.errors import UsageError
from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.changes import copies, replace, shadow, words
from dbkit.postgres.migrate.changes.design import Design, Refusals
from dbkit.postgres.migrate.changes.facts import Column, Table
from dbkit.postgres.migrate.changes.server import immutable

KIND = "change-type"


def design(
    connection: Connection, table: Table, old: str, type_: str, *, name: str | None, using: str | None,
    back: str | None, accepted: Sequence[str] = (),
) -> Design:  # fmt: skip
    """Give `old` another type. With `name` the new column keeps that name and both applications may write."""
    column = table.column(old)
    written, category = resolve(connection, type_)
    reasons = Refusals(f"the type of {table.sql}.{quote(old)} cannot be changed online", accepted)
    if written == column.type:
        raise UsageError(f"{table.sql}.{quote(old)} is {written} already")
    forward = using or f"{quote(old)}::{written}"
    _only(forward, [old], "--using")
    if not immutable(connection, table, forward):
        reasons.add(f"{forward} is not immutable: what it gives depends on settings or time (write another --using)")
    _refuse_checks(table, column, category, reasons)
    default = f"({column.default})::{written}" if column.default is not None and not column.sequence else column.default
    if name is None:
        if back:
            raise UsageError("--back has no use without --name", hint="under one name only the old column is written")
        return shadow.design(connection, table, column, written, forward, default, reasons, category=category)
    copies.refuse(table, [old], reasons)
    replace.refuse_keys(table, column, reasons)
    if table.has(name):
        reasons.add(f"{table.sql} has a column {quote(name)} already")
    backward = back or f"{quote(name)}::{column.type}"
    _only(backward, [name], "--back")
    reasons.check(hint="leave --name out: under one name the change is made by a swap, which takes keys too")
    return replace.design(
        table, column, name, kind=KIND, type_=written, forward=forward, backward=backward,
        title=f"change {table.name}.{old} to {name} {written}", default=default,
        collation=column.collation if category == "S" else None,
    )  # fmt: skip


def resolve(connection: Connection, type_: str) -> tuple[str, str]:
    """The type as the server prints it, and its category. Raises UsageError when it is none."""
    words.expression(f"null::{type_}", "the type")
    node = words.expression(f"null::{type_}", "the type")
    if node.WhichOneof("node") != "type_cast":
        raise UsageError(f"{type_} is not a type")
    query = sql.SQL("select null::{} as value").format(words.trusted(type_))
    try:
        with connection.transaction():
            connection.execute("set local search_path to default")
            cursor = connection.execute(query)
            column = cursor.pgresult
            oid, modifier = (column.ftype(0), column.fmod(0)) if column else (0, -1)
    except psycopg.Error as error:
        raise UsageError(f"{type_} is not a type here", why=error.diag.message_primary) from None
    row = fetch(
        connection,
        "select format_type(oid, %s) as name, typcategory::text as category from pg_catalog.pg_type where oid = %s",
        [modifier, oid],
    )[0]
    return row["name"], row["category"]


def _only(expression: str, allowed: Sequence[str], flag: str) -> None:
    foreign = [c for c in words.columns_in(expression, flag) if c not in allowed]
    if foreign:
        raise UsageError(f"{flag} uses {quote(foreign[0])}", why=f"it may use {', '.join(map(quote, allowed))} only")


def _refuse_checks(table: Table, column: Column, category: str, reasons: Refusals) -> None:
    if category == column.category:
        return
    for constraint in table.constraints:
        if constraint.kind == "c" and column.name in constraint.columns:
            reasons.add(
                f"the check {quote(constraint.name)} is written for {column.type}: {constraint.definition} "
                "(drop it first, and add one for the new type afterwards)"
            )
    for index in table.indexes:
        if (
            column.name in index.uses
            and not index.constraint
            and ("(" in index.definition.partition(" USING ")[2][8:-1])
        ):
            reasons.add(f"the index {quote(index.name)} holds an expression written for {column.type}: drop it first")
