"""Add a foreign key, a unique constraint or a check: made without stopping anybody, then proved by the server.

One revision is all it takes: the old application may go on as long as what it writes is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence

from dbkit.errors import UsageError
from dbkit.postgres.catalog import quote
from dbkit.postgres.migrate.changes import words
from dbkit.postgres.migrate.changes.design import Block, Design, Line, Refusals, alone, shorten, transaction
from dbkit.postgres.migrate.changes.facts import Table

ADD_FOREIGN_KEY = "add-foreign-key"
ADD_UNIQUE = "add-unique"
ADD_CHECK = "add-check"
ON_DELETE = {"cascade", "set null", "restrict", "no action"}


def add_foreign_key(
    table: Table, column: str, parent: Table, target: str | None, name: str | None, on_delete: str | None
) -> Design:
    """Let `column` reference `parent`, by its primary key unless `target` names another unique column."""
    held = table.column(column)
    reasons = refusals(table, "a foreign key")
    unique = [c for c in parent.constraints if c.kind in "pu" and len(c.columns) == 1]
    wanted = target or next((c.columns[0] for c in unique if c.kind == "p"), None)
    if wanted is None:
        raise UsageError(f"{parent.sql} has no primary key of one column", hint="name the column: PARENT.COLUMN")
    aimed = parent.column(wanted)
    single = any(i.unique and i.valid and i.uses == (wanted,) and " WHERE " not in i.definition for i in parent.indexes)
    if not single and not any(c.columns == (wanted,) for c in unique):
        reasons.add(f"{parent.sql}.{quote(wanted)} is not unique")
    if aimed.type != held.type:
        reasons.add(f"{quote(column)} is {held.type}, what it points at {aimed.type}: make them the same")
    if on_delete is not None and on_delete.lower() not in ON_DELETE:
        raise UsageError(f"--on-delete {on_delete} is none", hint=f"one of: {', '.join(sorted(ON_DELETE))}")
    if table.kind == "p" and table.major < 18:
        reasons.add(f"{table.sql} is partitioned, where only PostgreSQL 18 takes a foreign key that is not valid yet")
    called = name or shorten(table.name, column, "fkey")
    refuse_taken(table, called, reasons)
    reasons.check()
    action = f" on delete {on_delete.lower()}" if on_delete else ""
    add = (
        f"alter table {table.sql} add constraint {quote(called)}\n"
        f"  foreign key ({quote(column)}) references {parent.sql} ({quote(wanted)}){action} not valid"
    )
    drop = f"alter table {table.sql} drop constraint if exists {quote(called)}"
    blocks: list[Block] = []
    undo: list[Block] = [transaction(Line(drop))]
    covered = any(
        i.valid and " WHERE " not in i.definition and f"({quote(column)}" in i.definition.partition(" USING ")[2][:80]
        for i in table.indexes
    )
    if not covered and table.kind != "p":
        index = shorten(table.name, column, "idx")
        why = "without it every delete from the parent would read the whole table"
        blocks.append(
            alone(f"create index concurrently if not exists {quote(index)} on {table.sql} ({quote(column)})", why)
        )
        undo.append(alone(f"drop index concurrently if exists {quote(table.schema)}.{quote(index)}"))
    blocks.append(transaction(Line(drop), Line(add, "checks new rows; stops writers of both tables for a moment")))
    blocks.append(alone(f"alter table {table.sql} validate constraint {quote(called)}", "existing rows; stops nobody"))
    return _design(table, ADD_FOREIGN_KEY, called, f"add foreign key {called} to {table.name}", blocks, undo)


def add_unique(table: Table, columns: Sequence[str], name: str | None) -> Design:
    """Make a combination of columns unique."""
    reasons = refusals(table, "a unique constraint")
    for column in columns:
        table.column(column)
    if table.kind == "p":
        reasons.add(f"{table.sql} is partitioned: a constraint cannot take over an index there")
    called = name or shorten(table.name, *columns, "key")
    refuse_taken(table, called, reasons)
    reasons.check()
    listed = ", ".join(map(quote, columns))
    build = f"create unique index concurrently if not exists {quote(called)} on {table.sql} ({listed})"
    add = f"alter table {table.sql} add constraint {quote(called)} unique using index {quote(called)}"
    blocks = [
        alone(build, "fails where two rows agree; the failed index is removed and the rows are named"),
        transaction(Line(add, "takes the index over: metadata only")),
    ]
    undo = [
        transaction(Line(f"alter table {table.sql} drop constraint if exists {quote(called)}")),
        alone(
            f"drop index concurrently if exists {quote(table.schema)}.{quote(called)}", "left where only it was made"
        ),
    ]
    return _design(table, ADD_UNIQUE, called, f"make {', '.join(columns)} of {table.name} unique", blocks, undo)


def add_check(table: Table, expression: str, name: str | None) -> Design:
    """Demand a condition of every row."""
    reasons = refusals(table, "a check")
    used = words.columns_in(expression, "the condition")
    for column in used:
        table.column(column)
    called = name or shorten(table.name, *used, "check")
    refuse_taken(table, called, reasons)
    reasons.check()
    drop = f"alter table {table.sql} drop constraint if exists {quote(called)}"
    add = f"alter table {table.sql} add constraint {quote(called)} check ({expression}) not valid"
    blocks = [
        transaction(Line(drop), Line(add, "checks new rows, and every update of a row that breaks it")),
        alone(f"alter table {table.sql} validate constraint {quote(called)}", "existing rows; stops nobody"),
    ]
    return _design(table, ADD_CHECK, called, f"add check {called} to {table.name}", blocks, [transaction(Line(drop))])


def _design(table: Table, kind: str, name: str, title: str, expand: Sequence[Block], undo: Sequence[Block]) -> Design:
    return Design(
        id=f"{table.name}-{name}",
        kind=kind,
        title=title,
        schema=table.schema,
        table=table.name,
        old=(),
        new=(),
        expand=tuple(expand),
        undo_expand=tuple(undo),
        story=("Writes that break it fail from here on: the application must not make them any more.",),
    )


def refusals(table: Table, what: str, accepted: Sequence[str] = ()) -> Refusals:
    """What keeps any constraint from being added."""
    reasons = Refusals(f"{what} cannot be added to {table.sql} online", accepted)
    if table.kind not in ("r", "p"):
        reasons.add(f"{table.sql} is not a table")
    if not table.owned:
        reasons.add(f"this role is not the owner {table.owner} of {table.sql}")
    if table.is_partition:
        reasons.add(f"{table.sql} is a partition: change its partitioned table")
    return reasons


def refuse_taken(table: Table, name: str, reasons: Refusals) -> None:
    """Refuse a name that a constraint or an index of the table has."""
    if any(c.name == name for c in table.constraints) or any(i.name == name for i in table.indexes):
        reasons.add(f"{table.sql} has a constraint or index {quote(name)} already: give another --name")
