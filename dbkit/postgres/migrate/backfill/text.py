"""SQL texts of a backfill: read by PostgreSQL's own grammar, written back canonically, put into statements as they are.

The texts are parsed before they come here (`read`, or by whoever made the `BackfillSpec`), so that a text is one
expression or one list of assignments and nothing else.
"""

from __future__ import annotations

from typing import Any, Final, LiteralString, cast

from psycopg import sql

from dbkit.errors import UsageError
from dbkit.postgres import ddl
from dbkit.postgres.catalog import quote
from dbkit.postgres.migrate.changes.spec import BackfillSpec
from dbkit.postgres.migrate.expressions import columns as columns_of

MARK: Final = "/* dbkit */"
"""Stands after the first word of every statement of ours on the user's tables, so that the gate does not take it for
the application's: pg_stat_statements may cut off a comment before it."""


def raw(text: str) -> sql.SQL:
    """A text of a spec as a part of a statement. Statements holding it are executed without parameters."""
    return sql.SQL(cast(LiteralString, text))


def table(schema: str, name: str) -> sql.Identifier:
    """The qualified name of a table."""
    return sql.Identifier(schema, name)


def read(name: str, assignments: str, where: str | None) -> BackfillSpec:
    """The spec of `--table NAME --set ASSIGNMENTS --where WHERE`. Raises UsageError for anything but plain assignments.

    Without `where` a row is pending while an assigned column differs from its expression.
    """
    schema, named = relation(name)
    tree = _one(f"update {quote(named)} set {assignments}", "--set").update_stmt
    if tree.where_clause.WhichOneof("node") or len(tree.from_clause) or tree.HasField("returning_clause"):
        raise UsageError("--set holds more than assignments", hint='write --set "b = f(a)" and give --where apart')
    written: list[tuple[str, str]] = []
    reads: set[str] = set()
    for target in tree.target_list:
        held = target.res_target
        kind = held.val.WhichOneof("node")
        if kind in ("multi_assign_ref", "set_to_default") or len(held.indirection):
            raise UsageError(
                f"--set: {held.name} is not set by a plain expression", hint="write one `column = expression` each"
            )
        written.append((held.name, ddl.deparse_expression(held.val)))
        reads |= columns_of(held.val)
    names = [column for column, _ in written]
    if len(set(names)) != len(names):
        raise UsageError("--set names a column twice")
    if where is None:
        own = sorted(reads & set(names))
        if own:
            raise UsageError(
                f"--set reads {own[0]}, which it writes: no row would ever be done",
                hint="give --where with a condition that no longer holds once a row is filled",
            )
        pending = " or ".join(f"{quote(c)} is distinct from ({e})" for c, e in written)
    else:
        pending = _condition(where)
    return BackfillSpec(
        change=f"{schema}.{named}",
        schema=schema,
        table=named,
        assignments=", ".join(f"{quote(c)} = ({e})" for c, e in written),
        pending=pending,
        columns=tuple(names),
    )


def expressions(spec: BackfillSpec) -> list[tuple[str, str]]:
    """Column and expression of each assignment of a spec, as canonical text."""
    tree = _one(f"update x set {spec.assignments}", "the assignments").update_stmt
    return [(t.res_target.name, ddl.deparse_expression(t.res_target.val)) for t in tree.target_list]


def functions(text: str) -> list[str]:
    """Names of the functions an expression calls, without their schema."""
    tree = _one(f"select {text}", "an expression")
    found: list[str] = []
    for message in ddl.walk(tree):
        if message.DESCRIPTOR.name == "FuncCall":
            call: Any = message
            found.append(call.funcname[-1].string.sval)
        elif message.DESCRIPTOR.name == "SQLValueFunction":
            found.append("now")
    return found


def has_subquery(text: str) -> bool:
    """Whether an expression holds a subquery."""
    return any(m.DESCRIPTOR.name == "SubLink" for m in ddl.walk(_one(f"select {text}", "an expression")))


def relation(name: str) -> tuple[str, str]:
    """Schema (public when none is written) and table of a name as a user writes it. Raises UsageError."""
    tree = _one(f"table {name}", "--table").select_stmt
    held = tree.from_clause[0].range_var if len(tree.from_clause) == 1 else None
    if held is None or not held.relname or held.catalogname or tree.where_clause.WhichOneof("node"):
        raise UsageError(f"--table: {name!r} is not the name of a table", hint="write schema.table")
    return held.schemaname or "public", held.relname


def _condition(where: str) -> str:
    tree = _one(f"select 1 where ({where}\n)", "--where").select_stmt
    kinds = ("group_clause", "sort_clause", "locking_clause", "window_clause", "from_clause")
    if any(len(getattr(tree, kind)) for kind in kinds) or tree.limit_count.WhichOneof("node"):
        raise UsageError("--where holds more than a condition")
    return ddl.deparse_expression(tree.where_clause)


def _one(text: str, label: str) -> ddl.Node:
    statements = ddl.parse(text, label=label)
    if len(statements) != 1:
        raise UsageError(f"{label} holds more than one statement")
    return statements[0].node
