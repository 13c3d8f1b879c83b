"""Drop a column or a table: first nothing depends on it any more, then it goes, when nothing uses it."""

from __future__ import annotations

from collections.abc import Sequence

from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.migrate.changes import copies
from dbkit.postgres.migrate.changes.design import Block, Design, Line, Refusals, alone, shorten, transaction
from dbkit.postgres.migrate.changes.facts import Table
from dbkit.postgres.migrate.names import literal

DROP_COLUMN = "drop-column"
DROP_TABLE = "drop-table"


def drop_column(table: Table, name: str, accepted: Sequence[str]) -> Design:
    """Take a column away. Until contract the new application may leave it out, whatever it demands."""
    column = table.column(name)
    reasons = Refusals(f"{table.sql}.{quote(name)} cannot be dropped online", accepted)
    _refuse(table, reasons)
    for child in table.children:
        if name in child.parent_columns:
            reasons.add(f"the foreign key {quote(child.name)} of {child.schema}.{child.table} points at it")
    for constraint in table.constraints:
        if constraint.kind == "p" and name in constraint.columns:
            reasons.add(f"it is part of the primary key {quote(constraint.name)}")
    for dependant in table.using(name):
        if dependant.kind == "generated column":
            reasons.add(f"the generated column {quote(dependant.name)} is made from it")
    if table.replica_identity == "i":
        reasons.add(f"{table.sql} has a replica identity index: set another first", accept="replica-identity")
    reasons.check()
    target = f"alter table {table.sql} alter column {quote(name)}"
    demanded = column.not_null and column.default is None and not column.identity
    parents = [quoted(*c.parent) for c in table.constraints if c.kind == "f" and name in c.columns and c.parent]
    shared = [
        f"{what} {quote(item.name)} goes with it and holds other columns too"
        for what, items in (("index", table.indexes), ("statistics", table.statistics))
        for item in items
        if name in (used := getattr(item, "uses", None) or getattr(item, "columns", ())) and len(used) > 1
    ]
    expand = transaction(
        Line(f"{target} drop not null", "the new application does not know the column and gives it no value")
        if demanded
        else Line(f"comment on column {table.sql}.{quote(name)} is {_marked(column.comment)}")
    )
    return Design(
        id=f"{table.name}-{name}-dropped",
        kind=DROP_COLUMN,
        title=f"drop {table.name}.{name}",
        schema=table.schema,
        table=table.name,
        old=(name,),
        new=(),
        expand=(expand,),
        undo_expand=_demanded_again(table, name)
        if demanded
        else (transaction(Line(f"comment on column {table.sql}.{quote(name)} is {_comment(column.comment)}")),),
        contract=(
            transaction(
                _lock(table.sql, parents),
                Line(f"alter table {table.sql} drop column if exists {quote(name)}", "its values are gone for good"),
            ),
        ),
        final=f"the values of {table.sql}.{quote(name)} are gone with the column",
        story=(f"The new application does not use {name}; when the old one has gone, contract takes it away.",),
        notes=(*copies.dependants(table, [name]), *shared),
        lost=tuple(
            f"index {quoted(table.schema, i.name)}" for i in table.indexes if name in i.uses and len(i.uses) > 1
        ),
    )


def drop_table(table: Table, accepted: Sequence[str]) -> Design:
    """Take a table away: foreign keys that point at it first, each in a transaction of its own."""
    reasons = Refusals(f"{table.sql} cannot be dropped online", accepted)
    _refuse(table, reasons)
    reasons.check()
    children = [c for c in table.children if (c.schema, c.table) != (table.schema, table.name)]
    expand: list[Block] = []
    undo: list[Block] = []
    for child in children:
        on = quoted(child.schema, child.table)
        drop = f"alter table {on} drop constraint if exists {quote(child.name)}"
        plain = child.definition.removesuffix(" NOT VALID")
        add = f"alter table {on} add constraint {quote(child.name)} {plain} not valid"
        expand.append(transaction(_lock(on, [table.sql]), Line(drop, "one at a time: it locks both tables")))
        undo.append(transaction(Line(drop), Line(add)))
        if child.validated:
            undo.append(alone(f"alter table {on} validate constraint {quote(child.name)}"))
    if not expand:
        expand = [transaction(Line(f"comment on table {table.sql} is {_marked(table.comment)}"))]
        undo = [transaction(Line(f"comment on table {table.sql} is {_comment(table.comment)}"))]
    parents = [quoted(*c.parent) for c in table.constraints if c.kind == "f" and c.parent]
    contract: list[Block] = []
    for constraint in table.constraints:
        if constraint.kind == "f" and constraint.parent not in (None, (table.schema, table.name)):
            drop = f"alter table {table.sql} drop constraint if exists {quote(constraint.name)}"
            why = "before the table, so that its parent is locked for this alone"
            contract.append(transaction(_lock(table.sql, [quoted(*(constraint.parent or ("", "")))]), Line(drop, why)))
    contract.append(transaction(Line(f"drop table if exists {table.sql}", "its rows are gone for good")))
    del parents
    views = [d for d in table.dependants if d.kind in ("view", "materialized view")]
    return Design(
        id=f"{table.name}-dropped",
        kind=DROP_TABLE,
        title=f"drop table {table.name}",
        schema=table.schema,
        table=table.name,
        old=(),
        new=(),
        expand=tuple(expand),
        undo_expand=tuple(undo),
        contract=tuple(contract),
        final=f"the rows of {table.sql} are gone with the table",
        story=("The new application does not use the table; when the old one has gone, contract takes it away.",),
        notes=tuple(dict.fromkeys(f"{d.kind} {d.name} reads it" for d in views)),
        reads_old=(f"{table.schema}.{table.name}",),
    )


def _refuse(table: Table, reasons: Refusals) -> None:
    if not table.owned:
        reasons.add(f"this role is not the owner {table.owner} of {table.sql}")
    if table.is_partition:
        reasons.add(f"{table.sql} is a partition: detach it first")
    if table.inherits:
        reasons.add(f"{table.sql} has inheritance")
    if table.publications:
        reasons.add(f"{table.sql} is published by {', '.join(table.publications)}", accept="publication")


def _demanded_again(table: Table, name: str) -> tuple[Block, ...]:
    """NOT NULL once more, by the way that does not scan under a lock; fails where the new application left nulls."""
    check = shorten("dbkit", table.name, name, "given")
    on = f"alter table {table.sql}"
    again = f"{on} drop constraint if exists {quote(check)}"
    add = f"{again}, add constraint {quote(check)} check ({quote(name)} is not null)"
    return (
        transaction(Line(f"{add} not valid", "rows written without it have to get a value first")),
        alone(f"{on} validate constraint {quote(check)}"),
        transaction(
            Line(f"{on} alter column {quote(name)} set not null", "the validated check proves it: no scan"),
            Line(f"{on} drop constraint {quote(check)}"),
        ),
    )


def _lock(table: str, others: Sequence[str]) -> Line:
    names = ", ".join(dict.fromkeys([table, *others]))
    return Line(f"lock table {names} in access exclusive mode", "all locks first: the wait is in one place")


def _comment(text: str | None) -> str:
    return literal(text) if text else "null"


def _marked(text: str | None) -> str:
    return literal(f"{text} (to be dropped)" if text else "to be dropped")
