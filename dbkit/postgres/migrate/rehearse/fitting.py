"""Chooses an expression for every column of a table: the server itself says whether the checks accept its values."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString, cast

import psycopg

from dbkit.errors import UsageError
from dbkit.postgres import ddl
from dbkit.postgres.migrate.names import quote
from dbkit.postgres.migrate.rehearse import hints
from dbkit.postgres.migrate.rehearse.candidates import candidates
from dbkit.postgres.migrate.rehearse.shape import Column, Shape

SAMPLE: Final = 60
"""Row numbers on which an expression is tried."""
_RICH: Final = frozenset("int4 int8 numeric text varchar uuid citext".split())
"""Types with a value for every row."""
_ENOUGH: Final = 0.98
"""Share of sample rows that pass at which the search ends."""
COMBINATIONS: Final = 800
"""How many combinations of expressions are tried for checks that tie several columns."""


@dataclass(slots=True)
class Fit:
    """Expressions by column, the share of sample rows that pass every check, and the checks themselves."""

    expressions: dict[str, str]
    share: float = 1.0
    checks: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Fitter:
    """Finds expressions for one table. `fixed` holds those of foreign keys, which are not to be changed."""

    connection: psycopg.Connection
    shape: Shape
    rows: int
    fixed: dict[str, str]

    def fit(self) -> Fit:
        """The best expressions found; wishes are met where that takes nothing from the real checks."""
        # A wish may be about a column that is only going to be added.
        wishes = [wish for wish in self.shape.wishes if _reads(wish, self.shape.columns)]
        wished = self._fit([*self.shape.checks, *wishes]) if wishes else None
        if wished is not None and wished.share > 0.5:
            return wished
        return self._fit(self.shape.checks)

    def _fit(self, checks: list[str]) -> Fit:
        columns = [c for c in self.shape.columns if not c.generated]
        reads = {check: _reads(check, self.shape.columns) for check in checks}
        chosen: dict[str, list[str]] = {}
        for column in columns:
            if column.name in self.fixed:
                chosen[column.name] = [self.fixed[column.name]]
                continue
            own = [c for c, names in reads.items() if names == frozenset((column.name,))]
            near = [c for c, names in reads.items() if column.name in names]
            chosen[column.name] = self._alone(column, own, hints.of(near), free=not near)
        expressions = {name: found[0] for name, found in chosen.items()}
        share = 1.0
        for names, tied in _groups(reads):
            wanted = sorted(names & chosen.keys())
            picked, passed = self._together(wanted, tied, chosen, expressions)
            if passed <= _ENOUGH and len(wanted) > 1:  # perhaps only some of them may hold a value
                emptied = {n: _null_early(chosen[n]) for n in wanted}
                again, more = self._together(wanted, tied, emptied, expressions)
                picked, passed = (again, more) if more > passed else (picked, passed)
            expressions.update(picked)
            share = min(share, passed)
        return Fit(expressions, share, checks)

    def _carriers(self) -> set[str]:
        """Of each unique key, the column whose values shall all differ: one with many values, not a foreign key's."""
        found: set[str] = set()
        for key in self.shape.unique:
            free = [self.shape.column(n) for n in key if n not in self.fixed]
            rich = [c for c in free if c.base in _RICH] or free
            found.update(c.name for c in rich[:1])
        return found

    def _alone(self, column: Column, checks: list[str], known: hints.Hints, *, free: bool) -> list[str]:
        """The expressions that fit one column, the best first; never empty."""
        unique = column.name in self._carriers()
        ranked: list[tuple[float, int, str]] = []
        offered = candidates(column, known, self.rows)
        for position, expression in enumerate(offered):
            result = self.attempt({column.name: expression}, checks, [column.name] if unique else ())
            if result is None:
                continue
            passed, distinct = result
            score = passed * distinct if unique else passed
            ranked.append((-round(score, 2), position, expression))
            if free and passed == 1.0 and distinct > 0.9:
                break  # the first that works is the likeliest
        if ranked:
            # Passing counts most; the rest stays in the order offered. Those that never pass alone go last.
            return [x[2] for x in sorted(ranked)]
        return [offered[-1] if offered else f"null::{column.type}"]

    def _together(
        self, names: list[str], checks: list[str], chosen: dict[str, list[str]], expressions: dict[str, str]
    ) -> tuple[dict[str, str], float]:
        """The first combination that passes the checks which tie columns, or the best one seen."""
        best: tuple[float, dict[str, str]] = (-1.0, {})
        share = 0.0
        others = {n: expressions[n] for n in expressions if n not in names}
        unique = [n for n in names if n in self._carriers()]
        for combination in itertools.islice(_in_order([chosen[n] for n in names]), COMBINATIONS):
            picked = dict(zip(names, combination, strict=True))
            result = self.attempt({**others, **picked}, checks, unique)
            if result is None:
                continue
            passed, distinct = result
            score = passed * distinct
            if score > best[0]:
                best, share = (score, picked), passed
            if score > _ENOUGH or (len(names) == 1 and share):
                break  # of a column alone, the first is the best already
        return best[1], share

    def attempt(
        self, expressions: dict[str, str], checks: Iterable[str], distinct: Sequence[str] = ()
    ) -> tuple[float, float] | None:
        """The shares of sample rows that pass, and that differ in some columns; None when the server refuses."""
        condition = " and ".join(f"(({check}) is not false)" for check in checks) or "true"
        key = ", ".join(f"s.{quote(name)}" for name in distinct)
        # num_nonnulls makes the server compute every expression: one that nobody reads would be left out.
        every = ", ".join(f"s.{quote(name)}" for name in expressions)
        counted = f"count(distinct row({key})::text)" if distinct else "count(*)"
        # A spread over all row numbers, so that a lucky beginning does not count.
        step = max(self.rows // SAMPLE, 1)
        numbers = f"generate_series(1, {max(self.rows, 1)}, {step})"
        query = (
            f"select count(*) filter (where {condition}), count(*), {counted}, sum(num_nonnulls({every}))"
            f" from {source(self.shape, expressions, numbers)} as s"
        )
        try:
            row = self.connection.execute(cast(LiteralString, query)).fetchone()
        except psycopg.Error:
            return None
        passed, count, different = cast("tuple[int, int, int, int]", row)[:3]
        return (passed / count, different / count) if count else None


def source(shape: Shape, expressions: dict[str, str], numbers: str) -> str:
    """A subquery with a column for each expression, and generated columns computed from them."""
    listed = ", ".join(f"{text} as {quote(name)}" for name, text in expressions.items())
    inner = f"(select {listed or 'i'} from {numbers} as i)"
    made = [
        c for c in shape.columns if c.generated and c.default and _named(c.default, shape.columns) <= expressions.keys()
    ]
    if made:
        more = ", ".join(f"({c.default})::{c.type} as {c.sql}" for c in made)
        inner = f"(select g.*, {more} from {inner} as g)"
    return inner


def _reads(check: str, columns: list[Column]) -> frozenset[str]:
    """The columns a check reads, through generated ones to those they are made of."""
    found: set[str] = set()
    for name in _named(check, columns):
        column = next(c for c in columns if c.name == name)
        found |= _named(column.default, columns) if column.generated and column.default else {name}
    return frozenset(found)


def _named(expression: str, columns: list[Column]) -> set[str]:
    """The columns an expression names; all of them when the grammar cannot say."""
    names = {c.name for c in columns}
    try:
        statement = ddl.parse(f"select {expression}")[0]
    except UsageError:
        return names
    found: set[str] = set()
    for message in ddl.walk(statement.node):
        if type(message).__name__ == "ColumnRef":
            last = cast(Any, message).fields[-1]
            if last.WhichOneof("node") != "string":
                return names
            found.add(last.string.sval)
    return found & names


def _groups(reads: dict[str, frozenset[str]]) -> Iterator[tuple[set[str], list[str]]]:
    """Checks that hang together because they read a common column, with the columns; single-column checks included."""
    groups: list[tuple[set[str], list[str]]] = []
    for check, names in reads.items():
        joined = [g for g in groups if g[0] & names]
        merged = (set(names).union(*(g[0] for g in joined)), [*(c for g in joined for c in g[1]), check])
        groups = [g for g in groups if g not in joined]
        groups.append(merged)
    yield from (g for g in groups if g[0])


def _null_early(found: list[str]) -> list[str]:
    """The expressions with NULL right behind the first."""
    nulls = [text for text in found[1:] if text.startswith("null::")]
    return [*found[:1], *nulls, *(text for text in found[1:] if text not in nulls)]


def _in_order(lists: list[list[str]]) -> Iterator[tuple[str, ...]]:
    """Combinations with the first choices first: by the sum of positions, not column by column."""
    most = sum(len(found) - 1 for found in lists)
    for total in range(most + 1):
        yield from _with_sum(lists, total)


def _with_sum(lists: list[list[str]], total: int) -> Iterator[tuple[str, ...]]:
    if not lists:
        if total == 0:
            yield ()
        return
    first, rest = lists[0], lists[1:]
    for position in range(min(total, len(first) - 1) + 1):
        for tail in _with_sum(rest, total - position):
            yield (first[position], *tail)
