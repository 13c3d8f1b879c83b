"""Which relation locks a statement takes, in the manual's words; ACCESS SHARE and ROW locks of DML included.

Follows AlterTableGetLockLevel and the table of research/migrations.md 2, measured on server 15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any, Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.schema import Schema


class Mode(IntEnum):
    """Table lock modes, weakest first; the numbers are PostgreSQL's own."""

    ACCESS_SHARE = 1
    ROW_SHARE = 2
    ROW_EXCLUSIVE = 3
    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    EXCLUSIVE = 7
    ACCESS_EXCLUSIVE = 8

    @property
    def words(self) -> str:
        """As the manual writes it."""
        return self.name.replace("_", " ")

    @property
    def blocks(self) -> str:
        """What other sessions cannot do meanwhile."""
        if self is Mode.ACCESS_EXCLUSIVE:
            return "reads and writes"
        if self >= Mode.SHARE:
            return "writes"
        return (
            "other schema changes and VACUUM" if self is Mode.SHARE_UPDATE_EXCLUSIVE else "nothing of the application"
        )


Locks = list[tuple[Name, Mode]]
AX, SRX, S, SUX, X = (
    Mode.ACCESS_EXCLUSIVE,
    Mode.SHARE_ROW_EXCLUSIVE,
    Mode.SHARE,
    Mode.SHARE_UPDATE_EXCLUSIVE,
    Mode.EXCLUSIVE,
)


def locks(action: a.Action, schema: Schema, major: int) -> Locks:
    """The table locks an action takes and holds to the end of its transaction."""
    taker = _TAKERS.get(type(action))
    if taker is not None:
        return taker(action, schema, major)
    if isinstance(action, a.OnTable):
        return [(action.table, AX)]
    return []


def _tree(schema: Schema, action: a.OnTable, mode: Mode, *, heirs: bool = True) -> Locks:
    """The table and, without ONLY, its partitions and child tables."""
    below = [] if action.only else schema.below(action.table, heirs=heirs)
    return [(action.table, mode), *((name, mode) for name in below)]


def _several(schema: Schema, tables: tuple[Name, ...], only: tuple[Name, ...], mode: Mode) -> Locks:
    alone = {schema.key(t) for t in only}
    found: Locks = []
    for table in tables:
        found.append((table, mode))
        view = schema.dependants.get(("view", *schema.key(table)))
        found += [(Name(*key), mode) for key in (view.reads if view is not None else ())]
        found += [(name, mode) for name in (() if schema.key(table) in alone else schema.below(table))]
    return found


def _parents(constraints: Iterable[a.Constraint], own: Name, schema: Schema) -> Locks:
    """Tables that foreign keys point at, which get a trigger."""
    found: Locks = []
    for made in constraints:
        if made.parent is not None and made.parent != own:
            found += [(name, SRX) for name in (made.parent, *schema.below(made.parent, heirs=False))]
    return found


def _create_table(action: a.CreateTable, schema: Schema, major: int) -> Locks:
    if schema.holds(action):
        return []
    found = _parents(
        [*action.constraints, *(c for column in action.columns for c in column.constraints)], action.table, schema
    )
    if action.partition_of is not None:
        found.append((action.partition_of, AX))
        above = schema.table(action.partition_of)
        if above is not None:
            found += _parents((c.constraint for c in above.foreign_keys()), action.table, schema)
            found += _default_partition(schema, action.partition_of)
    found += [(p, SUX) for p in action.parents]
    return found


def _default_partition(schema: Schema, table: Name) -> Locks:
    """The default partition with its own partitions: whether its rows stay there is looked up in all of them."""
    above = schema.table(table)
    if above is None or above.default_partition is None:
        return []
    return [(name, AX) for name in (above.default_partition, *schema.below(above.default_partition))]


def _add_column(action: a.AddColumn, schema: Schema, major: int) -> Locks:
    if schema.holds(action):
        return [(action.table, AX)]
    return [*_tree(schema, action, AX), *_parents(action.column.constraints, action.table, schema)]


