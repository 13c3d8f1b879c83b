"""Counts the rows that are still to be filled, chunk by chunk, and shows a few: no snapshot is held for long."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final

from psycopg import sql

from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.backfill import text
from dbkit.postgres.migrate.backfill.tables import Leaf, Table
from dbkit.postgres.migrate.changes.spec import BackfillSpec

CHUNK: Final = 8192
"""Pages of one query: 64 MB."""
SHOWN: Final = 5
WIDEST: Final = 60


@dataclass
class Survey:
    """What was counted so far; `sample` names a few differing rows, each with what it holds and what it should hold."""

    pages: int = 0
    total: int = 0
    rows: int = 0
    differing: int = 0
    sample: list[str] = field(default_factory=list[str])


def survey(
    connection: Connection, spec: BackfillSpec, table: Table, *, condition: str = ""
) -> Generator[Survey, None, Survey]:
    """Count over all leaves the rows that are pending (or meet another condition); yields after each chunk.

    The session must have row_security off and no short timeout.
    """
    found = Survey(total=sum(leaf.pages for leaf in table.leaves))
    for leaf in table.leaves:
        for start in range(0, leaf.pages, CHUNK):
            stop = min(leaf.pages, start + CHUNK)
            _chunk(connection, spec, condition or spec.pending, leaf, start, stop, found)
            found.pages += stop - start
            yield found
    return found


def _chunk(
    connection: Connection, spec: BackfillSpec, condition: str, leaf: Leaf, start: int, stop: int, found: Survey
) -> None:
    where = sql.SQL("ctid >= ({})::tid and ctid < ({})::tid").format(
        sql.Literal(f"({start},0)"), sql.Literal(f"({stop},0)")
    )
    query = sql.SQL("select {} count(*), count(*) filter (where {}) from only {} where {}").format(
        text.raw(text.MARK), text.raw(condition), text.table(leaf.schema, leaf.name), where
    )
    row = connection.execute(query).fetchone()
    rows, differing = (int(row[0]), int(row[1])) if row else (0, 0)
    found.rows += rows
    found.differing += differing
    if differing and len(found.sample) < SHOWN:
        found.sample += _sample(connection, spec, condition, leaf, where, SHOWN - len(found.sample))


def _sample(
    connection: Connection, spec: BackfillSpec, condition: str, leaf: Leaf, where: sql.Composable, limit: int
) -> list[str]:
    names = fetch(
        connection,
        "select a.attname::text as name from pg_catalog.pg_index i "
        "join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey::int2[]) "
        "where i.indrelid = %s and i.indisprimary order by a.attnum",
        [leaf.oid],
    )
    columns = [row["name"] for row in names] or ["ctid"]
    assigned = text.expressions(spec) if spec.assignments else []
    parts: list[sql.Composable] = [sql.SQL("{}::text").format(sql.Identifier(c)) for c in columns]
    for column, expression in assigned:
        parts += [
            sql.SQL("{}::text").format(sql.Identifier(column)),
            sql.SQL("({})::text").format(text.raw(expression)),
        ]
    query = sql.SQL("select {} {} from only {} where {} and ({}) limit {}").format(
        text.raw(text.MARK),
        sql.SQL(", ").join(parts),
        text.table(leaf.schema, leaf.name),
        where,
        text.raw(condition),
        sql.Literal(limit),
    )
    shown: list[str] = []
    for row in connection.execute(query).fetchall():
        key = ", ".join(f"{c} = {v}" for c, v in zip(columns, row, strict=False))
        rest = row[len(columns) :]
        pairs = [
            f"{column} is {_value(rest[2 * n])}, should be {_value(rest[2 * n + 1])}"
            for n, (column, _) in enumerate(assigned)
            if rest[2 * n] != rest[2 * n + 1]
        ]
        shown.append(f"{leaf.qualified} {key}: {'; '.join(pairs) or 'pending'}")
    return shown


def _value(value: str | None) -> str:
    if value is None:
        return "null"
    return repr(value if len(value) <= WIDEST else value[: WIDEST - 1] + "…")
