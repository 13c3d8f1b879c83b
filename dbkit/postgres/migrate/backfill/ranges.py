"""Ranges with a fixed end: where a part of a table begins and ends, and the statements that walk it.

A cursor is a list of texts (one for each key column, or one page number) as it stands in dbkit.backfill. Rows written
after the end was fixed need no visit: since expand every write fills the row itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate.backfill import text
from dbkit.postgres.migrate.backfill.tables import Key, Leaf
from dbkit.postgres.migrate.changes.spec import BackfillSpec

Cursor = tuple[str, ...]
Answer: TypeAlias = "psycopg.Cursor[TupleRow]"
SMALLEST: Final = {"key": 16, "ctid": 1}
FIRST: Final = {"key": 256, "ctid": 4}
LARGEST: Final = {"key": 100_000, "ctid": 8192}
SAMPLED_PAGES: Final = 400
"""Pages read to cut a table into slices of about the same size."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A range of a leaf: after `cur` (None = from the start) up to and including `fin`; for ctid, pages [cur, fin)."""

    leaf: Leaf
    cur: Cursor | None
    fin: Cursor | None
    """None when the leaf is empty."""

    @property
    def by(self) -> str:
        return "key" if self.leaf.key else "ctid"


def slices(connection: Connection, leaf: Leaf, count: int) -> list[Slice]:
    """The leaf as it stands now, cut into at most `count` slices."""
    if leaf.key is None:
        pages = leaf.pages
        count = max(1, min(count, pages // 64))
        cuts = [pages * n // count for n in range(count + 1)]
        return [Slice(leaf, (str(a),), (str(b),)) for a, b in pairwise(cuts)]
    fin = _end(connection, leaf, leaf.key)
    if fin is None:
        return [Slice(leaf, None, None)]
    cuts = [c for c in _cuts(connection, leaf, leaf.key, count) if c != fin] if count > 1 else []
    return [Slice(leaf, a, b) for a, b in zip([None, *cuts], [*cuts, fin], strict=True)]


def _end(connection: Connection, leaf: Leaf, key: Key) -> Cursor | None:
    query = sql.SQL("select {} from only {} order by {} limit 1").format(
        _texts(key), text.table(leaf.schema, leaf.name), _order(key, descending=True)
    )
    row = connection.execute(query).fetchone()
    return tuple(row) if row else None


def _cuts(connection: Connection, leaf: Leaf, key: Key, count: int) -> list[Cursor]:
    """Keys that cut the leaf into `count` parts, by a sample of its pages."""
    share = min(100.0, 100.0 * SAMPLED_PAGES / max(leaf.pages, 1))
    query = sql.SQL(
        "with sample as ("
        "select *, row_number() over (order by {order}) as n, count(*) over () as all_of_them "
        "from (select {columns} from only {table} tablesample system ({share})) s) "
        "select {texts} from sample where all_of_them >= {count} * 10 and n % (all_of_them / {count}) = 0 "
        "and n / (all_of_them / {count}) < {count} order by {order}"
    ).format(
        order=_order(key),
        columns=sql.SQL(", ").join(sql.Identifier(c) for c in key.columns),
        table=text.table(leaf.schema, leaf.name),
        share=sql.Literal(share),
        count=sql.Literal(count),
        texts=_texts(key),
    )
    return [tuple(row) for row in connection.execute(query).fetchall()]


def ask(connection: Connection, leaf: Leaf, cur: Cursor | None, fin: Cursor, rows: int) -> Answer | None:
    """Ask the server where the next batch ends; None for pages, where it is a matter of counting."""
    key = leaf.key
    if key is None:
        return None
    # An index-only walk; where no row is that far, the batch ends at the fixed end.
    return connection.execute(
        sql.SQL("select {} from only {} where {} order by {} offset {} limit 1").format(
            _texts(key),
            text.table(leaf.schema, leaf.name),
            sql.SQL(" and ").join(_between(key, cur, fin)),
            _order(key),
            sql.Literal(rows - 1),
        )
    )


def upto(asked: Answer | None, leaf: Leaf, cur: Cursor | None, fin: Cursor, rows: int) -> tuple[Cursor, float]:
    """The end of the next batch and how many rows it is expected to visit (0 when unknown), from what `ask` gave."""
    if asked is None:
        start, end = int(cur[0]) if cur else 0, int(fin[0])
        stop = (str(min(end, start + rows)),)
        return stop, expected(leaf, cur, stop)
    row = asked.fetchone()
    return (tuple(row), float(rows)) if row else (fin, 0.0)


def expected(leaf: Leaf, cur: Cursor | None, stop: Cursor) -> float:
    """How many rows the pages from `cur` to `stop` hold, by what is known of the table."""
    return (int(stop[0]) - (int(cur[0]) if cur else 0)) * leaf.tuples / max(leaf.pages, 1)


def update(spec: BackfillSpec, leaf: Leaf, cur: Cursor | None, stop: Cursor, share: int = 1) -> sql.Composed:
    """The statement of one batch. With a `share` about one in so many of the rows, spread over all the pages."""
    some = sql.SQL(" and mod(pg_catalog.hashtid(ctid), {}) = 0").format(sql.Literal(share))
    return sql.SQL("update {} only {} set {} where {}{} and ({})").format(
        text.raw(text.MARK),
        text.table(leaf.schema, leaf.name),
        text.raw(spec.assignments),
        sql.SQL(" and ").join(within(leaf, cur, stop)),
        some if share > 1 else sql.SQL(""),
        text.raw(spec.pending),
    )


def within(leaf: Leaf, cur: Cursor | None, stop: Cursor) -> list[sql.Composable]:
    """Conditions that a row lies after `cur` and up to `stop`."""
    if leaf.key is not None:
        return _between(leaf.key, cur, stop)
    return [
        sql.SQL("ctid >= ({})::tid").format(sql.Literal(f"({cur[0] if cur else 0},0)")),
        sql.SQL("ctid < ({})::tid").format(sql.Literal(f"({stop[0]},0)")),
    ]


def _between(key: Key, cur: Cursor | None, stop: Cursor) -> list[sql.Composable]:
    columns = _row([sql.Identifier(c) for c in key.columns])
    low = [sql.SQL("{} > {}").format(columns, _values(key, cur))] if cur is not None else []
    return [*low, sql.SQL("{} <= {}").format(columns, _values(key, stop))]


def _values(key: Key, values: Sequence[str]) -> sql.Composable:
    typed = zip(values, key.types, strict=True)
    return _row([sql.SQL("{}::{}").format(sql.Literal(value), text.raw(type)) for value, type in typed])


def _row(parts: Sequence[sql.Composable]) -> sql.Composable:
    return parts[0] if len(parts) == 1 else sql.SQL("({})").format(sql.SQL(", ").join(parts))


def _texts(key: Key) -> sql.Composable:
    """The key as text, under names of its own: `order by` would take a text of the column's name for the column."""
    form = "{}::text as {}"
    return sql.SQL(", ").join(
        sql.SQL(form).format(sql.Identifier(c), sql.Identifier(f"dbkit key {n}")) for n, c in enumerate(key.columns)
    )


def _order(key: Key, *, descending: bool = False) -> sql.Composable:
    direction = sql.SQL(" desc" if descending else "")
    return sql.SQL(", ").join(sql.Identifier(c) + direction for c in key.columns)
