"""Fills tables with rows that satisfy their constraints, and says of which tables it could not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString, cast

import psycopg

from dbkit.postgres.migrate.names import Name, quote
from dbkit.postgres.migrate.rehearse import shape as shapes
from dbkit.postgres.migrate.rehearse.fitting import Fit, Fitter, source
from dbkit.postgres.migrate.rehearse.nulls import Wanted, sprinkle
from dbkit.postgres.migrate.rehearse.shape import Key, Shape

_MOST_TRIED: Final = 20
"""Row numbers drawn for one wanted row, where few of them pass."""


@dataclass(frozen=True, slots=True)
class Sown:
    """What came of one table: rows it holds now, rows wanted, and why there are fewer."""

    table: Name
    rows: int
    wanted: int
    reason: str = ""


@dataclass(slots=True)
class Seeder:
    """Fills the tables of one database.

    `wanted` gives the rows of a table, whose topmost partitioned parent (or itself) it is told too; `wishes` amends
    what was read of the tables.
    """

    connection: psycopg.Connection
    wanted: Callable[[Name, Name], int]
    wishes: Callable[[dict[int, Shape]], None] = lambda found: None
    nulls: Callable[[Shape, Name], Wanted] = lambda table, root: Wanted()
    """The NULLs a table shall hold, told with its topmost partitioned parent (or itself)."""
    _tables: dict[int, Shape] = field(default_factory=dict[int, Shape])
    _fits: dict[int, Fit] = field(default_factory=dict[int, Fit])
    _done: set[int] = field(default_factory=set[int])
    _late: list[Key] = field(default_factory=list[Key])

    def run(self) -> list[Sown]:
        """Fill every empty table; rows that are there already (from the history) stay and are counted."""
        # Triggers and foreign keys are off: what we insert satisfies the keys, and is checked below.
        self.connection.execute("set session_replication_role = replica")
        try:
            self._tables = shapes.read(self.connection)
            self.wishes(self._tables)
            found = [self._sow(self._tables[oid]) for oid in self._order()]
            self._mend()
            self._advance_sequences()
            broken = dict(self._orphans())
        finally:
            self.connection.execute("reset session_replication_role")
        self.connection.execute("analyze")
        return [
            Sown(s.table, 0, s.wanted, f"its rows had no match for {broken[s.table]}") if s.table in broken else s
            for s in found
        ]

    def _order(self) -> list[int]:
        """Tables with rows of their own, those referenced first; a cycle is entered anywhere."""
        leaves = {oid: s for oid, s in self._tables.items() if s.kind != "p"}
        order: list[int] = []
        entered: set[int] = set()

        def enter(oid: int) -> None:
            if oid in entered:
                return
            entered.add(oid)
            for key in leaves[oid].keys:
                for parent in self._leaves(key.parent):
                    if parent in leaves:
                        enter(parent)
            order.append(oid)

        # Hard keys first: a wished one must not turn a chain into a cycle entered at the wrong end.
        for leaf in leaves.values():
            leaf.keys.sort(key=lambda k: k.soft)
        for oid in leaves:
            enter(oid)
        return order

    def _leaves(self, oid: int) -> list[int]:
        below = [s.oid for s in self._tables.values() if s.parent == oid]
        if not below:
            return [oid]
        return [leaf for child in below for leaf in self._leaves(child)]

    def _wanted(self, table: Shape) -> int:
        return self.wanted(table.name, self._root(table))

    def _root(self, table: Shape) -> Name:
        while table.parent in self._tables:
            table = self._tables[table.parent]
        return table.name

    def _sow(self, table: Shape) -> Sown:
        wanted = self._wanted(table)
        held = self._count(table)
        if table.kind == "f":
            self._done.add(table.oid)
            return Sown(table.name, 0, 0, "it is a foreign table")
        if held or not wanted:
            self._done.add(table.oid)
            return Sown(table.name, held, held)
        fixed, reason = self._references(table)
        if reason:
            return Sown(table.name, 0, wanted, reason)
        fitter = Fitter(self.connection, table, wanted, fixed)
        fit = sprinkle(table, fitter.fit(), self.nulls(table, self._root(table)), fitter.attempt)
        self._fits[table.oid] = fit
        self._done.add(table.oid)
        try:
            self._insert(table, fit, wanted)
        except psycopg.Error as error:
            return Sown(table.name, self._count(table), wanted, " ".join(str(error).split()))
        rows = self._count(table)
        return Sown(table.name, rows, wanted, _why(rows, wanted, fit))

    def _insert(self, table: Shape, fit: Fit, wanted: int) -> None:
        names = [c for c in table.columns if not c.generated]
        numbers = (
            wanted if fit.share >= 0.999 else min(int(wanted / max(fit.share, 0.05) * 1.2) + 1, wanted * _MOST_TRIED)
        )
        where = " and ".join(f"(({check}) is not false)" for check in fit.checks)
        query = (
            f"insert into {table.name.sql} ({', '.join(c.sql for c in names)}) overriding system value"
            f" select {', '.join(c.sql for c in names)}"
            f" from {source(table, fit.expressions, f'generate_series(1, {numbers})')} as s"
            f"{f' where {where}' if where else ''} limit {wanted}"
        )
        try:
            self._run(f"{query} on conflict do nothing")
        except psycopg.errors.FeatureNotSupported:
            self._run(query)

    def _references(self, table: Shape) -> tuple[dict[str, str], str]:
        """Expressions of the columns that foreign keys tie, or why there are none."""
        fixed: dict[str, str] = {}
        for number, key in enumerate(table.keys):
            left = [c for c in key.columns if c not in fixed]
            if not left:
                continue
            if key.parent == table.oid:
                self._to_itself(table, key, fixed)
                continue
            parents = self._leaves(key.parent)
            if not all(p in self._done for p in parents):
                nullable = [c for c in left if not table.column(c).not_null]
                if nullable:
                    fixed.update({c: f"null::{table.column(c).type}" for c in nullable})
                    self._late.append(key)
                else:  # a cycle of keys that must hold: both sides count from one
                    fixed.update({c: f"i::{table.column(c).type}" for c in left})
                continue
            reason = self._draw(table, key, number, left, fixed)
            if reason:
                return fixed, reason
        return fixed, ""

    def _draw(self, table: Shape, key: Key, number: int, left: list[str], fixed: dict[str, str]) -> str:
        """Take the parent's rows in turn, through a numbered copy of its keys."""
        copy = quote(f"dbkit_keys_{table.oid}_{number}")
        parent = self._tables[key.parent].name.sql
        columns = ", ".join(map(quote, dict.fromkeys(key.parent_columns)))
        present = " and ".join(f"{quote(c)} is not null" for c in key.parent_columns)
        self._run(
            f"create temp table {copy} as select row_number() over () as dbkit_n, {columns} from"
            f" (select distinct {columns} from {parent} where {present} order by {columns}) as k"
        )
        self._run(f"create index on {copy} (dbkit_n)")
        count = self._one(f"select count(*) from {copy}")
        pairs = dict(zip(key.columns, key.parent_columns, strict=True))
        if not count:
            if key.soft:
                return ""
            if all(table.column(c).not_null for c in left):
                return f"{parent}, which it references, holds no rows"
            fixed.update({c: f"null::{table.column(c).type}" for c in left if not table.column(c).not_null})
            return ""
        tied = [f"k.{quote(pairs[c])} = {fixed[c]}" for c in key.columns if c in fixed]
        where = " and ".join(tied) if tied else f"k.dbkit_n = 1 + (i - 1) % {count}"
        for column in left:
            fixed[column] = (
                f"(select k.{quote(pairs[column])} from {copy} as k where {where} limit 1)::{table.column(column).type}"
            )
        return ""

    def _to_itself(self, table: Shape, key: Key, fixed: dict[str, str]) -> None:
        """A row may reference itself: the column counts as the one it references does."""
        for mine, theirs in zip(key.columns, key.parent_columns, strict=True):
            column, other = table.column(mine), table.column(theirs)
            if mine in fixed:
                continue
            if other.name not in fixed:
                fitted = Fitter(self.connection, table, self._wanted(table), {}).fit().expressions
                fixed[other.name] = fitted[other.name]
            fixed[mine] = (
                fixed[other.name] if column.not_null or mine == theirs else f"({fixed[other.name]})::{column.type}"
            )

    def _mend(self) -> None:
        """Give the columns that a cycle left NULL a row to point at."""
        for key in self._late:
            child, parent = self._tables[key.child], self._tables[key.parent]
            if len(key.columns) != 1 or not self._count(parent):
                continue
            mine, theirs = (quote(name) for name in (*key.columns, *key.parent_columns))
            try:
                self._run(
                    f"update {child.name.sql} set {mine} ="
                    f" (select p.{theirs} from {parent.name.sql} as p where p.{theirs} is not null limit 1)"
                    f" where {mine} is null"
                )
            except psycopg.Error:
                continue  # a unique or checked column stays NULL, which its key allows

    def _orphans(self) -> Iterable[tuple[Name, str]]:
        """Tables whose rows break a key after all; they are emptied, so that no migration stumbles over our mistake."""
        for table in self._tables.values():
            for key in table.keys:
                if key.soft or table.kind == "p":
                    continue
                pairs = zip(key.columns, key.parent_columns, strict=True)
                match = " and ".join(f"p.{quote(theirs)} = c.{quote(mine)}" for mine, theirs in pairs)
                whole = " and ".join(f"c.{quote(mine)} is not null" for mine in key.columns)
                parent = self._tables[key.parent].name.sql
                condition = f"{whole} and not exists (select from {parent} as p where {match})"
                if self._one(f"select count(*) from {table.name.sql} as c where {condition}"):
                    self._run(f"delete from {table.name.sql} as c where {condition}")
                    if not self._count(table):
                        yield table.name, f"{', '.join(key.columns)} in {self._tables[key.parent].name}"

    def _advance_sequences(self) -> None:
        """Let owned sequences go on after the highest value we wrote."""
        for table in self._tables.values():
            for column in table.columns:
                if not (column.identity or (column.default and "nextval" in column.default)):
                    continue
                self._run(
                    f"select setval(s.name, greatest((select max({column.sql})::bigint from {table.name.sql}), 1))"
                    f" from (select pg_get_serial_sequence({_text(table.name.sql)}, {_text(column.name)})) as s (name)"
                    f" where s.name is not null and exists (select from {table.name.sql})"
                )

    def _count(self, table: Shape) -> int:
        return int(self._one(f"select count(*) from {table.name.sql}")) if table.kind != "f" else 0

    def _one(self, query: str) -> Any:
        row = self.connection.execute(cast(LiteralString, query)).fetchone()
        return row[0] if row else None

    def _run(self, query: str) -> None:
        # Built from the catalogue's own names, each quoted, and from expressions of candidates.py.
        self.connection.execute(cast(LiteralString, query))


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _why(rows: int, wanted: int, fit: Fit) -> str:
    if rows >= wanted:
        return ""
    if not rows:
        return "no values were found that satisfy its checks" if fit.share < 1.0 else "its constraints accept no rows"
    return "its unique keys, exclusions or checks accept no more"
