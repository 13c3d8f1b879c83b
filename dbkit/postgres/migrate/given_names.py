"""Names that PostgreSQL gives where the author gave none."""

from __future__ import annotations

from typing import Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import expressions

NAME_LIMIT: Final = 63


def auto_name(table: str, columns: tuple[str, ...], suffix: str) -> str:
    """The name PostgreSQL gives an unnamed constraint or index (without the number that avoids a clash)."""
    middle = "_".join(c or "expr" for c in columns)
    room = NAME_LIMIT - len(suffix) - 1
    joined = f"{table}_{middle}" if middle else table
    return f"{joined[:room]}_{suffix}"


_SUFFIXES: Final = {
    "check": "check",
    "foreign": "fkey",
    "unique": "key",
    "primary": "pkey",
    "exclude": "excl",
    "notnull": "not_null",
}


def constraint_name(table: str, made: a.Constraint) -> str:
    """The name a constraint has or will be given."""
    if made.name:
        return made.name
    columns = made.columns
    if made.kind == "primary":
        columns = ()
    elif made.kind == "check" and not columns:
        read = sorted(expressions.columns(made.expression))
        columns = tuple(read) if len(read) == 1 else ()
    return auto_name(table, columns, _SUFFIXES[made.kind])
