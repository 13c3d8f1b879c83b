"""Rename a column: the new name appears beside the old one, both are kept equal, and the old one goes at the end.

A column of a key stays one column: a view gives it two names (two_names).
"""

from __future__ import annotations

from collections.abc import Sequence

from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate.changes import copies, replace, two_names
from dbkit.postgres.migrate.changes.design import Design, Refusals
from dbkit.postgres.migrate.changes.facts import Table

KIND = "rename-column"


def design(
    connection: Connection, table: Table, old: str, new: str, accepted: Sequence[str] = (), *, view: bool = False
) -> Design:
    """Rename `old` to `new`. A column of a key, and any with `view`, gets its second name from a view.

    Raises Refused with every reason at once.
    """
    column = table.column(old)
    reasons = Refusals(f"{table.sql}.{quote(old)} cannot be renamed online", accepted)
    if table.has(new):
        reasons.add(f"{table.sql} has a column {quote(new)} already")
    because = replace.keys(table, column) or (["it was asked for"] if view else [])
    if because:
        return two_names.design(connection, table, column, new, kind=KIND, because=because, reasons=reasons)
    copies.refuse(table, [old], reasons)
    reasons.check(hint="`--view` renames it behind a view, without a second column")
    return replace.design(
        table,
        column,
        new,
        kind=KIND,
        type_=column.type,
        forward=quote(old),
        backward=quote(new),
        title=f"rename {table.name}.{old} to {new}",
        default=column.default,
        collation=column.collation,
    )
