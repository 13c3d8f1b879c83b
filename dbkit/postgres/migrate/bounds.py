"""What ATTACH PARTITION has to see proved: the bounds of a partition as a condition on its key.

Follows get_qual_for_range and get_qual_for_list. A hash bound calls a function over the parent's own identity, so no
CHECK that can be written beforehand proves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

from dbkit.postgres.ddl import Node, deparse_expression
from dbkit.postgres.migrate.formulas import UNCLEAR, Atom, Both, Either, Formula, Types, key_of, value

MIN: Final = "minvalue"
MAX: Final = "maxvalue"
_Datum: TypeAlias = "Decimal | str | None"


@dataclass(frozen=True, slots=True)
class PartitionKey:
    """How a table is partitioned: `range`, `list` or `hash`, and by which columns or expressions, as text."""

    strategy: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _End:
    """MINVALUE or MAXVALUE."""

    which: str


_Edge: TypeAlias = "_End | Decimal | str | None"


def read_key(spec: Any) -> PartitionKey:
    """The PARTITION BY clause of a CREATE TABLE."""
    names = {1: "list", 2: "range", 3: "hash"}
    parts = tuple(
        p.partition_elem.name or f"({deparse_expression(p.partition_elem.expr)})"
        if p.partition_elem.name or p.partition_elem.expr.WhichOneof("node") != "column_ref"
        else key_of(p.partition_elem.expr, {})
        for p in spec.part_params
    )
    return PartitionKey(names.get(spec.strategy, ""), parts)


def condition(key: PartitionKey, bound: Any, types: Types) -> Formula:
    """What every row of a partition with this bound satisfies; UNCLEAR when it cannot be written down."""
    if bound is None or bound.is_default or bound.strategy == "h" or "" in key.parts:
        return UNCLEAR
    if bound.strategy == "l":
        return _list(key.parts[0], bound.listdatums, types)
    return _range(key.parts, bound, types)


def _list(key: str, datums: Any, types: Types) -> Formula:
    constants = [d for d in datums if not _is_null(d)]
    values = [value(d, types.get(key)) for d in constants]
    if any(v is None for v in values):
        return UNCLEAR
    among = Either(tuple(Atom(key, "=", v) for v in values))
    if len(constants) < len(datums):
        return Either((Atom(key, "null"), among))
    return Both((Atom(key, "set"), among))


def _is_null(node: Node) -> bool:
    return node.WhichOneof("node") == "a_const" and node.a_const.isnull


def _range(keys: tuple[str, ...], bound: Any, types: Types) -> Formula:
    low = [_edge(d, types.get(k)) for k, d in zip(keys, bound.lowerdatums, strict=False)]
    high = [_edge(d, types.get(k)) for k, d in zip(keys, bound.upperdatums, strict=False)]
    if len(low) != len(keys) or len(high) != len(keys) or None in low or None in high:
        return UNCLEAR
    parts: list[Formula] = [Atom(k, "set") for k in keys]
    start = 0
    while start < len(keys) - 1 and low[start] == high[start] and not isinstance(low[start], _End):
        parts.append(Atom(keys[start], "=", _constant(low[start])))
        start += 1
    parts += _side(keys[start:], low[start:], ">", MIN)
    parts += _side(keys[start:], high[start:], "<", MAX)
    return Both(tuple(parts))


def _side(keys: tuple[str, ...], edges: list[_Edge], op: str, open_end: str) -> list[Formula]:
    """The rows beyond the lower edge (`>`) or before the upper one (`<`), column by column."""
    if isinstance(edges[0], _End):
        return []
    arms: list[Formula] = []
    equal: list[Formula] = []
    for position, (key, edge) in enumerate(zip(keys, edges, strict=True)):
        following = edges[position + 1] if position + 1 < len(edges) else None
        last = position + 1 == len(edges) or isinstance(following, _End)
        includes = (
            following.which == open_end if isinstance(following, _End) else op == ">" and position + 1 == len(edges)
        )
        arms.append(_both([*equal, Atom(key, op + ("=" if includes else ""), _constant(edge))]))
        if last:
            break
        equal.append(Atom(key, "=", _constant(edge)))
    return [arms[0] if len(arms) == 1 else Either(tuple(arms))]


def _both(parts: list[Formula]) -> Formula:
    return parts[0] if len(parts) == 1 else Both(tuple(parts))


def _constant(edge: _Edge) -> _Datum:
    return None if isinstance(edge, _End) else edge


def _edge(node: Node, kind: Any) -> _Edge:
    if node.WhichOneof("node") == "column_ref":
        word = node.column_ref.fields[-1].string.sval.lower()
        return _End(word) if word in (MIN, MAX) else None
    return value(node, kind)


def words(formula: Formula) -> str:
    """The condition as SQL for a CHECK; empty when it cannot be written."""
    if isinstance(formula, Atom):
        if formula == UNCLEAR:
            return ""
        from dbkit.postgres.migrate.names import literal, quote

        key = formula.key if formula.key.startswith("(") else quote(formula.key)
        if formula.op in ("null", "set"):
            return f"{key} IS {'NOT ' if formula.op == 'set' else ''}NULL"
        held = literal(formula.value) if isinstance(formula.value, str) else str(formula.value)
        return f"{key} {formula.op} {held}"
    inner = [words(part) for part in formula.parts]
    if not all(inner):
        return ""
    return (" AND " if isinstance(formula, Both) else " OR ").join(
        f"({w})" if isinstance(p, (Either, Both)) and len(p.parts) > 1 and len(formula.parts) > 1 else w
        for p, w in zip(formula.parts, inner, strict=True)
    )
