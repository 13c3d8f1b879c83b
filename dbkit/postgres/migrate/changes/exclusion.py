"""Add an exclusion constraint, where the table is small enough to be read while everybody waits.

EXCLUDE is neither NOT VALID nor USING INDEX, on any version up to 18, and WITHOUT OVERLAPS takes over no index either:
the index is built under ACCESS EXCLUSIVE. A trigger is no substitute, since it does not see what others have not
committed yet. So the build is tried on a copy of the rows first, and what would take too long is refused.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import psycopg
from psycopg import sql

from dbkit.errors import UsageError
from dbkit.postgres import ddl
from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.indexes.failure import GUARD
from dbkit.postgres.migrate.changes import constraints, words
from dbkit.postgres.migrate.changes.design import Design, Line, shorten, transaction
from dbkit.postgres.migrate.changes.facts import Table
from dbkit.postgres.migrate.names import literal
from dbkit.sizes import format_seconds

KIND: Final = "add-exclusion"
LONGEST = 0.2
"""Seconds for which everybody may be kept from the table."""
SAMPLE = 50_000
"""Rows that are copied to try the build on."""
_MARGIN: Final = 1.5
_PATIENCE: Final = "20s"
SMALL = 256_000
"""Bytes that a table may grow to in any case."""
_ADVICE: Final = (
    "take a window for it (--accept stall, and --max-hold for expand), or make a new table that has it from the start "
    "and move the rows"
)


@dataclass(frozen=True, slots=True)
class _Wish:
    """The constraint as the grammar reads it."""

    columns: tuple[str, ...]
    named: tuple[str, ...]
    """Those of them that are elements."""
    elements: tuple[tuple[str, str], ...]
    """Expression and operator."""
    condition: str


@dataclass(frozen=True, slots=True)
class _Trial:
    """A build on a copy."""

    rows: int
    """Rows of the table, counted or (where that took too long) estimated."""
    seconds: float
    """How long the whole build takes, by what the copy took."""
    measured: bool
    """Whether the copy had all rows."""
    collide: bool = False


def design(connection: Connection, table: Table, text: str, name: str | None, accepted: Sequence[str]) -> Design:
    """Add `text`, such as `exclude using gist (room with =, during with &&)`. Raises Refused or UsageError."""
    wish = _read(text)
    for column in wish.columns:
        table.column(column)
    called = name or shorten(table.name, *(wish.named or wish.columns or ("rows",)), "excl")
    reasons = constraints.refusals(table, "an exclusion constraint", accepted)
    constraints.refuse_taken(table, called, reasons)
    if table.kind == "p":
        reasons.add(f"{table.sql} is partitioned: all partitions would be locked while one after the other is read")
    reasons.check()
    trial = _try(connection, table, wish, text)
    if trial.collide:
        reasons.add(f"rows collide already; to see them: {_collisions(table, wish)}")
    told = f"{'about ' if not trial.measured else ''}{format_seconds(trial.seconds)} for {trial.rows:,} rows"
    if trial.seconds * _MARGIN > LONGEST:
        reasons.add(
            f"it is built under ACCESS EXCLUSIVE, which takes {told}, and nobody may wait over "
            f"{format_seconds(LONGEST)}; it can neither be NOT VALID nor take over an index",
            accept="stall",
        )
    reasons.check(hint=_ADVICE if not trial.collide else "")
    drop = Line(f"alter table {table.sql} drop constraint if exists {quote(called)}")
    room = _room(connection, table, trial)
    add = Line(
        f'-- dbkit: ignore migrate.exclusion-builds-index reason="tried on a copy of the rows"\n'
        f"alter table {table.sql} add constraint {quote(called)} {text}",
        f"reads the table while all others wait: {told} when this was written",
    )
    return Design(
        id=f"{table.name}-{called}",
        kind=KIND,
        title=f"add exclusion constraint {called} to {table.name}",
        schema=table.schema,
        table=table.name,
        old=(),
        new=(),
        expand=(transaction(_guard(table, room), drop, add),),
        undo_expand=(transaction(drop),),
        story=(
            f"The index is built while nobody may read or write the table: {told} when this was written.",
            "Where it has grown much since, or takes longer than --max-hold, nothing is done.",
            "Writes that collide fail from here on (23P01): the application must not make them any more.",
        ),
    )


def _read(text: str) -> _Wish:
    what = "the constraint"
    try:
        statements = ddl.parse(f"alter table t add constraint c {text}", label=what)
    except ddl.SqlSyntaxError as error:
        raise UsageError(f"{what} is not one: {text}", why=error.what) from None
    node = statements[0].node.alter_table_stmt if len(statements) == 1 else None
    held = getattr(node.cmds[0].alter_table_cmd, "def").constraint if node is not None and len(node.cmds) == 1 else None
    if held is None or not held.exclusions:
        raise UsageError(
            f"{what} is no EXCLUDE: {text}", hint="such as 'exclude using gist (room with =, during with &&)'"
        )
    elements: list[tuple[str, str]] = []
    for pair in held.exclusions:
        element, operator = pair.list.items
        index = element.index_elem
        shown = quote(index.name) if index.name else ddl.deparse_expression(index.expr)
        parts = [part.string.sval for part in operator.list.items]
        elements.append((shown, parts[0] if len(parts) == 1 else f"operator({'.'.join(parts)})"))
    condition = ddl.deparse_expression(held.where_clause) if held.HasField("where_clause") else ""
    named = [p.list.items[0].index_elem.name for p in held.exclusions]
    referred = [cast(Any, n).fields[-1].string.sval for n in ddl.walk(held) if type(n).__name__ == "ColumnRef"]
    columns = tuple(dict.fromkeys(n for n in (*named, *referred) if n))
    return _Wish(columns, tuple(n for n in named if n), tuple(elements), condition)


def _try(connection: Connection, table: Table, wish: _Wish, text: str) -> _Trial:
    """Build it on a copy, all in a transaction that is rolled back."""
    place = sql.Identifier(table.schema, table.name)
    columns = sql.SQL(", ").join(map(sql.Identifier, wish.columns))
    copy = sql.SQL("create temporary table dbkit_look as select {} from {} limit {}")
    build = sql.SQL("alter table dbkit_look add constraint dbkit_look_excl {}").format(words.trusted(text))
    rows, took, collide = 0, 0.0, False
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("set local search_path to default")
            connection.execute(sql.SQL("set local statement_timeout = {}").format(sql.Literal(_PATIENCE)))
            made = connection.execute(copy.format(columns, place, sql.Literal(SAMPLE)))
            rows, began = made.rowcount, time.monotonic()
            try:
                connection.execute(build)
            except psycopg.errors.ExclusionViolation:
                collide = True
            took = time.monotonic() - began
    except psycopg.errors.QueryCanceled:
        return _Trial(max(rows, int(table.rows)), math.inf, measured=False)
    except psycopg.Error as error:
        gist = isinstance(error, psycopg.errors.UndefinedObject) and "operator class" in str(error)
        hint = "`create extension btree_gist` brings plain types to gist" if gist else None
        raise UsageError(f"the server does not take {text}", why=error.diag.message_primary, hint=hint) from None
    if rows < SAMPLE:
        return _Trial(rows, took, measured=True, collide=collide)
    total = _count(connection, table)
    growth = total / rows * math.log(total) / math.log(rows)
    return _Trial(total, took * growth, measured=False, collide=collide)


def _count(connection: Connection, table: Table) -> int:
    query = sql.SQL("select count(*) from {}").format(sql.Identifier(table.schema, table.name))
    try:
        with connection.transaction():
            connection.execute(sql.SQL("set local statement_timeout = {}").format(sql.Literal(_PATIENCE)))
            row = connection.execute(query).fetchone()
            return max(int(row[0]) if row else 0, SAMPLE)
    except psycopg.errors.QueryCanceled:
        return max(int(table.rows), SAMPLE * 100)


def _room(connection: Connection, table: Table, trial: _Trial) -> int:
    """Bytes up to which the table may have grown when the constraint is made."""
    query = "select pg_catalog.pg_relation_size(%s::oid) as bytes"
    now = int(fetch(connection, query, [table.oid])[0]["bytes"])
    times = 2.0
    if 0 < trial.seconds * _MARGIN < LONGEST:
        times = min(8.0, LONGEST / (trial.seconds * _MARGIN))
    return max(SMALL, int(now * max(times, 1.2)))


def _guard(table: Table, room: int) -> Line:
    body = (
        f"do $small$\nbegin\n  if pg_catalog.pg_relation_size({literal(table.sql)}::regclass) > {room} then\n"
        f"    raise exception {literal(f'{table.sql} has grown too large to be read while everybody waits')}\n"
        f"      using errcode = '{GUARD}', hint = 'write the change anew: it is tried on the rows that are there';\n"
        "  end if;\nend\n$small$"
    )
    return Line(body, f"up to {room:,} bytes")


def _collisions(table: Table, wish: _Wish) -> str:
    def both(expression: str, operator: str) -> str:
        return f"{words.qualified(expression, 'a')} {operator} {words.qualified(expression, 'b')}"

    tests = " and ".join(both(*element) for element in wish.elements)
    if wish.condition:
        tests += f" and ({words.qualified(wish.condition, 'a')}) and ({words.qualified(wish.condition, 'b')})"
    return f"select a.ctid, b.ctid from {table.sql} a join {table.sql} b on a.ctid < b.ctid and {tests}"
