"""The blocks of a swap: shadows that follow, what is built on them, and the short transaction that exchanges columns.

The same blocks go both ways: back, the shadow has the old type (research/migrations.md 7.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.changes import copies, words
from dbkit.postgres.migrate.changes.copies import Copies
from dbkit.postgres.migrate.changes.design import Block, Line, alone, shorten, transaction
from dbkit.postgres.migrate.changes.dualwrite import Pair
from dbkit.postgres.migrate.changes.facts import Column, Constraint, Table
from dbkit.postgres.migrate.names import literal


@dataclass
class Part:
    """One table with its columns that change, one way."""

    table: Table
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Column to its shadow."""
    types: dict[str, str] = field(default_factory=dict[str, str])
    """Column to the type its shadow has."""
    fits: dict[str, str] = field(default_factory=dict[str, str])
    """Column to what its values must meet on this way; held by a check until the swap."""
    pair: Pair = field(init=False)
    copied: Copies = field(init=False)

    def aim(self, expressions: Mapping[str, str], parts: Sequence[Part]) -> None:
        """Set how the shadows come about; `expressions` may leave out those that are plain casts."""
        made = {s: expressions.get(c, f"{quote(c)}::{self.types[c]}") for c, s in self.columns.items()}
        required = tuple(self.columns[c.name] for c in self.changing if c.not_null)
        self.pair = Pair(self.table.schema, self.table.name, made, {}, required, next(iter(self.columns)))
        self.copied = copies.of(_without_keys(self, parts), self.columns, keep=True)

    @property
    def changing(self) -> list[Column]:
        """The columns that change."""
        return [self.table.column(c) for c in self.columns]

    def unique_keys(self) -> list[Constraint]:
        """Primary keys and unique constraints that hold a changing column."""
        return [c for c in self.table.constraints if c.kind in "pu" and set(c.columns) & set(self.columns)]

    def not_nulls(self) -> dict[str, str]:
        """The names of NOT NULL constraints by changing column, where the server has such (18 and newer)."""
        return {c.columns[0]: c.name for c in self.table.constraints if c.kind == "n" and c.columns[0] in self.columns}

    @property
    def fence(self) -> str:
        """Name of the check that keeps values out which do not fit."""
        return shorten("dbkit", self.table.name, next(iter(self.columns)), "fits")


def _without_keys(part: Part, parts: Sequence[Part]) -> Table:
    """The table without the foreign keys that change on both sides: those are made after the parents are filled."""
    both = {c.name for c in _foreign(part, parts)}
    return replace(part.table, constraints=tuple(c for c in part.table.constraints if c.name not in both))


def _foreign(part: Part, parts: Sequence[Part]) -> list[Constraint]:
    """Foreign keys of a table whose parent's columns change too."""
    changing = {(p.table.schema, p.table.name): p for p in parts}
    return [
        c
        for c in part.table.constraints
        if c.kind == "f" and c.parent in changing and set(c.parent_columns) & set(changing[c.parent].columns)
    ]


def expand(part: Part) -> list[Block]:
    """The shadows of one table, and what is built on them."""
    table = part.table
    added = [f"add column if not exists {quote(s)} {part.types[c]}" for c, s in part.columns.items()]
    add = Line(f"alter table {table.sql} " + ", ".join(added), "nullable and without default: nothing is rewritten")
    blocks = [transaction(add, *part.pair.install(), *_fence(part), *part.copied.beside)]
    if part.fits:
        blocks.append(alone(f"alter table {table.sql} validate constraint {quote(part.fence)}"))
    blocks += part.copied.online
    return blocks


def _unique(part: Part) -> list[Block]:
    """The unique indexes of the shadows, once every row is filled: over a shadow that is not, any write of a row would
    change a key, and whoever inserts what points at that row would wait for it.
    """
    blocks = list(part.copied.unique)
    for key in part.unique_keys():
        columns = ", ".join(quote(part.columns.get(c, c)) for c in key.columns)
        name = shorten(key.name, "new")
        why = "becomes the primary key" if key.kind == "p" else f"becomes the constraint {key.name}"
        nulls = " nulls not distinct" if "NULLS NOT DISTINCT" in key.definition else ""
        index = f"create unique index concurrently if not exists {quote(name)} on {part.table.sql} ({columns}){nulls}"
        blocks.append(alone(index, why))
    return blocks


def _fence(part: Part) -> list[Line]:
    if not part.fits:
        return []
    drop = f"drop constraint if exists {quote(part.fence)}"
    add = f"add constraint {quote(part.fence)} check ({' and '.join(f'({f})' for f in part.fits.values())}) not valid"
    why = "the way back has begun: a value that does not fit is refused from now on"
    return [Line(f"alter table {part.table.sql}\n  {drop},\n  {add}", why)]


def undo(part: Part) -> Block:
    """The shadows of one table taken away."""
    drops = ", ".join(f"drop column if exists {quote(s)}" for s in part.columns.values())
    lock = Line(f"lock table {part.table.sql} in access exclusive mode", "all that follows is metadata: milliseconds")
    return transaction(
        lock, *part.pair.remove(), *part.copied.undo,
        Line(f"alter table {part.table.sql} {drops}", "the old column was right at every moment"),
    )  # fmt: skip


