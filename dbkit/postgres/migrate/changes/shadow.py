"""Another type under the same name: a shadow column that follows the old one, and a short transaction that swaps them.

The application never sees the shadow. The swap takes primary keys, identity and serial columns, and the foreign keys
that point at them: every column that must change with it is found from the catalogue, parents before children
(research/migrations.md 7.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.changes import copies, facts, words
from dbkit.postgres.migrate.changes.copies import Copies
from dbkit.postgres.migrate.changes.design import Block, Design, Line, Refusals, alone, shorten, transaction
from dbkit.postgres.migrate.changes.dualwrite import Pair
from dbkit.postgres.migrate.changes.facts import Column, Constraint, Table
from dbkit.postgres.migrate.names import literal

FINAL = "the old column is gone, and what the new one holds may not fit into it: make a new change instead"


@dataclass
class Part:
    """One table with its columns that change."""

    table: Table
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Column to its shadow."""
    pair: Pair = field(init=False)
    copied: Copies = field(init=False)

    @property
    def changing(self) -> list[Column]:
        return [self.table.column(c) for c in self.columns]

    def unique_keys(self) -> list[Constraint]:
        """Primary keys and unique constraints that hold a changing column."""
        return [c for c in self.table.constraints if c.kind in "pu" and set(c.columns) & set(self.columns)]


def design(
    connection: Connection, table: Table, column: Column, type_: str, forward: str, default: str | None,
    reasons: Refusals,
) -> Design:  # fmt: skip
    """The swap of one column and of all that point at it."""
    parts = _closure(connection, table, column)
    for part in parts:
        _refuse(part, reasons)
    if len(parts) > 1 and forward != f"{quote(column.name)}::{type_}":
        reasons.add("columns of other tables point at it, so that --using has no one meaning")
    reasons.check()
    first = parts[0]
    for part in parts:
        expressions = {s: f"{quote(c)}::{type_}" for c, s in part.columns.items()}
        if part is first:
            expressions[part.columns[column.name]] = forward
        required = tuple(part.columns[c.name] for c in part.changing if c.not_null)
        part.pair = Pair(part.table.schema, part.table.name, expressions, {}, required, next(iter(part.columns)))
        part.copied = copies.of(_without_keys(part, parts), part.columns, keep=True)
    tables = [p.table.name for p in parts[1:]]
    also = f" and {len(tables)} that point at it" if tables else ""
    return Design(
        id=f"{table.name}-{column.name}-{words.slug(type_)}",
        kind="change-type",
        title=f"change {table.name}.{column.name} to {type_}",
        schema=table.schema,
        table=table.name,
        old=(),
        new=(),
        expand=tuple(b for p in parts for b in _expand(p, type_)),
        undo_expand=tuple(_undo(p) for p in reversed(parts)),
        contract=_contract(connection, parts, {first.table.oid: {column.name: default}}),
        fills=tuple(p.pair.fill() for p in parts),
        final=FINAL,
        story=(
            f"A shadow of {column.name}{also} is kept equal by a trigger; the application does not see it.",
            "contract swaps them in one short transaction. A prepared statement that returns the column fails then,",
            "until it is prepared again (0A000); in `select *` and inserts without a list the column moves to the end.",
        ),
        notes=tuple(n for p in parts for n in copies.dependants(p.table, list(p.columns))),
    )


def _closure(connection: Connection, table: Table, column: Column) -> list[Part]:
    """The column and all that point at it, through any number of tables; a parent before its children."""
    parts = {table.oid: Part(table)}
    pending = [(table.oid, column.name)]
    while pending:
        oid, name = pending.pop(0)
        part = parts[oid]
        if name in part.columns:
            continue
        part.columns[name] = shorten(name, "_new")
        for child in part.table.children:
            if name not in child.parent_columns:
                continue
            query = "select to_regclass(%s)::oid::bigint as oid"
            found = fetch(connection, query, [quoted(child.schema, child.table)])[0]["oid"]
            if found not in parts:
                parts[found] = Part(facts.of_oid(connection, found))
            pending.append((found, child.columns[child.parent_columns.index(name)]))
    return list(parts.values())


