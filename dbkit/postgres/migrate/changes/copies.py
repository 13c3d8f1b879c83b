"""What hangs on a column and goes over to the one that replaces it: indexes, constraints, grants, statistics, triggers.

A copy gets the name it will keep where the old name tells the old column; otherwise it gets a name of its own and takes
the old one over at contract, when that has come free.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.migrate.changes import rights, words
from dbkit.postgres.migrate.changes.design import MAX_NAME, Block, Line, Refusals, alone, shorten, transaction
from dbkit.postgres.migrate.changes.facts import Column, Constraint, Index, Statistics, Table, Trigger
from dbkit.postgres.migrate.names import literal


@dataclass
class Copies:
    """Lines for each place of the two revisions."""

    keep: bool = False
    beside: list[Line] = field(default_factory=list[Line])
    """In the transaction that adds the column."""
    online: list[Block] = field(default_factory=list[Block])
    """After it, without stopping anybody."""
    unique: list[Block] = field(default_factory=list[Block])
    """The same for unique indexes, which wait until the rows are filled; `online` holds none."""
    proofs: list[Block] = field(default_factory=list[Block])
    """Validation of the copied constraints, once the rows are filled."""
    before: list[Line] = field(default_factory=list[Line])
    """At contract, before the old column goes."""
    swap: list[Line] = field(default_factory=list[Line])
    """At contract, after the old column is gone."""
    undo: list[Line] = field(default_factory=list[Line])
    """At rollback, before the new column goes."""
    locks: list[str] = field(default_factory=list[str])
    """Other tables that contract locks: the parents of foreign keys."""


def of(table: Table, mapping: Mapping[str, str], *, keep: bool = False) -> Copies:
    """The copies for old columns and their new names; with `keep` they all end under the names they copy."""
    made = Copies(keep=keep)
    for old, new in mapping.items():
        made.beside += [
            *_attributes(table, table.column(old), new),
            rights.of_columns(table.sql, [old], table.sql, [new]),
        ]
    columns = set(mapping)
    for constraint in table.constraints:
        if constraint.kind in "cf" and columns & set(constraint.columns):
            _constraint(made, table, constraint, mapping)
    for index in table.indexes:
        if not index.constraint and index.valid and columns & set(index.uses):
            temporary, final = names(table, index.name, mapping, keep=keep)
            statement = words.index(index.definition, mapping, temporary, index.tablespace)
            made_of = made.unique if index.unique else made.online
            made_of += [*index_blocks(table, statement, temporary), *_told_of(table, index, temporary)]
            if temporary != final:
                made.swap.append(Line(f"alter index {quoted(table.schema, temporary)} rename to {quote(final)}"))
            if index.clustered:
                made.swap.append(Line(f"alter table {table.sql} cluster on {quote(final)}"))
    for item in table.statistics:
        if columns & set(item.columns):
            temporary, final = names(table, item.name, mapping, keep=keep)
            made.beside += _statistics(item, mapping, temporary)
            made.before.append(Line(f"drop statistics if exists {quoted(item.schema, item.name)}"))
            made.undo.append(Line(f"drop statistics if exists {quoted(item.schema, temporary)}"))
            if temporary != final:
                made.swap.append(Line(f"alter statistics {quoted(item.schema, temporary)} rename to {quote(final)}"))
    for trigger in table.triggers:
        if columns & set(trigger.uses):
            _trigger(made, table, trigger, mapping)
    return made


def refuse(table: Table, columns: Sequence[str], reasons: Refusals) -> None:
    """What no copy can be made of, for all changes that put a new column in place of an old one."""
    if table.kind not in ("r", "p"):
        reasons.add(f"{table.sql} is not a table")
    if not table.owned:
        reasons.add(f"this role is not the owner {table.owner} of {table.sql}")
    elif not table.may_create:
        reasons.add(f"this role may not create in schema {quote(table.schema)}")
    if table.is_partition:
        reasons.add(f"{table.sql} is a partition: change its partitioned table")
    if table.inherits:
        reasons.add(f"{table.sql} has inheritance: a trigger on a parent does not see the rows of its children")
    if table.publications:
        names = ", ".join(table.publications)
        reasons.add(f"{table.sql} is published by {names} and subscribers lack the new column", accept="publication")
    for trigger in table.triggers:
        if not ("!dbkit" < trigger.name < "~dbkit") and "dbkit_" not in trigger.name:
            reasons.add(f"trigger {quote(trigger.name)} sorts outside the dual-write triggers: rename it")
    for name in columns:
        _refuse_column(table, table.column(name), reasons)


def _refuse_column(table: Table, column: Column, reasons: Refusals) -> None:
    where = f"{table.sql}.{quote(column.name)}"
    if column.generated is not None:
        reasons.add(f"{where} is a generated column")
    if column.default is not None and not column.not_null:
        reasons.add(
            f"{where} has a default and may be null: an explicit null of the new application could not be told from an "
            "omitted value (drop the default or set it not null first)"
        )
    for dependant in table.using(column.name):
        if dependant.kind == "generated column":
            reasons.add(f"the generated column {quote(dependant.name)} is made from {where}")


def trigger_functions(table: Table, columns: Sequence[str]) -> tuple[str, ...]:
    """Functions of the table's triggers that name the column in their text, in words: no catalogue knows of that."""
    found = [
        f"the trigger function {trigger.function} names {quote(column)}"
        for trigger in table.triggers
        for column in columns
        if re.search(rf"(?<![\w$]){re.escape(column)}(?![\w$])", trigger.body)
    ]
    return tuple(dict.fromkeys(found))


