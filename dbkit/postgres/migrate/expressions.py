"""What an expression of the grammar says: columns it reads, functions it calls, what a CHECK proves, what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dbkit.postgres.ddl import Node, copy, deparse_expression, walk
from dbkit.postgres.migrate import formulas
from dbkit.postgres.migrate.builtins import NOT_VOLATILE, VOLATILE, WITHOUT_ARGUMENTS
from dbkit.postgres.migrate.names import Name, of_strings
from dbkit.postgres.migrate.types import SqlType, read_type


def columns(node: Node | None) -> frozenset[str]:
    """Column names an expression reads, without their tables."""
    if node is None or node.HasField("a_const"):  # most defaults: nothing to look for
        return frozenset()
    found: set[str] = set()
    for message in walk(node):
        if message.DESCRIPTOR.name == "ColumnRef":
            reference: Any = message
            last = reference.fields[-1]
            if last.WhichOneof("node") == "string":
                found.add(last.string.sval)
    return frozenset(found)


def renamed(node: Node | None, old: str, new: str) -> Node | None:
    """The expression after a column has got another name."""
    if node is None or old not in columns(node):
        return node
    made = copy(node)
    for message in walk(made):
        if message.DESCRIPTOR.name == "ColumnRef":
            reference: Any = message
            last = reference.fields[-1]
            if last.WhichOneof("node") == "string" and last.string.sval == old:
                last.string.sval = new
    return made


def volatile_call(node: Node | None, volatility: Callable[[Name], str | None]) -> tuple[str, bool] | None:
    """The first call that makes a default volatile, and whether that is known; None when nothing does.

    `volatility` answers for functions of the schema and returns None for those it does not know.
    """
    if node is None or node.HasField("a_const"):
        return None
    for message in walk(node):
        if message.DESCRIPTOR.name != "FuncCall":
            continue
        call: Any = message
        name = of_strings(call.funcname)
        known = volatility(name)
        if known is None and name.schema in ("", "pg_catalog"):
            if name.name in VOLATILE:
                return name.name, True
            if name.name in NOT_VOLATILE and not (name.name in WITHOUT_ARGUMENTS and len(call.args)):
                continue
        if known in ("stable", "immutable"):
            continue
        return name.name, known is not None
    return None


def proves_not_null(node: Node | None) -> frozenset[str]:
    """Columns that a CHECK proves to hold no NULL: `c IS NOT NULL`, alone, in an AND, or in every arm of an OR.

    `c > 0` proves nothing, because a CHECK passes on NULL.
    """
    return formulas.never_null(formulas.read(node, {}))


def always_true(node: Node) -> bool:
    """Whether a WHERE clause lets every row through: true, 1 = 1 and the like."""
    kind = node.WhichOneof("node")
    if kind == "a_const":
        return node.a_const.WhichOneof("val") == "boolval" and node.a_const.boolval.boolval
    if kind == "a_expr":
        left, right = node.a_expr.lexpr, node.a_expr.rexpr
        name = node.a_expr.name[0].string.sval if len(node.a_expr.name) else ""
        both = left.WhichOneof("node") == right.WhichOneof("node") == "a_const"
        return both and name == "=" and deparse_expression(left) == deparse_expression(right)
    if kind == "bool_expr" and node.bool_expr.boolop == 2:  # OR_EXPR
        return any(always_true(arg) for arg in node.bool_expr.args)
    return False


def plain_cast(node: Node, column: str) -> SqlType | bool:
    """A USING expression: True for the bare column, the type for a plain cast of it, False for anything else."""
    kind = node.WhichOneof("node")
    if kind == "column_ref":
        return _names(node, column)
    if kind == "type_cast":
        arg = node.type_cast.arg
        if arg.WhichOneof("node") == "column_ref" and _names(arg, column):
            return read_type(node.type_cast.type_name)
    return False


def _names(reference: Node, column: str) -> bool:
    last = reference.column_ref.fields[-1]
    return last.WhichOneof("node") == "string" and last.string.sval == column


def is_null_constant(node: Node | None) -> bool:
    """Whether an expression is NULL, cast or not."""
    while node is not None and node.WhichOneof("node") == "type_cast":
        node = node.type_cast.arg
    return node is not None and node.WhichOneof("node") == "a_const" and node.a_const.isnull


def constant(node: Node) -> str | None:
    """The text of a string constant, cast or not; None for anything else."""
    while node.WhichOneof("node") == "type_cast":
        node = node.type_cast.arg
    if node.WhichOneof("node") == "a_const" and node.a_const.WhichOneof("val") == "sval":
        return node.a_const.sval.sval
    return None
