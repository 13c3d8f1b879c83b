"""Which other tables a lock reaches: partitions, heirs, both ends of foreign keys, what a view reads."""

from __future__ import annotations

from collections.abc import Iterable

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.lock_mode import AX, SRX, Locks, Mode
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.schema import Schema


def tree(schema: Schema, action: a.OnTable, mode: Mode, *, heirs: bool = True) -> Locks:
    """The table and, without ONLY, its partitions and child tables."""
    below = [] if action.only else schema.below(action.table, heirs=heirs)
    return [(action.table, mode), *((name, mode) for name in below)]


def several(schema: Schema, tables: tuple[Name, ...], only: tuple[Name, ...], mode: Mode) -> Locks:
    """Tables that one statement names, each with what is below it (but for ONLY) and what it reads as a view."""
    alone = {schema.key(t) for t in only}
    found: Locks = []
    for table in tables:
        found.append((table, mode))
        view = schema.dependants.get(("view", *schema.key(table)))
        found += [(Name(*key), mode) for key in (view.reads if view is not None else ())]
        found += [(name, mode) for name in (() if schema.key(table) in alone else schema.below(table))]
    return found


def parents(constraints: Iterable[a.Constraint], own: Name, schema: Schema) -> Locks:
    """Tables that foreign keys point at, which get a trigger."""
    found: Locks = []
    for made in constraints:
        if made.parent is not None and made.parent != own:
            found += [(name, SRX) for name in (made.parent, *schema.below(made.parent, heirs=False))]
    return found


def default_partition(schema: Schema, table: Name) -> Locks:
    """The default partition with its own partitions: whether its rows stay there is looked up in all of them."""
    above = schema.table(table)
    if above is None or above.default_partition is None:
        return []
    return [(name, AX) for name in (above.default_partition, *schema.below(above.default_partition))]


def key_ends(schema: Schema, table: Name, column: str) -> Locks:
    """Tables at the other end of the foreign keys that use a column: its new type makes the keys anew."""
    found: Locks = []
    held = schema.table(table)
    if held is not None:
        found += [
            (c.constraint.parent, AX)
            for c in held.foreign_keys()
            if c.constraint.parent is not None and column in c.constraint.columns
        ]
    for other, key in schema.referencing(table):
        if column in key.constraint.parent_columns or not key.constraint.parent_columns:
            found.append((other.name, AX))
    return found


def other_default(schema: Schema, parent: Name, name: Name) -> Locks:
    """The default partition beside one that goes: its bounds change."""
    above = schema.table(parent)
    default = above.default_partition if above is not None else None
    return [(default, AX)] if default is not None and schema.key(default) != schema.key(name) else []