def dependants(table: Table, columns: Sequence[str]) -> tuple[str, ...]:
    """Views, rules, policies and functions that rest on the old column, in words."""
    found = [d for name in columns for d in table.using(name) if d.kind != "generated column"]
    told = [f"{d.kind} {d.name} uses {quote(d.column or '')}" for d in found]
    return tuple(dict.fromkeys([*told, *trigger_functions(table, columns)]))


def _attributes(table: Table, column: Column, new: str) -> list[Line]:
    lines: list[Line] = []
    target = f"alter table {table.sql} alter column {quote(new)}"
    if column.statistics >= 0:
        lines.append(Line(f"{target} set statistics {column.statistics}"))
    storage = {"p": "plain", "e": "external", "m": "main", "x": "extended"}.get(column.storage)
    if storage:
        lines.append(Line(f"{target} set storage {storage}"))
    if column.comment:
        lines.append(Line(f"comment on column {table.sql}.{quote(new)} is {literal(column.comment)}"))
    if column.compression:
        lines.append(Line(f"{target} set compression {column.compression}"))
    if column.options:
        lines.append(Line(f"{target} set ({', '.join(column.options)})"))
    for provider, label in column.labels:
        on = f"column {table.sql}.{quote(new)}"
        lines.append(Line(f"security label for {quote(provider)} on {on} is {literal(label)}"))
    return lines


def _constraint(
    made: Copies, table: Table, constraint: Constraint, mapping: Mapping[str, str], *, own: bool = False
) -> None:
    temporary, final = (constraint.name,) * 2 if own else names(table, constraint.name, mapping, keep=made.keep)
    add = words.constraint(table.sql, constraint.definition, mapping, temporary)
    drop = f"alter table {table.sql} drop constraint if exists {quote(temporary)}"
    comment = (
        [Line(f"comment on constraint {quote(temporary)} on {table.sql} is {literal(constraint.comment)}")]
        if constraint.comment
        else []
    )
    if constraint.kind == "f" and constraint.parent is not None:
        parent = quoted(*constraint.parent)
        made.locks.append(parent)
        why = f"checks new writes against {parent}; existing rows are checked later, without stopping anybody"
        made.online.append(transaction(Line(drop), Line(add, why), *comment))
        made.undo.append(Line(drop))
    else:
        made.beside += [Line(add, "existing rows are checked later, without stopping anybody"), *comment]
    if constraint.validated:
        made.proofs.append(alone(f"alter table {table.sql} validate constraint {quote(temporary)}"))
    if temporary != final:
        made.swap.append(Line(f"alter table {table.sql} rename constraint {quote(temporary)} to {quote(final)}"))


def _statistics(item: Statistics, mapping: Mapping[str, str], name: str) -> list[Line]:
    place = quoted(item.schema, name)
    lines = [Line(words.statistics(item.definition, mapping, item.schema, name))]
    if item.target >= 0:
        lines.append(Line(f"alter statistics {place} set statistics {item.target}"))
    if item.comment:
        lines.append(Line(f"comment on statistics {place} is {literal(item.comment)}"))
    return lines


def _told_of(table: Table, index: Index, name: str, *, cluster: bool = False) -> list[Block]:
    """What is said of an index after it was made: its comment, its targets, that the table lies in its order."""
    place = quoted(table.schema, name)
    lines = [Line(f"alter index {place} alter column {n} set statistics {target}") for n, target in index.statistics]
    if index.comment:
        lines.append(Line(f"comment on index {place} is {literal(index.comment)}"))
    if index.clustered and cluster:
        lines.append(Line(f"alter table {table.sql} cluster on {quote(name)}"))
    return [transaction(*lines)] if lines else []


