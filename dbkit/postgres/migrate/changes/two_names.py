"""Rename a column of a key: the table becomes a view of itself in which the column has both names, until contract.

Two columns with a unique index each would not do: an upsert decides by one index (`on conflict (email)`) and fails on
the other with 23505 when two sessions bring the same value (research/migrations.md 7.5 no. 5). Here there is one column
and one index under two names. Nothing is copied, so there is nothing to fill or to verify; what rests on the column
(keys, foreign keys that point at it, indexes, generated columns, views, policies) follows the server's own rename.
"""

from __future__ import annotations

from collections.abc import Sequence

from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate.changes import copies, server, through_view
from dbkit.postgres.migrate.changes.design import Design, Line, Refusals, shorten, transaction
from dbkit.postgres.migrate.changes.facts import Column, Table
from dbkit.postgres.migrate.names import literal


def design(
    connection: Connection, table: Table, column: Column, new: str, *, kind: str, because: Sequence[str],
    reasons: Refusals,
) -> Design:  # fmt: skip
    """Rename `column` to `new` behind a view. `because` says why no second column will do."""
    base = shorten(table.name, "base")
    columns = [*(quote(c.name) for c in table.columns), f"{quote(column.name)} as {quote(new)}"]
    _refuse(connection, table, base, reasons)
    through_view.refuse(connection, table, columns, reasons)
    reasons.check()
    renamed = quoted(table.schema, base)
    appear = [
        Line(f"alter table {table.sql} rename to {quote(base)}"),
        *through_view.create(table, renamed, columns, {new: column.name}),
        Line(f"comment on view {table.sql} is {literal(f'{column.name} is also called {new}, until contract')}"),
    ]
    lock = Line(
        f"lock table {table.sql}, {renamed} in access exclusive mode", "the view first, as every statement takes them"
    )
    vanish = [lock, Line(f"drop view {table.sql}")]
    back = Line(f"alter table {renamed} rename to {quote(table.name)}")
    forward, backward = _told(table, column.name, new)
    return Design(
        id=f"{table.name}-{column.name}-{new}",
        kind=kind,
        title=f"rename {table.name}.{column.name} to {new}",
        schema=table.schema,
        table=table.name,
        old=(column.name,),
        new=(new,),
        expand=(transaction(*appear),),
        undo_expand=(transaction(*vanish, back),),
        contract=(
            transaction(
                *vanish,
                Line(
                    f"alter table {renamed} rename column {quote(column.name)} to {quote(new)}",
                    "keys, foreign keys, indexes and views follow",
                ),
                back,
                *forward,
            ),
        ),
        undo_contract=(
            transaction(
                Line(f"lock table {table.sql} in access exclusive mode", "all that follows is metadata: milliseconds"),
                *backward,
                Line(f"alter table {table.sql} rename column {quote(new)} to {quote(column.name)}"),
                *appear,
            ),
        ),
        story=(
            f"By a view, since {'; '.join(because)}.",
            f"From expand on {table.name} is a view of {base} in which the column has both names: nothing to fill.",
            "contract makes it a table again, under the new name.",
            through_view.STORY,
        ),
        notes=tuple(
            f"{told} (write its new text into the contract revision, behind the rename, and accept it at the gate)"
            for told in copies.trigger_functions(table, [column.name])
        ),
        base=base,
    )


def _refuse(connection: Connection, table: Table, base: str, reasons: Refusals) -> None:
    through_view.refuse_table(table, reasons)
    if table.is_partition:
        reasons.add(f"{table.sql} is a partition: change its partitioned table")
    if table.inherits:
        reasons.add(f"{table.sql} has inheritance")
    if table.typed:
        reasons.add(f"{table.sql} is made of a type (CREATE TABLE ... OF): rename the attribute of the type")
    if server.exists(connection, quoted(table.schema, base)):
        reasons.add(f"{quoted(table.schema, base)}, which the table would be called meanwhile, is there already")


def _told(table: Table, old: str, new: str) -> tuple[list[Line], list[Line]]:
    """Constraints, indexes and statistics whose names tell the old name, renamed there and back."""
    forward: list[Line] = []
    backward: list[Line] = []
    for constraint in table.constraints:
        _, final = copies.names(table, constraint.name, {old: new}, keep=False)
        if old in constraint.columns and final != constraint.name:
            on = f"alter table {table.sql} rename constraint "
            forward.append(Line(f"{on}{quote(constraint.name)} to {quote(final)}"))
            backward.append(Line(f"{on}{quote(final)} to {quote(constraint.name)}"))
    others = [("index", table.schema, i.name) for i in table.indexes if old in i.uses and not i.constraint]
    others += [("statistics", s.schema, s.name) for s in table.statistics if old in s.columns]
    for what, schema, name in others:
        _, final = copies.names(table, name, {old: new}, keep=False)
        if final != name:
            forward.append(Line(f"alter {what} {quoted(schema, name)} rename to {quote(final)}"))
            backward.append(Line(f"alter {what} {quoted(schema, final)} rename to {quote(name)}"))
    return forward, backward
