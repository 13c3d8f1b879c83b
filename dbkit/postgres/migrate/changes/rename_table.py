"""Rename a table: a view keeps the old name alive for the old application until contract."""

from __future__ import annotations

from collections.abc import Sequence

from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.migrate.changes.design import Design, Line, Refusals, transaction
from dbkit.postgres.migrate.changes.facts import Table
from dbkit.postgres.migrate.names import literal

KIND = "rename-table"


def design(table: Table, new: str, accepted: Sequence[str], *, taken: bool) -> Design:
    """Rename `table` to `new`. `taken` says whether that name is in use."""
    reasons = Refusals(f"{table.sql} cannot be renamed online", accepted)
    if table.kind not in ("r", "p"):
        reasons.add(f"{table.sql} is not a table")
    if not table.owned:
        reasons.add(f"this role is not the owner {table.owner} of {table.sql}")
    if table.major < 15:
        reasons.add("before PostgreSQL 15 a view cannot run with its caller's rights")
    if taken:
        reasons.add(f"{quoted(table.schema, new)} is there already")
    if table.publications:
        reasons.add(
            f"{table.sql} is published by {', '.join(table.publications)} and subscribers look for the old name",
            accept="publication",
        )
    reasons.check()
    renamed = quoted(table.schema, new)
    columns = ", ".join(quote(c.name) for c in table.columns)
    view = [
        Line(f"alter table {table.sql} rename to {quote(new)}"),
        Line(
            f"create view {table.sql} with (security_invoker = on) as select {columns} from {renamed}",
            "the old name reads and writes the same rows, with the caller's own rights",
        ),
        Line(f"comment on view {table.sql} is {literal(f'the old name of {new}, until contract')}"),
    ]
    for grant in table.grants:
        option = " with grant option" if grant.grantable else ""
        if grant.privilege in ("select", "insert", "update", "delete"):
            view.append(Line(f"grant {grant.privilege} on {table.sql} to {grant.grantee}{option}"))
    lock = Line(f"lock table {renamed} in access exclusive mode", "both names change together")
    drop = Line(f"drop view if exists {table.sql}")
    return Design(
        id=f"{table.name}-{new}",
        kind=KIND,
        title=f"rename table {table.name} to {new}",
        schema=table.schema,
        table=table.name,
        old=(),
        new=(),
        expand=(transaction(*view),),
        undo_expand=(transaction(lock, drop, Line(f"alter table {renamed} rename to {quote(table.name)}")),),
        contract=(transaction(drop),),
        undo_contract=(transaction(*view[1:]),),
        story=(
            f"Both names may be read and written from expand on: {table.name} is a view then.",
            "Through the view COPY FROM, TRUNCATE, ON CONFLICT ON CONSTRAINT and REFERENCES do not work, nor MERGE",
            "before PostgreSQL 17: an application that needs them has to know the new name first.",
        ),
        reads_old=(f"{table.schema}.{table.name}",),
    )
