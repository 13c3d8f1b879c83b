"""Rename a column: the new name appears beside the old one, both are kept equal, and the old one goes at the end."""

from __future__ import annotations

from collections.abc import Sequence

from dbkit.postgres.catalog import quote
from dbkit.postgres.migrate.changes import copies, replace
from dbkit.postgres.migrate.changes.design import Design, Refusals
from dbkit.postgres.migrate.changes.facts import Table

KIND = "rename-column"


def design(table: Table, old: str, new: str, accepted: Sequence[str] = ()) -> Design:
    """Rename `old` to `new`. Raises Refused with every reason at once."""
    column = table.column(old)
    reasons = Refusals(f"{table.sql}.{quote(old)} cannot be renamed online", accepted)
    copies.refuse(table, [old], reasons)
    if table.has(new):
        reasons.add(f"{table.sql} has a column {quote(new)} already")
    replace.refuse_identity(table, column, reasons)
    reasons.check()
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
    )
