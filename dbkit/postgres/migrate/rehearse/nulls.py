"""NULLs in seeded rows: as many as production holds, else some where a pending statement asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from dbkit.postgres import ddl
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.reading import read
from dbkit.postgres.migrate.rehearse import mentions
from dbkit.postgres.migrate.rehearse.fitting import Fit
from dbkit.postgres.migrate.rehearse.shape import Shape
from dbkit.postgres.migrate.stats import Stats

SOME: Final = 0.25
"""Share of rows without a value where statements ask for such rows and nobody knows how many production holds."""
_LOSS: Final = 0.02
"""Share of rows that may fail the table's checks for it: anything less is the sample's doing."""

Try = Callable[[dict[str, str], Iterable[str]], "tuple[float, float] | None"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of one table: the share of NULLs by column, and whether production's statistics say so."""

    shares: dict[str, float] = field(default_factory=dict[str, float])
    known: bool = False


def wanted(table: Shape, root: Name, pending: Sequence[ddl.Statement], stats: Stats | None) -> Wanted:
    """How many NULLs the nullable columns of a table shall hold."""
    nullable = {c.name for c in table.columns if not (c.not_null or c.generated or c.identity)}
    told = _told(stats, table.name, root)
    if told is not None:
        return Wanted({name: share for name, share in told.items() if name in nullable and share > 0}, known=True)
    asked: set[str] = set()
    for statement in pending:
        if any(_same(name, table.name) or _same(name, root) for name in mentions.relations(statement)):
            asked |= _asked(statement)
    return Wanted(dict.fromkeys(sorted(asked & nullable), SOME))


def unknown(tables: Iterable[Name], pending: Sequence[ddl.Statement], stats: Stats | None) -> list[str]:
    """Sentences about columns that become NOT NULL though nobody knows whether production holds NULLs in them."""
    asked = {name for statement in pending for name in _asked(statement)}
    found: dict[str, None] = {}
    for statement in pending:
        for action in read(statement):
            if not isinstance(action, a.SetNotNull) or action.column in asked:
                continue
            table = next((t for t in tables if _same(action.table, t)), None)
            if table is not None and _told(stats, table, table) is None:
                found[f"{table}.{action.column}"] = None
    return [
        f"the seeded rows hold no NULL in {column}, which becomes NOT NULL: whether production does, --stats knows"
        for column in found
    ]


def sprinkle(table: Shape, fit: Fit, wish: Wanted, attempt: Try) -> Fit:
    """The fit with NULLs put in, column by column, each only where the table's own checks accept it."""
    tied = {c for key in table.keys if len(key.columns) > 1 for c in key.columns}
    expressions, checks = dict(fit.expressions), list(fit.checks)
    for position, (name, share) in enumerate(wish.shares.items()):
        if name not in expressions or name in tied:
            continue
        changed = {**expressions, name: _some(expressions[name], table.column(name).type, share, position)}
        if wish.known:
            # What production holds is a fact: a check that pending statements add has to live with it.
            checks = [c for c in checks if c in table.checks or _passes(changed, [c], attempt, 1.0)]
        if _passes(changed, checks, attempt, fit.share):
            expressions = changed
    return replace(fit, expressions=expressions, checks=checks)


def _passes(expressions: dict[str, str], checks: list[str], attempt: Try, before: float) -> bool:
    result = attempt(expressions, checks)
    return result is not None and result[0] >= before - _LOSS


def _some(expression: str, kind: str, share: float, position: int) -> str:
    """NULL for that share of the row numbers, spread evenly and for each column differently."""
    if share > 0.9995:
        return f"null::{kind}"
    # Factors without a divisor in common with 1000 reach every remainder.
    return (
        f"case when i::bigint * {7919 + 20 * position} % 1000 < {max(round(share * 1000), 1)}"
        f" then null::{kind} else {expression} end"
    )


def _told(stats: Stats | None, table: Name, root: Name) -> dict[str, float] | None:
    for name in (table, root) if stats is not None else ():
        size = stats.of(name) if stats is not None else None
        if size is not None and size.nulls is not None:
            return size.nulls
    return None


def _same(written: Name, table: Name) -> bool:
    return written.name == table.name and written.schema in ("", table.schema)


def _asked(statement: ddl.Statement) -> set[str]:
    """Columns whose NULLs a statement is about: `c is null`, `c is not null`, `coalesce(c, ...)`."""
    found: set[str] = set()
    for message in ddl.walk(statement.node):
        kind, held = type(message).__name__, cast(Any, message)
        if kind == "NullTest":
            found |= _column(held.arg)
        elif kind == "CoalesceExpr" and held.args:
            found |= _column(held.args[0])
    return found


def _column(node: Any) -> set[str]:
    if node.WhichOneof("node") != "column_ref" or not node.column_ref.fields:
        return set()
    last = node.column_ref.fields[-1]
    return {last.string.sval} if last.WhichOneof("node") == "string" else set()