def _refuse(part: Part, reasons: Refusals) -> None:
    table = part.table
    copies.refuse(table, [], reasons)
    if table.kind == "p":
        reasons.add(f"{table.sql} is partitioned: a key cannot be swapped there")
    if table.replica_identity == "i":
        reasons.add(f"{table.sql} has a replica identity index")
    for column in part.changing:
        if column.generated is not None:
            reasons.add(f"{table.sql}.{quote(column.name)} is a generated column")
        if table.has(part.columns[column.name]):
            reasons.add(f"{table.sql} has a column {quote(part.columns[column.name])} already")
        reasons_of_generated = [d.name for d in table.using(column.name) if d.kind == "generated column"]
        for name in reasons_of_generated:
            reasons.add(f"the generated column {quote(name)} is made from {table.sql}.{quote(column.name)}")
    for constraint in table.constraints:
        if constraint.kind == "x" and set(constraint.columns) & set(part.columns):
            reasons.add(f"the exclusion constraint {quote(constraint.name)} of {table.sql} holds the column")


def _without_keys(part: Part, parts: list[Part]) -> Table:
    """The table without the foreign keys that change on both sides: those are made after the parents are filled."""
    from dataclasses import replace

    both = {c.name for c in _foreign(part, parts)}
    return replace(part.table, constraints=tuple(c for c in part.table.constraints if c.name not in both))


def _foreign(part: Part, parts: list[Part]) -> list[Constraint]:
    """Foreign keys of a table whose parent's columns change too."""
    changing = {(p.table.schema, p.table.name): p for p in parts}
    return [
        c
        for c in part.table.constraints
        if c.kind == "f" and c.parent in changing and set(c.parent_columns) & set(changing[c.parent].columns)
    ]


def _expand(part: Part, type_: str) -> list[Block]:
    table = part.table
    added = [f"add column if not exists {quote(s)} {type_}" for s in part.columns.values()]
    add = Line(f"alter table {table.sql} " + ", ".join(added), "nullable and without default: nothing is rewritten")
    blocks = [transaction(add, *part.pair.install(), *part.copied.beside), *part.copied.online]
    for key in part.unique_keys():
        columns = ", ".join(quote(part.columns.get(c, c)) for c in key.columns)
        name = shorten(key.name, "new")
        why = "becomes the primary key" if key.kind == "p" else f"becomes the constraint {key.name}"
        nulls = " nulls not distinct" if "NULLS NOT DISTINCT" in key.definition else ""
        index = f"create unique index concurrently if not exists {quote(name)} on {table.sql} ({columns}){nulls}"
        blocks.append(alone(index, why))
    return blocks


def _undo(part: Part) -> Block:
    drops = ", ".join(f"drop column if exists {quote(s)}" for s in part.columns.values())
    lock = Line(f"lock table {part.table.sql} in access exclusive mode", "all that follows is metadata: milliseconds")
    return transaction(
        lock, *part.pair.remove(), *part.copied.undo,
        Line(f"alter table {part.table.sql} {drops}", "the old column was right at every moment"),
    )  # fmt: skip


def _contract(
    connection: Connection, parts: list[Part], defaults: Mapping[int, Mapping[str, str | None]]
) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for part in parts:
        blocks += [Block((part.pair.fill_at_once(),), outside=True), Block((part.pair.validate(),), outside=True)]
        blocks += part.copied.proofs
        shadows = ", ".join(quote(s) for s in part.columns.values())
        blocks.append(
            alone(f"analyze {part.table.sql} ({shadows})", "the planner knows the new column from its first use")
        )
    mapping = {(p.table.schema, p.table.name): p.columns for p in parts}
    for part in parts:
        for key in _foreign(part, parts):
            name = shorten(key.name, "new")
            parent = mapping[key.parent] if key.parent else {}
            add = words.constraint(part.table.sql, key.definition, part.columns, name, parent)
            drop = f"alter table {part.table.sql} drop constraint if exists {quote(name)}"
            why = "both foreign keys live side by side until the swap"
            blocks.append(transaction(Line(drop), Line(add, why)))
            if key.validated:
                blocks.append(alone(f"alter table {part.table.sql} validate constraint {quote(name)}"))
    blocks.append(transaction(*_swap(connection, parts, defaults)))
    return tuple(blocks)