def index_blocks(table: Table, statement: str, name: str) -> list[Block]:
    """CREATE INDEX CONCURRENTLY under that name; on a partitioned table leaf by leaf."""
    if table.kind != "p":
        return [alone(statement)]
    # On a partitioned table: the parent's alone, each leaf's concurrently, then attached; the parent's becomes valid.
    parent = statement.replace(" CONCURRENTLY", "", 1).replace(f" ON {table.sql}", f" ON ONLY {table.sql}", 1)
    blocks = [transaction(Line(parent, "invalid until every partition has its own"))]
    for schema, leaf in table.leaves:
        own = shorten(leaf, name)
        place = f"EXISTS {quote(own)} ON {quoted(schema, leaf)}"
        blocks.append(alone(statement.replace(f"EXISTS {quote(name)} ON {table.sql}", place)))
        attach = f"alter index {quoted(table.schema, name)} attach partition {quoted(schema, own)}"
        blocks.append(transaction(Line(attach)))
    return blocks


def _trigger(made: Copies, table: Table, trigger: Trigger, mapping: Mapping[str, str], *, before: bool = True) -> None:
    new = tuple(mapping[c] for c in trigger.columns if c in mapping)
    places: list[list[Line]] = []
    if new or not before:  # a condition alone goes on as it is until the old column goes
        also = words.trigger_also_of(trigger.definition, new)
        made.beside.append(
            Line(also, "UPDATE OF the new column fires it too" if new else "its condition names the column")
        )
        made.undo.append(Line(words.trigger_also_of(trigger.definition, ())))
        places += [made.beside, made.undo]
    if before:
        final = words.trigger_only_of(trigger.definition, mapping)
        made.before.append(Line(final, "what names the old column would keep it from being dropped"))
        places.append(made.before)
    if trigger.enabled != "O":
        word = {"D": "disable", "R": "enable replica", "A": "enable always"}[trigger.enabled]
        for place in places:
            place.append(Line(f"alter table {table.sql} {word} trigger {quote(trigger.name)}"))


def originals(table: Table, mapping: Mapping[str, str], *, renames: bool = True) -> Copies:
    """The way back after contract: what hung on the old columns is made again as it was, under its own names.

    `before` gives the new columns' copies the names back that they had until contract.
    """
    made = Copies()
    if renames:
        made.before = [line for line in map(_renamed_back, of(table, mapping).swap) if line]
    same = {old: old for old in mapping}
    for old in mapping:
        made.beside += _attributes(table, table.column(old), old)
    columns = set(mapping)
    for constraint in table.constraints:
        if constraint.kind in "cf" and columns & set(constraint.columns):
            _constraint(made, table, constraint, same, own=True)
    for index in table.indexes:
        if not index.constraint and index.valid and columns & set(index.uses):
            statement = words.index(index.definition, same, index.name, index.tablespace)
            made.online += [
                *index_blocks(table, statement, index.name),
                *_told_of(table, index, index.name, cluster=True),
            ]
    for item in table.statistics:
        if columns & set(item.columns):
            made.beside += _statistics(item, same, item.name)
    for trigger in table.triggers:
        if columns & set(trigger.uses):
            _trigger(made, table, trigger, mapping, before=False)
    return made


_RENAME: Final = re.compile(r"(alter (?:index|statistics) )(.+\.)(\S+) rename to (\S+)")
_RENAME_CONSTRAINT: Final = re.compile(r"(.+ rename constraint )(\S+) to (\S+)")


def _renamed_back(line: Line) -> Line | None:
    """The rename turned round."""
    if found := _RENAME.fullmatch(line.sql):
        return Line(f"{found[1]}{found[2]}{found[4]} rename to {found[3]}")
    if found := _RENAME_CONSTRAINT.fullmatch(line.sql):
        return Line(f"{found[1]}{found[3]} to {found[2]}")
    return None


def names(table: Table, name: str, mapping: Mapping[str, str], *, keep: bool) -> tuple[str, str]:
    """The name a copy gets now, and the one it ends with: the old one where it does not tell the old column."""
    final = name
    for old, new in mapping.items() if not keep else ():
        # As a word of the name: `users_name_idx` tells `name`, `renames` does not.
        final = re.sub(rf"(?<![A-Za-z0-9]){re.escape(old)}(?![A-Za-z0-9])", lambda _, n=new: n, final)
    taken = {i.name for i in table.indexes} | {c.name for c in table.constraints} | {s.name for s in table.statistics}
    if len(final.encode()) > MAX_NAME or (final != name and final in taken):
        final = name
    if final != name:
        return final, final
    return shorten(name, *mapping.values()), name
