"""Statements inside DO blocks and functions, and what in them is put together only at run time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from dbkit.postgres import ddl
from dbkit.postgres.migrate.expressions import constant


@dataclass(slots=True)
class Inner:
    """SQL found in a body; `line` counts from 1 within the body; `why` says what keeps an opaque part unread."""

    sql: str
    line: int
    why: str = ""


@dataclass(slots=True)
class Body:
    """What a body holds, and what of it could not be read."""

    statements: list[Inner]
    opaque: list[Inner]


def of_do(statement: str) -> Body:
    """The body of a DO statement in PL/pgSQL."""
    return _read(statement)


def of_function(name: str, language: str, body: str) -> Body:
    """The body of a function in SQL or PL/pgSQL."""
    if language == "sql":
        return Body([Inner(body, 1)], [])
    tag = "$dbkit_body$"
    if language != "plpgsql" or tag in body:
        return Body([], [Inner(f"function {name}", 1, f"the body in {language} is not read")])
    found = Body([], [])
    for returned in ("void", "int", "SETOF int", "trigger"):  # RETURN with and without a value, RETURN NEXT, NEW
        found = _read(f"CREATE FUNCTION f() RETURNS {returned} LANGUAGE plpgsql AS {tag}{body}{tag}")
        if not found.opaque or found.statements:
            break
    return found


def _read(sql: str) -> Body:
    found = Body([], [])
    try:
        functions = ddl.parse_plpgsql(sql)
    except ddl.SqlSyntaxError as error:
        found.opaque.append(Inner("the body", 1, f"cannot be parsed: {error.what}"))
        return found
    for function in functions:
        _collect(function, 1, found)
    return found


def _collect(node: Any, line: int, found: Body) -> None:
    if isinstance(node, list):
        for item in cast(list[Any], node):
            _collect(item, line, found)
    elif isinstance(node, dict):
        for kind, value in cast(dict[str, Any], node).items():
            here = int(cast(dict[str, Any], value).get("lineno", line)) if isinstance(value, dict) else line
            if kind == "PLpgSQL_stmt_dynexecute":
                _dynamic(value, here, found)
            elif kind in ("PLpgSQL_stmt_execsql", "PLpgSQL_stmt_perform", "PLpgSQL_stmt_call"):
                _static(value, here, found)
            elif kind not in ("datums", "PLpgSQL_expr"):
                _collect(value, here, found)


def _query(holder: Any, *fields: str) -> str:
    """The text of the first of these fields that holds an expression."""
    for name in fields:
        expression: Any = holder.get(name)
        if expression:
            return str(expression.get("PLpgSQL_expr", {}).get("query", ""))
    return ""


def _static(value: Any, line: int, found: Body) -> None:
    query = _query(value, "sqlstmt", "expr")
    if query:
        found.statements.append(Inner(query, line))


def _dynamic(value: Any, line: int, found: Body) -> None:
    """EXECUTE of a constant is as good as the statement itself; anything else is not known before it runs."""
    query = _query(value, "query")
    try:
        (statement,) = ddl.parse(f"SELECT {query}")
        text = constant(statement.node.select_stmt.target_list[0].res_target.val)
    except (ddl.SqlSyntaxError, ValueError, IndexError):
        text = None
    if text is not None:
        found.statements.append(Inner(text, line))
    else:
        found.opaque.append(Inner(f"EXECUTE {query}", line, "put together at run time, so what it does is not known"))
