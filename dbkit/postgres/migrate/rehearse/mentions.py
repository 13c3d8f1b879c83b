"""Which relations a statement names."""

from __future__ import annotations

from typing import Any, cast

from dbkit.postgres import ddl
from dbkit.postgres.migrate.names import Name, of_object


def relations(statement: ddl.Statement) -> list[Name]:
    """Every relation named in the statement, in order, each once; the schema is empty where the text has none.

    Names of other objects in DROP and RENAME may be among them: who looks them up finds nothing.
    """
    found: dict[Name, None] = {}
    for message in ddl.walk(statement.node):
        kind = type(message).__name__
        held = cast(Any, message)
        if kind == "RangeVar":
            found[Name(held.schemaname, held.relname)] = None
        elif kind == "DropStmt":
            for item in held.objects:
                found[of_object(item)] = None
        elif kind == "CommentStmt":
            found[of_object(held.object)] = None
    return [n for n in found if n.name]