def _add_constraint(action: a.AddConstraint, schema: Schema, major: int) -> Locks:
    made = action.constraint
    if made.kind == "foreign":
        return [*_tree(schema, action, SRX, heirs=False), *_parents((made,), action.table, schema)]
    if made.kind in ("unique", "primary"):
        grows = made.kind == "primary" and _makes_not_null(made, action.table, schema)
        leaves = () if action.only else schema.below(action.table, heirs=False)
        inner = AX if grows or (made.kind == "primary" and major >= 18) else S
        found = [(action.table, AX), *((name, inner) for name in leaves)]
        return [*found, *_tree(schema, action, AX)] if not leaves and (grows or major >= 18) else found
    if made.no_inherit and major < 18:
        return [(action.table, AX)]
    return _tree(schema, action, AX, heirs=made.kind != "exclude" or major >= 18)


def _makes_not_null(made: a.Constraint, table: Name, schema: Schema) -> bool:
    held = schema.table(table)
    columns = [held.column(c) for c in made.columns] if held is not None else []
    return not columns or any(c is None or not c.not_null for c in columns)


def _key_ends(schema: Schema, table: Name, column: str) -> Locks:
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


def _alter_type(action: a.AlterType, schema: Schema, major: int) -> Locks:
    return [*_tree(schema, action, AX), *_key_ends(schema, action.table, action.column)]


def _drop_column(action: a.DropColumn, schema: Schema, major: int) -> Locks:
    table = schema.table(action.table)
    if action.if_exists and table is not None and table.complete and action.column not in table.columns:
        return [(action.table, AX)]
    found = [*_tree(schema, action, AX), *_key_ends(schema, action.table, action.column)]
    if action.cascade:
        key = schema.key(action.table)
        found += [
            (Name(held[1], held[2]), AX)
            for held, d in schema.dependants.items()
            if held[0] == "view" and d.reads.get(key, frozenset[str]()) & {action.column, "*"}
        ]
    return found


def _drop_constraint(action: a.DropConstraint, schema: Schema, major: int) -> Locks:
    table = schema.table(action.table)
    held = table.constraints.get(action.name) if table else None
    if held is None:
        return _tree(schema, action, AX)
    parent = held.constraint.parent
    found = _tree(schema, action, AX, heirs=held.constraint.kind in ("check", "notnull"))
    if action.cascade and held.constraint.kind in ("unique", "primary"):
        columns = set(held.constraint.columns)
        found += [
            (other.name, AX)
            for other, key in schema.referencing(action.table)
            if set(key.constraint.parent_columns) in (columns, set[str]())
        ]
    return [*found, *([(parent, AX)] if parent is not None else [])]


def _alter_constraint(action: a.AlterConstraint, schema: Schema, major: int) -> Locks:
    table = schema.table(action.table)
    held = table.constraints.get(action.name) if table else None
    parent = held.constraint.parent if held is not None else None
    found = _tree(schema, action, AX, heirs=False)
    return [*found, *([(parent, SRX if action.enforced else AX)] if parent is not None and action.enforcement else [])]


def _validate(action: a.ValidateConstraint, schema: Schema, major: int) -> Locks:
    table = schema.table(action.table)
    held = table.constraints.get(action.name) if table else None
    if held is None:
        return [(action.table, SUX)]
    if held.validated:
        return [(action.table, SUX)]
    parent = held.constraint.parent
    return [*_tree(schema, action, SUX), *([(parent, Mode.ROW_SHARE)] if parent is not None else [])]