def undo_keys(parts: Sequence[Part]) -> list[Block]:
    """The foreign keys of the shadows taken away, which a contract that did not reach its swap has left."""
    why = "made by contract, and left where it was cut off"
    return [
        transaction(Line(f"alter table {p.table.sql} drop constraint if exists {quote(shorten(key.name, 'new'))}", why))
        for p in parts
        for key in _foreign(p, parts)
    ]


def contract(
    connection: Connection, parts: Sequence[Part], defaults: Mapping[int, Mapping[str, str | None]]
) -> tuple[Block, ...]:
    """Fill, prove, tie the foreign keys of the shadows, and swap. `defaults`: by table, where they change."""
    blocks: list[Block] = []
    for part in parts:
        blocks += [Block((part.pair.fill_at_once(),), outside=True), Block((part.pair.validate(),), outside=True)]
        blocks += [*part.copied.proofs, *_unique(part)]
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


def _swap(
    connection: Connection, parts: Sequence[Part], defaults: Mapping[int, Mapping[str, str | None]]
) -> list[Line]:
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
        serial = bool(column.sequence and column.default and "nextval" in column.default)
        if column.identity:
            lines.append(_identity(connection, part, column))
            continue
        if column.sequence:
            lines += [_serial(connection, part, column)] if serial else []
            lines.append(Line(f"alter sequence {column.sequence} owned by {table.sql}.{quote(new)}"))
        default = column.default if serial else defaults.get(column.name, column.default)
        if default is not None:
            lines.append(Line(f"alter table {table.sql} alter column {quote(new)} set default {default}"))
    if part.fits:
        lines.append(Line(f"alter table {table.sql} drop constraint {quote(part.fence)}"))
    lines += part.copied.before
    dropped = ", ".join(f"drop column {quote(c)}" for c in part.columns)
    lines.append(Line(f"alter table {table.sql} {dropped}"))
    lines += [Line(f"alter table {table.sql} rename column {quote(s)} to {quote(c)}") for c, s in part.columns.items()]
    lines += [_not_null(table, column, name) for column, name in part.not_nulls().items()]
    return lines


def _not_null(table: Table, column: str, name: str) -> Line:
    """The NOT NULL constraint that the server named after the shadow, under the name it had."""
    rename = f"alter table {table.sql.replace('%', '%%')} rename constraint %I to {quote(name).replace('%', '%%')}"
    body = (
        "do $$\ndeclare\n  made name;\nbegin\n"
        "  select c.conname into made\n  from pg_catalog.pg_constraint c\n"
        "  join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and c.conkey = array[a.attnum]\n"
        f"  where c.conrelid = {literal(table.sql)}::regclass and c.contype = 'n' and a.attname = {literal(column)};\n"
        f"  if made <> {literal(name)} then\n    execute format({literal(rename)}, made);\n  end if;\nend\n$$"
    )
    return Line(body, "from 18 on NOT NULL has a name, too")


def _identity(connection: Connection, part: Part, column: Column) -> Line:
    """An identity's sequence cannot be moved to another column: a new one of the same name starts where it stands."""
    row = _sequence(connection, column)
    how = "always" if column.identity == "a" else "by default"
    extra = f" increment by {row['step']} cache {row['cache']}{' cycle' if row['cycle'] else ''}"
    new, on = part.columns[column.name], f"alter table {part.table.sql} alter column"
    add = f"{on} {quote(new)} add generated {how} as identity (sequence name {column.sequence} start with %s{extra})"
    body = _next(part, column, row["step"]) + (
        f"  {on} {quote(column.name)} drop identity;\n  execute format({literal(add)}, next);\nend\n$$"
    )
    return Line(body, "the sequence of an identity cannot be moved: a new one starts where the old one stands")


def _serial(connection: Connection, part: Part, column: Column) -> Line:
    """The sequence of a serial column, as wide as the column will be."""
    row = _sequence(connection, column)
    if not part.fits:
        return Line(f"alter sequence {column.sequence} as bigint")
    alter = f"alter sequence {column.sequence} as {row['type']} restart with %s"
    return Line(_next(part, column, row["step"]) + f"  execute format({literal(alter)}, next);\nend\n$$")


def _next(part: Part, column: Column, step: int) -> str:
    """The beginning of a block that has the next value of a sequence in `next`.

    Back to a narrower type the sequence may stand beyond it, after rows that are gone: then it goes on behind the rows.
    """
    text = (
        "do $$\ndeclare\n  next bigint;\nbegin\n"
        f"  alter sequence {column.sequence} increment by {step};  -- nobody draws from it any more\n"
        f"  select last_value + case when is_called then {step} else 0 end into next from {column.sequence};\n"
    )
    most = {"smallint": 2**15 - 1, "integer": 2**31 - 1}.get(part.types[column.name]) if part.fits else None
    if most is None or step < 1:
        return text
    new = quote(part.columns[column.name])
    return text + (
        f"  if next > {most} then\n    select coalesce(max({new}), 0) + {step} into next from {part.table.sql};\n"
        "  end if;\n"
    )


def _sequence(connection: Connection, column: Column) -> Mapping[str, Any]:
    return fetch(
        connection,
        "select seqincrement as step, seqcache as cache, seqcycle as cycle, "
        "pg_catalog.format_type(seqtypid, null) as type from pg_catalog.pg_sequence where seqrelid = %s::regclass",
        [column.sequence],
    )[0]
