"""Queries, data changes, transactions, settings and code blocks, read into actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from dbkit.postgres.ddl import numbers, walk
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import expressions
from dbkit.postgres.migrate.names import Name, of_range, of_strings
from dbkit.postgres.migrate.reading_options import option

_TRANS: Final = numbers("TransactionStmtKind")
_SET: Final = numbers("VariableSetKind")
_VERBS: Final = {
    _TRANS["TRANS_STMT_BEGIN"]: "begin",
    _TRANS["TRANS_STMT_START"]: "begin",
    _TRANS["TRANS_STMT_COMMIT"]: "commit",
    _TRANS["TRANS_STMT_ROLLBACK"]: "rollback",
    _TRANS["TRANS_STMT_SAVEPOINT"]: "savepoint",
    _TRANS["TRANS_STMT_RELEASE"]: "release",
    _TRANS["TRANS_STMT_ROLLBACK_TO"]: "rollback-to",
    _TRANS["TRANS_STMT_PREPARE"]: "prepare",
}


def query_parts(node: Any, d: str) -> tuple[tuple[Name, ...], frozenset[str], tuple[Name, ...]]:
    """Tables a query reads, the columns it names, and the functions it calls."""
    tables: list[Name] = []
    columns: set[str] = set()
    calls: list[Name] = []
    local: set[str] = set()
    for message in walk(node):
        held: Any = message
        kind = message.DESCRIPTOR.name
        if kind == "RangeVar":
            tables.append(of_range(held, d))
        elif kind == "CommonTableExpr":
            local.add(held.ctename)
        elif kind == "FuncCall":
            calls.append(of_strings(held.funcname))
        elif kind == "ColumnRef":
            last = held.fields[-1]
            columns.add(last.string.sval if last.WhichOneof("node") == "string" else "*")
    return tuple(t for t in tables if t.name not in local), frozenset(columns), tuple(calls)


def _select(n: Any, d: str) -> list[a.Action]:
    if n.HasField("into_clause"):
        return [a.CreateTable(of_range(n.into_clause.rel, d), from_query=True, filled=True)]
    tables, _, calls = query_parts(n, d)
    found: list[a.Action] = [a.Query(tables, calls)]
    if any(call.name == "set_config" for call in calls):
        found += _set_config(n)
    if n.HasField("with_clause"):
        for wrapped in n.with_clause.ctes:
            inner = wrapped.common_table_expr.ctequery
            reader = READERS.get(inner.WhichOneof("node") or "")
            if reader is not None and inner.WhichOneof("node") != "select_stmt":
                found += reader(getattr(inner, inner.WhichOneof("node")), d)
    return found


def _set_config(n: Any) -> Iterator[a.Action]:
    """SELECT set_config('name', 'value', is_local): SET in the clothes of a query."""
    for target in n.target_list:
        call = target.res_target.val.func_call
        if len(call.args) == 3 and of_strings(call.funcname).name == "set_config":
            name, value, local = (_value(arg) for arg in call.args)
            if name:
                yield a.SetVariable(name.lower(), value, local in ("true", "t", "1", "on"))


def _do(n: Any, d: str) -> list[a.Action]:
    body = option(n.args, "as")
    language = option(n.args, "language")
    return [
        a.Code(
            language.arg.string.sval.lower() if language is not None else "plpgsql",
            body.arg.string.sval if body is not None else "",
        )
    ]


def _call(n: Any, d: str) -> list[a.Action]:
    return [a.Code("call", "", of_strings(n.funccall.funcname, d))]


def _update(n: Any, d: str) -> list[a.Action]:
    columns = tuple(t.res_target.name for t in n.target_list if not t.res_target.indirection)
    return [a.Dml(of_range(n.relation, d), "update", _narrowed(n), columns), *_with(n, d)]


def _delete(n: Any, d: str) -> list[a.Action]:
    return [a.Dml(of_range(n.relation, d), "delete", _narrowed(n)), *_with(n, d)]


def _with(n: Any, d: str) -> list[a.Action]:
    """Statements that change data inside a WITH."""
    found: list[a.Action] = []
    if n.HasField("with_clause"):
        for wrapped in n.with_clause.ctes:
            inner = wrapped.common_table_expr.ctequery
            kind = inner.WhichOneof("node") or ""
            if kind in ("update_stmt", "delete_stmt", "insert_stmt"):
                found += READERS[kind](getattr(inner, kind), d)
    return found


def _narrowed(n: Any) -> bool:
    return n.HasField("where_clause") and not expressions.always_true(n.where_clause)


def _insert(n: Any, d: str) -> list[a.Action]:
    rows = len(n.select_stmt.select_stmt.values_lists) if n.HasField("select_stmt") else 1
    columns = tuple(c.res_target.name for c in n.cols if not c.res_target.indirection)
    return [a.Dml(of_range(n.relation, d), "insert", bool(rows), columns, rows), *_with(n, d)]


def _merge(n: Any, d: str) -> list[a.Action]:
    return [a.Dml(of_range(n.relation, d), "merge", False)]


def _copy(n: Any, d: str) -> list[a.Action]:
    if n.is_from and n.HasField("relation"):
        return [a.Dml(of_range(n.relation, d), "copy", True)]
    return [a.Query((of_range(n.relation, d),) if n.HasField("relation") else ())]


def _set(n: Any, d: str) -> list[a.Action]:
    if n.kind not in (_SET["VAR_SET_VALUE"], _SET["VAR_SET_DEFAULT"], _SET["VAR_RESET"], _SET["VAR_RESET_ALL"]):
        return [a.Harmless("SET")]
    name = n.name.lower() or "all"
    if n.kind != _SET["VAR_SET_VALUE"]:
        return [a.SetVariable(name, None, n.is_local)]
    return [a.SetVariable(name, ", ".join(_value(v) for v in n.args), n.is_local)]


def _value(node: Any) -> str:
    if node.WhichOneof("node") != "a_const":
        return ""
    constant = node.a_const
    kind = constant.WhichOneof("val")
    if kind == "ival":
        return str(constant.ival.ival)
    if kind == "fval":
        return str(constant.fval.fval)
    if kind == "boolval":
        return str(constant.boolval.boolval).lower()
    return str(constant.sval.sval)


def _transaction(n: Any, d: str) -> list[a.Action]:
    verb: Any = _VERBS.get(n.kind)
    return [a.Transaction(verb, n.chain)] if verb else [a.Harmless("two-phase commit")]


READERS: Final[dict[str, Callable[[Any, str], list[a.Action]]]] = {
    "select_stmt": _select,
    "do_stmt": _do,
    "call_stmt": _call,
    "update_stmt": _update,
    "delete_stmt": _delete,
    "insert_stmt": _insert,
    "merge_stmt": _merge,
    "copy_stmt": _copy,
    "variable_set_stmt": _set,
    "transaction_stmt": _transaction,
}
