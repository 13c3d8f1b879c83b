"""Rename a table: a view keeps the old name alive for the old application until contract."""

from __future__ import annotations

from collections.abc import Sequence

from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate.changes import through_view
from dbkit.postgres.migrate.changes.design import Design, Line, Refusals, transaction
from dbkit.postgres.migrate.changes.facts import Table
from dbkit.postgres.migrate.names import literal

KIND = "rename-table"


def design(connection: Connection, table: Table, new: str, accepted: Sequence[str], *, taken: bool) -> Design:
    """Rename `table` to `new`. `taken` says whether that name is in use."""
    columns = [quote(c.name) for c in table.columns]
    renamed = quoted(table.schema, new)
    reasons = Refusals(f"{table.sql} cannot be renamed online", accepted)
    through_view.refuse_table(table, reasons)
    if taken:
        reasons.add(f"{renamed} is there already")
    through_view.refuse(connection, table, columns, reasons)
    reasons.check()
    view = [
        *through_view.create(table, renamed, columns, {}),
        Line(f"comment on view {table.sql} is {literal(f'the old name of {new}, until contract')}"),
    ]
    lock = Line(
        f"lock table {table.sql}, {renamed} in access exclusive mode", "the view first, as every statement takes them"
    )
    rename = Line(f"alter table {table.sql} rename to {quote(new)}")
    drop = Line(f"drop view if exists {table.sql}")
    return Design(
        id=f"{table.name}-{new}",
        kind=KIND,
        title=f"rename table {table.name} to {new}",
        schema=table.schema,
        table=table.name,
        old=(),
        new=(),
        expand=(transaction(rename, *view),),
        undo_expand=(transaction(lock, drop, Line(f"alter table {renamed} rename to {quote(table.name)}")),),
        contract=(transaction(drop),),
        undo_contract=(transaction(*view),),
        story=(
            f"Both names may be read and written from expand on: {table.name} is a view then.",
            through_view.STORY,
            "An application that needs them has to know the new name first.",
        ),
        reads_old=(f"{table.schema}.{table.name}",),
    )