def _drop(action: a.Drop, schema: Schema, major: int) -> Locks:
    found: Locks = []
    for name in action.names:
        if action.kind in ("table", "matview", "foreign table", "view", "sequence"):
            found += _dropped_table(schema, name, cascade=action.cascade)
        elif action.kind == "index":
            index = schema.index(name)
            if index is not None:
                below = () if action.concurrently else schema.below(index.table, heirs=False)
                found += [(t, SUX if action.concurrently else AX) for t in (index.table, *below)]
        elif action.kind == "schema" and action.cascade:
            for key, table in schema.tables.items():
                if key[0] == name.name:
                    found += _dropped_table(schema, table.name, cascade=True)
        elif action.kind in ("type", "domain") and action.cascade:
            found += [(t.name, AX) for t in schema.tables_using(name)]
    if action.on is not None:
        found.append((action.on, AX))
    return found


def _dropped_table(schema: Schema, name: Name, *, cascade: bool) -> Locks:
    found: Locks = []
    for gone in (name, *schema.below(name, heirs=cascade)):
        found.append((gone, AX))
        found += _beside_dropped_table(schema, gone)
        if cascade:
            readers = (k for k, d in schema.dependants.items() if k[0] == "view" and schema.key(gone) in d.reads)
            found += [(Name(key[1], key[2]), AX) for key in readers]
    return found


def _beside_dropped_table(schema: Schema, name: Name) -> Locks:
    table = schema.table(name)
    if table is None:
        return []
    found: Locks = [
        (c.constraint.parent, AX)
        for c in table.foreign_keys()
        if c.constraint.parent is not None and not c.inherited  # an inherited key has no trigger there
    ]
    found += [(other.name, AX) for other, _ in schema.referencing(name)]
    if table.partition_of is not None:
        found.append((table.partition_of, AX))
        found += _other_default(schema, table.partition_of, name)
    return found


def _other_default(schema: Schema, parent: Name, name: Name) -> Locks:
    above = schema.table(parent)
    default = above.default_partition if above is not None else None
    return [(default, AX)] if default is not None and schema.key(default) != schema.key(name) else []


def _attach(action: a.AttachPartition, schema: Schema, major: int) -> Locks:
    child = [(name, AX) for name in (action.child, *schema.below(action.child))]
    return [(action.table, AX if major < 12 else SUX), *child, *_default_partition(schema, action.table)]


def _detach(action: a.DetachPartition, schema: Schema, major: int) -> Locks:
    if action.concurrently:
        return [(action.table, SUX), (action.child, AX)]
    child = schema.table(action.child)
    keys = _parents((c.constraint for c in child.foreign_keys()) if child is not None else (), action.child, schema)
    return [(action.table, AX), (action.child, AX), *_other_default(schema, action.table, action.child), *keys]


def _column_setting(action: a.ColumnSetting, schema: Schema, major: int) -> Locks:
    if action.what == "SET COMPRESSION":
        return [(action.table, AX)]
    return _tree(schema, action, AX, heirs="IDENTITY" not in action.what)


def _set_not_null(action: a.SetNotNull, schema: Schema, major: int) -> Locks:
    table = schema.table(action.table)
    column = table.column(action.column) if table is not None else None
    done = major >= 18 and column is not None and column.not_null
    return [(action.table, AX)] if done else _tree(schema, action, AX)


def _toggle(action: a.ToggleTrigger, schema: Schema, major: int) -> Locks:
    if action.rule:
        return [(action.table, AX)]
    return _tree(schema, action, SRX, heirs=False)


def _create_index(action: a.CreateIndex, schema: Schema, major: int) -> Locks:
    if action.concurrently:
        return [(action.table, SUX)]
    return _tree(schema, action, S, heirs=False)


def _reindex(action: a.Reindex, schema: Schema, major: int) -> Locks:
    mode = SUX if action.concurrently else S
    if action.kind == "schema":
        return [(table.name, mode) for key, table in schema.tables.items() if key[0] == action.name.name]
    index = schema.index(action.name) if action.kind == "index" else None
    table = action.name if action.kind == "table" else index.table if index is not None else None
    return [(name, mode) for name in (table, *schema.below(table, heirs=False))] if table is not None else []


