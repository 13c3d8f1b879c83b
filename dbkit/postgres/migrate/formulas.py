"""Whether a validated CHECK proves a condition: the server's own rules of inference, for plain comparisons.

Follows predicate_implied_by with weak implication (a CHECK passes on NULL, so `a > 0` does not prove `a IS NOT NULL`).
What is not understood proves nothing, which errs towards reporting.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from dbkit.postgres.ddl import Node, deparse_expression, numbers
from dbkit.postgres.migrate.types import SqlType, read_type

_BOOL: Final = numbers("BoolExprType")
_EXPR: Final = numbers("A_Expr_Kind")
_NULL: Final = numbers("NullTestType")
_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}
_NEGATED: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "<>", "<>": "=", "null": "set", "set": "null"}
_NUMERIC: Final = frozenset({"int2", "int4", "int8", "numeric", "float4", "float8", "oid"})
_STRINGS: Final = frozenset({"text", "varchar"})
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?\Z")
_DATES: Final = frozenset({"date", "timestamp", "timestamptz"})


@dataclass(frozen=True, slots=True)
class Atom:
    """One comparison of a key with a constant; `op` may also be `null` or `set` (IS NULL, IS NOT NULL)."""

    key: str
    op: str
    value: Decimal | str | None = None


@dataclass(frozen=True, slots=True)
class Both:
    """A conjunction; empty, it is always true."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """A disjunction; empty, it is never true."""

    parts: tuple[Formula, ...]


Formula: TypeAlias = "Atom | Both | Either"
Types: TypeAlias = Mapping[str, SqlType | None]
"""The types of the columns that may be compared; a missing one is not known."""
UNCLEAR: Final = Atom("", "?")
"""What is not understood: it follows from nothing, and nothing follows from it."""


def read(node: Node | None, types: Types) -> Formula:
    """An expression of the grammar as a formula."""
    if node is None:
        return UNCLEAR
    kind = node.WhichOneof("node")
    if kind == "bool_expr":
        parts = tuple(read(arg, types) for arg in node.bool_expr.args)
        if node.bool_expr.boolop == _BOOL["NOT_EXPR"]:
            return negate(parts[0])
        return Both(parts) if node.bool_expr.boolop == _BOOL["AND_EXPR"] else Either(parts)
    if kind == "null_test":
        known = node.null_test.nulltesttype == _NULL["IS_NOT_NULL"]
        return Atom(key_of(node.null_test.arg, types), "set" if known else "null")
    return _comparison(node.a_expr, types) if kind == "a_expr" else UNCLEAR


def _comparison(expr: Any, types: Types) -> Formula:
    name = expr.name[-1].string.sval if len(expr.name) else ""
    left, right = expr.lexpr, expr.rexpr
    if expr.kind == _EXPR["AEXPR_OP"] and name in _FLIPPED:
        if _is_constant(left):
            left, right, name = right, left, _FLIPPED[name]
        return _atom(key_of(left, types), name, right, types)
    key = key_of(left, types)
    if expr.kind == _EXPR["AEXPR_BETWEEN"]:
        low, high = right.list.items
        return Both((_atom(key, ">=", low, types), _atom(key, "<=", high, types)))
    if expr.kind == _EXPR["AEXPR_IN"]:
        parts = tuple(_atom(key, name, item, types) for item in right.list.items)
        return Either(parts) if name == "=" else Both(parts)
    elements = _elements(right)
    if expr.kind == _EXPR["AEXPR_OP_ANY"] and name == "=" and elements is not None:
        return Either(tuple(_atom(key, name, item, types) for item in elements))
    if expr.kind == _EXPR["AEXPR_OP_ALL"] and name == "<>" and elements is not None:
        return Both(tuple(_atom(key, name, item, types) for item in elements))
    return UNCLEAR


def _elements(node: Node) -> Iterable[Node] | None:
    """Of ARRAY[...], cast or not."""
    while node.WhichOneof("node") == "type_cast":
        node = node.type_cast.arg
    return node.a_array_expr.elements if node.WhichOneof("node") == "a_array_expr" else None


def _is_constant(node: Node) -> bool:
    while node.WhichOneof("node") == "type_cast":
        node = node.type_cast.arg
    return node.WhichOneof("node") == "a_const"


def key_of(node: Node, types: Types) -> str:
    """What is compared, as text: a column, or an expression as the deparser writes it."""
    if node.WhichOneof("node") == "type_cast" and node.type_cast.arg.WhichOneof("node") == "column_ref":
        # varchar columns are compared as text, and a dump says so
        inner = key_of(node.type_cast.arg, types)
        held = types.get(inner)
        if held is not None and {held.name, read_type(node.type_cast.type_name).name} <= _STRINGS:
            return inner
    if node.WhichOneof("node") == "column_ref":
        last = node.column_ref.fields[-1]
        return last.string.sval if last.WhichOneof("node") == "string" else ""
    return f"({deparse_expression(node)})"


def _atom(key: str, op: str, node: Node, types: Types) -> Atom:
    held = value(node, types.get(key), compared=True)
    return UNCLEAR if held is None else Atom(key, op, held)


def value(node: Node, kind: SqlType | None, *, compared: bool = False) -> Decimal | str | None:
    """A constant of a column's type; None for what is not one.

    `compared`: it stands in a comparison, where a cast to another type means another operator, which proves nothing.
    """
    while node.WhichOneof("node") == "type_cast":
        if compared and not _same_family(read_type(node.type_cast.type_name), kind):
            return None
        node = node.type_cast.arg
    if node.WhichOneof("node") != "a_const" or node.a_const.isnull:
        return None
    held = node.a_const
    which = held.WhichOneof("val")
    if which == "ival":
        return Decimal(held.ival.ival)
    if which == "fval":
        return _decimal(held.fval.fval)
    if which == "boolval":
        return str(held.boolval.boolval).lower()
    text: str = held.sval.sval
    return _decimal(text) if kind is not None and kind.name in _NUMERIC else text


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _same_family(cast: SqlType, kind: SqlType | None) -> bool:
    if kind is None or cast.array or kind.array:
        return False
    both = {cast.name, kind.name}
    return cast.name == kind.name or both <= _STRINGS or both <= {"int2", "int4", "int8"}


def never_null(formula: Formula) -> frozenset[str]:
    """Columns that hold no NULL in a row which satisfies the formula."""
    if isinstance(formula, Atom):
        return frozenset({formula.key}) if formula.op == "set" else frozenset()
    parts = [never_null(part) for part in formula.parts]
    if isinstance(formula, Both):
        return frozenset[str]().union(*parts)
    return parts[0].intersection(*parts[1:]) if parts else frozenset()


def negate(formula: Formula) -> Formula:
    """The opposite, pushed down to the comparisons as the planner does."""
    if isinstance(formula, Both):
        return Either(tuple(negate(part) for part in formula.parts))
    if isinstance(formula, Either):
        return Both(tuple(negate(part) for part in formula.parts))
    return Atom(formula.key, _NEGATED[formula.op], formula.value) if formula.op in _NEGATED else UNCLEAR


def implies(facts: Formula, goal: Formula, types: Types) -> bool:
    """Whether the server would find that `goal` follows from `facts`."""
    if isinstance(goal, Both):
        return all(implies(facts, part, types) for part in goal.parts)
    if isinstance(facts, Both):
        if any(implies(part, goal, types) for part in facts.parts):
            return True
        return isinstance(goal, Either) and any(implies(facts, part, types) for part in goal.parts)
    if isinstance(facts, Either):
        return bool(facts.parts) and all(implies(part, goal, types) for part in facts.parts)
    if isinstance(goal, Either):
        return any(implies(facts, part, types) for part in goal.parts)
    return _follows(facts, goal, types.get(goal.key))


_Test: TypeAlias = Callable[[Any, Any], bool]
_PROOFS: Final[dict[tuple[str, str], _Test]] = {
    ("<", "<"): operator.le,
    ("<", "<="): operator.le,
    ("<", "<>"): operator.le,
    ("<=", "<"): operator.lt,
    ("<=", "<="): operator.le,
    ("<=", "<>"): operator.lt,
    (">", ">"): operator.ge,
    (">", ">="): operator.ge,
    (">", "<>"): operator.ge,
    (">=", ">"): operator.gt,
    (">=", ">="): operator.ge,
    (">=", "<>"): operator.gt,
    ("=", "<"): operator.lt,
    ("=", "<="): operator.le,
    ("=", ">"): operator.gt,
    ("=", ">="): operator.ge,
    ("=", "<>"): operator.ne,
}
"""`key op1 x` proves `key op2 y` when the test of x against y holds."""


def _follows(fact: Atom, goal: Atom, kind: SqlType | None) -> bool:
    if UNCLEAR in (fact, goal) or fact.key != goal.key or not fact.key:
        return False
    if fact == goal:
        return True
    test = _PROOFS.get((fact.op, goal.op))
    mine, theirs = fact.value, goal.value
    if test is None or mine is None or theirs is None:
        return False
    if isinstance(mine, Decimal) and isinstance(theirs, Decimal):
        return test(mine, theirs)
    if isinstance(mine, str) and isinstance(theirs, str) and kind is not None:
        if kind.name in _DATES and _ISO.match(mine) and _ISO.match(theirs):
            return test(_padded(mine), _padded(theirs))
        return kind.name in _STRINGS and (fact.op, goal.op) == ("=", "<>") and mine != theirs
    return False


def _padded(text: str) -> str:
    """An ISO date or time in a form that sorts as the moments do."""
    date, _, clock = text.replace("T", " ").partition(" ")
    whole, _, part = clock.partition(".")
    return f"{date} {whole + '00:00:00'[len(whole) :]}.{part.ljust(6, '0')}"
