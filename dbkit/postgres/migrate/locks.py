"""Which relation locks a statement takes, in the manual's words; ACCESS SHARE and ROW locks of DML included.

Follows AlterTableGetLockLevel and the table of research/migrations.md 2, measured on server 15.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.lock_drops import drop, drop_column, drop_constraint, truncate
from dbkit.postgres.migrate.lock_mode import AX, SRX, SUX, Locks, Mode, S, X
from dbkit.postgres.migrate.lock_reach import default_partition, key_ends, other_default, parents, several, tree
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.schema import Schema


def locks(action: a.Action, schema: Schema, major: int) -> Locks:
    """The table locks an action takes and holds to the end of its transaction."""
    taker = _TAKERS.get(type(action))
    if taker is not None:
        return taker(action, schema, major)
    if isinstance(action, a.OnTable):
        return [(action.table, AX)]
    return []


def _create_table(action: a.CreateTable, schema: Schema, major: int) -> Locks:
    if schema.holds(action):
        return []
    found = parents(
        [*action.constraints, *(c for column in action.columns for c in column.constraints)], action.table, schema
    )
    if action.partition_of is not None:
        found.append((action.partition_of, AX))
        above = schema.table(action.partition_of)
        if above is not None:
            found += parents((c.constraint for c in above.foreign_keys()), action.table, schema)
            found += default_partition(schema, action.partition_of)
    found += [(p, SUX) for p in action.parents]
    return found


def _add_column(action: a.AddColumn, schema: Schema, major: int) -> Locks:
    if schema.holds(action):
        return [(action.table, AX)]
    return [*tree(schema, action, AX), *parents(action.column.constraints, action.table, schema)]


def _add_constraint(action: a.AddConstraint, schema: Schema, major: int) -> Locks:
    made = action.constraint
    if made.kind == "foreign":
        return [*tree(schema, action, SRX, heirs=False), *parents((made,), action.table, schema)]
    if made.kind in ("unique", "primary"):
        grows = made.kind == "primary" and _makes_not_null(made, action.table, schema)
        leaves = () if action.only else schema.below(action.table, heirs=False)
        inner = AX if grows or (made.kind == "primary" and major >= 18) else S
        found = [(action.table, AX), *((name, inner) for name in leaves)]
        return [*found, *tree(schema, action, AX)] if not leaves and (grows or major >= 18) else found
    if made.no_inherit and major < 18:
        return [(action.table, AX)]
    return tree(schema, action, AX, heirs=made.kind != "exclude" or major >= 18)


def _makes_not_null(made: a.Constraint, table: Name, schema: Schema) -> bool:
    held = schema.table(table)
    columns = [held.column(c) for c in made.columns] if held is not None else []
    return not columns or any(c is None or not c.not_null for c in columns)


def _alter_type(action: a.AlterType, schema: Schema, major: int) -> Locks:
    return [*tree(schema, action, AX), *key_ends(schema, action.table, action.column)]


def _alter_constraint(action: a.AlterConstraint, schema: Schema, major: int) -> Locks:
    table = schema.table(action.table)
    held = table.constraints.get(action.name) if table else None
    parent = held.constraint.parent if held is not None else None
    found = tree(schema, action, AX, heirs=False)
    return [*found, *([(parent, SRX if action.enforced else AX)] if parent is not None and action.enforcement else [])]


def _validate(action: a.ValidateConstraint, schema: Schema, major: int) -> Locks:
    table = schema.table(action.table)
    held = table.constraints.get(action.name) if table else None
    if held is None:
        return [(action.table, SUX)]
    if held.validated:
        return [(action.table, SUX)]
    parent = held.constraint.parent
    return [*tree(schema, action, SUX), *([(parent, Mode.ROW_SHARE)] if parent is not None else [])]


def _attach(action: a.AttachPartition, schema: Schema, major: int) -> Locks:
    child = [(name, AX) for name in (action.child, *schema.below(action.child))]
    return [(action.table, AX if major < 12 else SUX), *child, *default_partition(schema, action.table)]


def _detach(action: a.DetachPartition, schema: Schema, major: int) -> Locks:
    if action.concurrently:
        return [(action.table, SUX), (action.child, AX)]
    child = schema.table(action.child)
    keys = parents((c.constraint for c in child.foreign_keys()) if child is not None else (), action.child, schema)
    return [(action.table, AX), (action.child, AX), *other_default(schema, action.table, action.child), *keys]


def _column_setting(action: a.ColumnSetting, schema: Schema, major: int) -> Locks:
    if action.what == "SET COMPRESSION":
        return [(action.table, AX)]
    return tree(schema, action, AX, heirs="IDENTITY" not in action.what)


def _set_not_null(action: a.SetNotNull, schema: Schema, major: int) -> Locks:
    table = schema.table(action.table)
    column = table.column(action.column) if table is not None else None
    done = major >= 18 and column is not None and column.not_null
    return [(action.table, AX)] if done else tree(schema, action, AX)


def _toggle(action: a.ToggleTrigger, schema: Schema, major: int) -> Locks:
    if action.rule:
        return [(action.table, AX)]
    return tree(schema, action, SRX, heirs=False)


def _create_index(action: a.CreateIndex, schema: Schema, major: int) -> Locks:
    if action.concurrently:
        return [(action.table, SUX)]
    return tree(schema, action, S, heirs=False)


def _reindex(action: a.Reindex, schema: Schema, major: int) -> Locks:
    mode = SUX if action.concurrently else S
    if action.kind == "schema":
        return [(table.name, mode) for key, table in schema.tables.items() if key[0] == action.name.name]
    index = schema.index(action.name) if action.kind == "index" else None
    table = action.name if action.kind == "table" else index.table if index is not None else None
    return [(name, mode) for name in (table, *schema.below(table, heirs=False))] if table is not None else []


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
        return tree(schema, action, AX, heirs=action.kind != "trigger")
    relations = ("table", "matview", "view", "sequence", "rule", "policy")
    return [(action.table, AX)] if action.kind in relations else []


_TAKERS: Final[dict[type[a.Action], Callable[[Any, Schema, int], Locks]]] = {
    a.CreateTable: _create_table,
    a.AddColumn: _add_column,
    a.AddConstraint: _add_constraint,
    a.DropConstraint: drop_constraint,
    a.ValidateConstraint: _validate,
    a.Drop: drop,
    a.AttachPartition: _attach,
    a.DetachPartition: _detach,
    a.CreateIndex: _create_index,
    a.Reindex: _reindex,
    a.Truncate: truncate,
    a.AlterDomain: _domain,
    a.Rename: _rename,
    a.OtherAlter: lambda x, s, m: [(x.table, SUX if x.light else AX)],
    a.ColumnSetting: _column_setting,
    a.AlterType: _alter_type,
    a.DropColumn: drop_column,
    a.SetDefault: lambda x, s, m: tree(s, x, AX),
    a.SetNotNull: _set_not_null,
    a.DropNotNull: lambda x, s, m: tree(s, x, AX),
    a.AlterConstraint: _alter_constraint,
    a.Inherit: lambda x, s, m: [(x.table, AX), (x.parent, SUX)],
    a.ToggleTrigger: _toggle,
    a.CreateTrigger: lambda x, s, m: tree(s, x, SRX, heirs=False),
    a.SetTablespace: lambda x, s, m: [(x.table, AX)] if x.kind in ("table", "matview") else [],
    a.SetSchema: lambda x, s, m: [(x.table, AX)] if x.kind in ("table", "view", "matview", "sequence") else [],
    a.Refresh: lambda x, s, m: [(x.view, X if x.concurrently else AX)],
    a.Vacuum: lambda x, s, m: [
        (name, AX if x.full else SUX) for t in x.tables for name in (t, *s.below(t, heirs=False))
    ],
    a.Cluster: lambda x, s, m: [(x.table, AX)] if x.table is not None else [],
    a.LockTable: lambda x, s, m: several(s, x.tables, x.only, Mode(x.mode)),
    a.CreateView: lambda x, s, m: [(x.name, AX)] if x.replace else [],
    a.Dml: lambda x, s, m: [(x.table, Mode.ROW_EXCLUSIVE)],
    a.Query: lambda x, s, m: [(t, Mode.ACCESS_SHARE) for t in x.tables],
}