def _truncate(action: a.Truncate, schema: Schema, major: int) -> Locks:
    found = _several(schema, action.tables, action.only, AX)
    waiting = [name for name, _ in found] if action.cascade else []
    seen = {schema.key(name) for name in waiting}
    while waiting:
        for other, _ in schema.referencing(waiting.pop()):
            for name in (other.name, *schema.below(other.name)):
                if schema.key(name) not in seen:
                    seen.add(schema.key(name))
                    waiting.append(name)
                    found.append((name, AX))
    return found


def _domain(action: a.AlterDomain, schema: Schema, major: int) -> Locks:
    scans = action.verb in ("set-not-null", "validate") or (
        action.verb == "add-constraint" and not (action.constraint and action.constraint.not_valid)
    )
    if action.verb == "validate":
        domain = schema.domains.get(schema.key(action.name))
        scans = domain is None or not domain.constraints.get(action.constraint_name, False)
    return [(t.name, S) for t in schema.tables_using(action.name)] if scans else []


def _rename(action: a.Rename, schema: Schema, major: int) -> Locks:
    if action.kind == "index":  # of the index alone, and from 12 on not even that stops anyone
        index = schema.index(action.table) if major < 12 else None
        return [(index.table, AX)] if index is not None else []
    if action.kind in ("column", "constraint", "trigger"):
        return _tree(schema, action, AX, heirs=action.kind != "trigger")
    relations = ("table", "matview", "view", "sequence", "rule", "policy")
    return [(action.table, AX)] if action.kind in relations else []


_TAKERS: Final[dict[type[a.Action], Callable[[Any, Schema, int], Locks]]] = {
    a.CreateTable: _create_table,
    a.AddColumn: _add_column,
    a.AddConstraint: _add_constraint,
    a.DropConstraint: _drop_constraint,
    a.ValidateConstraint: _validate,
    a.Drop: _drop,
    a.AttachPartition: _attach,
    a.DetachPartition: _detach,
    a.CreateIndex: _create_index,
    a.Reindex: _reindex,
    a.Truncate: _truncate,
    a.AlterDomain: _domain,
    a.Rename: _rename,
    a.OtherAlter: lambda x, s, m: [(x.table, SUX if x.light else AX)],
    a.ColumnSetting: _column_setting,
    a.AlterType: _alter_type,
    a.DropColumn: _drop_column,
    a.SetDefault: lambda x, s, m: _tree(s, x, AX),
    a.SetNotNull: _set_not_null,
    a.DropNotNull: lambda x, s, m: _tree(s, x, AX),
    a.AlterConstraint: _alter_constraint,
    a.Inherit: lambda x, s, m: [(x.table, AX), (x.parent, SUX)],
    a.ToggleTrigger: _toggle,
    a.CreateTrigger: lambda x, s, m: _tree(s, x, SRX, heirs=False),
    a.SetTablespace: lambda x, s, m: [(x.table, AX)] if x.kind in ("table", "matview") else [],
    a.SetSchema: lambda x, s, m: [(x.table, AX)] if x.kind in ("table", "view", "matview", "sequence") else [],
    a.Refresh: lambda x, s, m: [(x.view, X if x.concurrently else AX)],
    a.Vacuum: lambda x, s, m: [
        (name, AX if x.full else SUX) for t in x.tables for name in (t, *s.below(t, heirs=False))
    ],
    a.Cluster: lambda x, s, m: [(x.table, AX)] if x.table is not None else [],
    a.LockTable: lambda x, s, m: _several(s, x.tables, x.only, Mode(x.mode)),
    a.CreateView: lambda x, s, m: [(x.name, AX)] if x.replace else [],
    a.Dml: lambda x, s, m: [(x.table, Mode.ROW_EXCLUSIVE)],
    a.Query: lambda x, s, m: [(t, Mode.ACCESS_SHARE) for t in x.tables],
}