def _swap(connection: Connection, parts: list[Part], defaults: Mapping[int, Mapping[str, str | None]]) -> list[Line]:
    others = [name for p in parts for name in p.copied.locks]
    names = ", ".join(dict.fromkeys([*(p.table.sql for p in reversed(parts)), *others]))
    lines = [Line(f"lock table {names} in access exclusive mode", "all that follows is metadata: milliseconds")]
    foreign = [(p, c) for p in parts for c in _foreign(p, parts)]
    lines += [Line(f"alter table {p.table.sql} drop constraint {quote(c.name)}") for p, c in foreign]
    for part in parts:
        lines += _swap_columns(connection, part, defaults.get(part.table.oid, {}))
    for part in parts:
        for key in part.unique_keys():
            word = "primary key" if key.kind == "p" else "unique"
            new = quote(shorten(key.name, "new"))
            lines.append(
                Line(f"alter table {part.table.sql} add constraint {quote(key.name)} {word} using index {new}")
            )
    for part, key in foreign:
        new = quote(shorten(key.name, "new"))
        lines.append(Line(f"alter table {part.table.sql} rename constraint {new} to {quote(key.name)}"))
    for part in parts:
        lines += part.copied.swap
    return lines


def _swap_columns(connection: Connection, part: Part, defaults: Mapping[str, str | None]) -> list[Line]:
    table = part.table
    lines = list(part.pair.remove())
    required = [c for c in part.changing if c.not_null]
    # The tie proves NOT NULL without a scan, so that has to come before the tie goes.
    proved = [f"alter column {quote(part.columns[c.name])} set not null" for c in required]
    if proved:
        lines.insert(0, Line(f"alter table {table.sql} " + ", ".join(proved), "the validated check proves it: no scan"))
    lines += [Line(f"alter table {table.sql} drop constraint {quote(k.name)}") for k in part.unique_keys()]
    for column in part.changing:
        new = part.columns[column.name]
        if column.identity:
            lines.append(_identity(connection, table, column, new))
        elif column.sequence and column.default and "nextval" in column.default:
            lines.append(Line(f"alter sequence {column.sequence} as bigint"))
            lines.append(Line(f"alter sequence {column.sequence} owned by {table.sql}.{quote(new)}"))
            lines.append(Line(f"alter table {table.sql} alter column {quote(new)} set default {column.default}"))
        elif (default := defaults.get(column.name, column.default)) is not None:
            lines.append(Line(f"alter table {table.sql} alter column {quote(new)} set default {default}"))
    lines += part.copied.before
    dropped = ", ".join(f"drop column {quote(c)}" for c in part.columns)
    lines.append(Line(f"alter table {table.sql} {dropped}"))
    lines += [Line(f"alter table {table.sql} rename column {quote(s)} to {quote(c)}") for c, s in part.columns.items()]
    return lines


def _identity(connection: Connection, table: Table, column: Column, new: str) -> Line:
    """An identity's sequence cannot be moved to another column: a new one of the same name starts where it stands."""
    row = fetch(
        connection,
        "select seqincrement as step, seqcache as cache, seqcycle as cycle from pg_catalog.pg_sequence "
        "where seqrelid = %s::regclass",
        [column.sequence],
    )[0]
    how = "always" if column.identity == "a" else "by default"
    extra = f" increment by {row['step']} cache {row['cache']}{' cycle' if row['cycle'] else ''}"
    add = (
        f"alter table {table.sql} alter column {quote(new)} add generated {how} as identity "
        f"(sequence name {column.sequence} start with %s{extra})"
    )
    body = (
        "do $$\ndeclare\n  next bigint;\nbegin\n"
        f"  select last_value + case when is_called then {row['step']} else 0 end into next from {column.sequence};\n"
        f"  alter table {table.sql} alter column {quote(column.name)} drop identity;\n"
        f"  execute format({literal(add)}, next);\nend\n$$"
    )
    return Line(body, "the sequence of an identity cannot be moved: a new one starts where the old one stands")
