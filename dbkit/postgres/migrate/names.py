"""Names of relations and types as the catalogue holds them, and as they are written in SQL."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from dbkit.postgres.migrate.builtins import RESERVED

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*\Z")


class Name(NamedTuple):
    """A relation, type or function. `schema` is empty when the text does not say and no search_path is known."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{quote(self.schema)}.{quote(self.name)}" if self.schema not in ("", "public") else quote(self.name)

    @property
    def sql(self) -> str:
        """As SQL that does not depend on the search_path, unless the author's text did."""
        return f"{quote(self.schema)}.{quote(self.name)}" if self.schema else quote(self.name)


def quote(name: str) -> str:
    """An identifier as SQL: quoted only when it must be."""
    if _PLAIN.match(name) and name not in RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string constant as SQL."""
    return "'" + text.replace("'", "''") + "'"


def of_range(node: Any, default: str = "") -> Name:
    """The name of a RangeVar."""
    return Name(node.schemaname or default, node.relname)


def of_strings(nodes: Any, default: str = "") -> Name:
    """The name of a list of String nodes (a possibly qualified name)."""
    parts = [n.string.sval for n in nodes]
    if not parts:
        return Name(default, "")
    return Name(parts[-2] if len(parts) > 1 else default, parts[-1])


def of_object(node: Any, default: str = "") -> Name:
    """The name an object node of DROP, ALTER ... OWNER or RENAME carries: a list, a type, a function or a string."""
    kind = node.WhichOneof("node")
    if kind == "list":
        return of_strings(node.list.items, default)
    if kind == "type_name":
        return of_strings(node.type_name.names, default)
    if kind == "object_with_args":
        return of_strings(node.object_with_args.objname, default)
    if kind == "range_var":
        return of_range(node.range_var, default)
    return Name(default, node.string.sval if kind == "string" else "")
