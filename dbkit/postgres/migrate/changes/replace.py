"""One column in place of another, under another name: what renaming a column and changing its type have in common."""

from __future__ import annotations

from typing import Final

from dbkit.postgres.catalog import quote
from dbkit.postgres.migrate.changes import copies, rights
from dbkit.postgres.migrate.changes.copies import Copies
from dbkit.postgres.migrate.changes.design import Block, Design, Line, Refusals, transaction
from dbkit.postgres.migrate.changes.dualwrite import Pair
from dbkit.postgres.migrate.changes.facts import Column, Table

_BOTH: Final = ": with a unique index on each of two columns, upserts by one fail on the other (23505)"


def keys(table: Table, column: Column) -> list[str]:
    """Why a second column cannot stand beside this one: it is part of a key, or others point at it. In sentences."""
    where = f"{table.sql}.{quote(column.name)}"
    found: list[str] = []
    if column.identity:
        found.append(f"{where} is an identity column")
    if column.name in table.partition_key:
        found.append(f"{where} is part of the partition key")
    for constraint in table.constraints:
        if constraint.kind in "pux" and column.name in constraint.columns:
            words = {"p": "primary key", "u": "unique constraint", "x": "exclusion constraint"}[constraint.kind]
            found.append(f"{where} is part of the {words} {quote(constraint.name)}{_BOTH}")
    unique = [i for i in table.indexes if i.unique and not i.constraint and column.name in i.uses]
    found += [f"{where} is part of the unique index {quote(i.name)}{_BOTH}" for i in unique]
    pointing = [c for c in table.children if column.name in c.parent_columns]
    found += [f"the foreign key {quote(c.name)} of {c.schema}.{c.table} points at {where}" for c in pointing]
    return found


def refuse_keys(table: Table, column: Column, reasons: Refusals) -> None:
    """Refuse a column of a key."""
    for why in keys(table, column):
        reasons.add(why)


def design(
    table: Table, column: Column, new: str, *, kind: str, type_: str, forward: str, backward: str, title: str,
    default: str | None, collation: str | None = None,
) -> Design:  # fmt: skip
    """The two revisions. `forward` is an expression over the old column, `backward` one over the new."""
    required = (new,) if column.not_null else ()
    pair = Pair(table.schema, table.name, {new: forward}, {column.name: backward}, required, new)
    copied = copies.of(table, {column.name: new})
    notes = copies.dependants(table, [column.name])
    return Design(
        id=f"{table.name}-{column.name}-{new}",
        kind=kind,
        title=title,
        schema=table.schema,
        table=table.name,
        old=(column.name,),
        new=(new,),
        expand=_expand(pair, copied, type_, collation),
        undo_expand=_undo_expand(pair, copied),
        contract=_contract(pair, copied, table, column, new, default),
        undo_contract=_undo_contract(pair, table, column, new),
        fills=(pair.fill(),),
        restore=(pair.reverse(_old_required(column)).fill(),),
        story=(
            f"{new} is added beside {column.name}; from then on every write of either reaches the other.",
            "Rows that nobody writes are filled by `dbkit migrate backfill`; `dbkit migrate verify` proves it of all.",
            f"An application that uses {new} may start after verify, and not before.",
        ),
        notes=notes,
    )


def _old_required(column: Column) -> tuple[str, ...]:
    return (column.name,) if column.not_null else ()


def _expand(pair: Pair, copied: Copies, type_: str, collation: str | None) -> tuple[Block, ...]:
    new = next(iter(pair.forward))
    collate = f" collate {collation}" if collation else ""
    add = Line(
        f"alter table {pair.sql} add column if not exists {quote(new)} {type_}{collate}",
        "no default before contract: it would hide whether a writer gave a value",
    )
    return (transaction(add, *pair.install(), *copied.beside), *copied.online, *copied.unique)


def _undo_expand(pair: Pair, copied: Copies) -> tuple[Block, ...]:
    new = next(iter(pair.forward))
    lines = [_lock(pair.sql, copied.locks), *pair.remove(), *copied.undo]
    drop = Line(
        f"alter table {pair.sql} drop column if exists {quote(new)}",
        "the old column was right at every moment: nothing has to be copied back",
    )
    return (transaction(*lines, drop),)


def _contract(
    pair: Pair, copied: Copies, table: Table, column: Column, new: str, default: str | None
) -> tuple[Block, ...]:
    swap = [_lock(pair.sql, copied.locks)]
    target = f"alter table {pair.sql} alter column {quote(new)}"
    if column.not_null:
        swap.append(Line(f"{target} set not null", "the validated check proves it: no scan"))
    swap += pair.remove()
    if default is not None:
        swap.append(Line(f"{target} set default {default}"))
    if column.sequence:
        swap.append(Line(f"alter sequence {column.sequence} owned by {pair.sql}.{quote(new)}"))
    swap += copied.before
    swap.append(Line(f"alter table {pair.sql} drop column if exists {quote(column.name)}"))
    swap += copied.swap
    return (
        Block((pair.fill_at_once(),), outside=True),
        Block((pair.validate(),), outside=True),
        *copied.proofs,
        transaction(*swap),
    )


def _undo_contract(pair: Pair, table: Table, column: Column, new: str) -> tuple[Block, ...]:
    """Back to two columns: the old one is made again and filled from the new one, which is right by now."""
    # Both must not be null: the tie proves it of the old column now, and of the new one when contract comes again.
    back = pair.reverse((*_old_required(column), *pair.required))
    copied = copies.originals(table, {column.name: new})
    collate = f" collate {column.collation}" if column.collation else ""
    add = Line(f"alter table {pair.sql} add column if not exists {quote(column.name)} {column.type}{collate}")
    granted = rights.of_columns(pair.sql, [new], pair.sql, [column.name])
    first = transaction(_lock(pair.sql, copied.locks), *copied.before, add, *back.install(), *copied.beside, granted)
    last: list[Line] = []
    target = f"alter table {pair.sql} alter column {quote(column.name)}"
    if column.not_null:
        last.append(Line(f"{target} set not null", "the validated check proves it: no scan"))
        last.append(Line(f"alter table {pair.sql} alter column {quote(new)} drop not null"))
    if column.default is not None:
        last.append(Line(f"alter table {pair.sql} alter column {quote(new)} drop default"))
        last.append(Line(f"{target} set default {column.default}"))
    if column.sequence:
        last.append(Line(f"alter sequence {column.sequence} owned by {pair.sql}.{quote(column.name)}"))
    # The default is the old column's again: from here on a value in the new one was given, and wins.
    last += pair.triggers()
    return (
        first,
        *copied.online,
        Block((back.fill_at_once(),), outside=True),
        Block((back.validate(),), outside=True),
        *copied.proofs,
        transaction(*last),
    )


def _lock(table: str, others: list[str]) -> Line:
    """All locks first, so that the wait is in one place and nothing is half done under it."""
    names = ", ".join(dict.fromkeys([table, *others]))
    return Line(f"lock table {names} in access exclusive mode", "all that follows is metadata: milliseconds")
