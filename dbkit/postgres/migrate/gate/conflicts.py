"""Whether a statement rests on a unique key that contract takes away: INSERT ... ON CONFLICT."""

from __future__ import annotations

from typing import Any, Final, cast

from dbkit.postgres import ddl
from dbkit.postgres.migrate.gate.shape import UNREAD, Shape, mentions

CONFLICT: Final = "on conflict"


def conflicts(sql: str, shape: Shape) -> frozenset[str]:
    """{CONFLICT} when an insert into the table names one of the keys, a constraint, or no target at all."""
    try:
        statements = ddl.parse(sql)
    except ddl.SqlSyntaxError:
        return frozenset({UNREAD}) if "conflict" in sql.lower() and mentions(sql, shape) else frozenset()
    held = [cast(Any, n) for s in statements for n in ddl.walk(s.node) if type(n).__name__ == "InsertStmt"]
    return frozenset({CONFLICT}) if any(_rests(n, shape) for n in held) else frozenset()


def _rests(insert: Any, shape: Shape) -> bool:
    if not insert.HasField("on_conflict_clause") or not shape.names(
        insert.relation.schemaname, insert.relation.relname
    ):
        return False
    infer = insert.on_conflict_clause.infer
    if infer.conname or not len(infer.index_elems):
        return True
    named = {e.index_elem.name for e in infer.index_elems}
    # An expression has no name; a key's columns are those of its predicate too, which the statement may leave out.
    return "" in named or any(named <= set(key) for key in shape.keys)
