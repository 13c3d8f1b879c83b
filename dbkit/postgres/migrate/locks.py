"""Which relation locks a statement takes, in the manual's words; ACCESS SHARE and ROW locks of DML included.

Follows AlterTableGetLockLevel and the table of research/migrations.md 2, measured on server 15.
"""

from __future__ import annotations

from collections.abc import Callable
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


def _with_leaves(schema: Schema, table: Name, mode: Mode) -> Locks:
    return [(table, mode), *((leaf, mode) for leaf in schema.leaves(table))]


def _create_table(action: a.CreateTable, schema: Schema, major: int) -> Locks:
    if schema.holds(action):
        return []
    found: Locks = []
    constraints = [*action.constraints, *(c for column in action.columns for c in column.constraints)]
    found += [(c.parent, SRX) for c in constraints if c.parent is not None and c.parent != action.table]
    if action.partition_of is not None:
        found.append((action.partition_of, AX))
        above = schema.table(action.partition_of)
        if above is not None and above.default_partition is not None:
            found.append((above.default_partition, AX))
    found += [(p, SUX) for p in action.parents]
    return found


def _add_column(action: a.AddColumn, schema: Schema, major: int) -> Locks:
    found = _with_leaves(schema, action.table, AX)
    return found + [(c.parent, SRX) for c in action.column.constraints if c.parent is not None]


def _add_constraint(action: a.AddConstraint, schema: Schema, major: int) -> Locks:
    made = action.constraint
    if made.kind == "foreign":
        found: Locks = [(action.table, SRX)]
        return [*found, (made.parent, SRX)] if made.parent is not None else found
    return _with_leaves(schema, action.table, AX)


def _drop_constraint(action: a.DropConstraint, schema: Schema, major: int) -> Locks:
    table = schema.table(action.table)
    held = table.constraints.get(action.name) if table else None
    parent = held.constraint.parent if held is not None else None
    return [(action.table, AX), *([(parent, AX)] if parent is not None else [])]


def _validate(action: a.ValidateConstraint, schema: Schema, major: int) -> Locks:
    table = schema.table(action.table)
    held = table.constraints.get(action.name) if table else None
    parent = held.constraint.parent if held is not None else None
    return [(action.table, SUX), *([(parent, Mode.ROW_SHARE)] if parent is not None else [])]


def _drop(action: a.Drop, schema: Schema, major: int) -> Locks:
    found: Locks = []
    for name in action.names:
        if action.kind in ("table", "matview", "foreign table", "view", "sequence"):
            found.append((name, AX))
            found += _beside_dropped_table(schema, name)
        elif action.kind == "index":
            index = schema.index(name)
            if index is not None:
                found.append((index.table, SUX if action.concurrently else AX))
    if action.on is not None:
        found.append((action.on, AX))
    return found


def _beside_dropped_table(schema: Schema, name: Name) -> Locks:
    table = schema.table(name)
    if table is None:
        return []
    found: Locks = [(c.constraint.parent, AX) for c in table.foreign_keys() if c.constraint.parent is not None]
    found += [(other.name, AX) for other, _ in schema.referencing(name)]
    if table.partition_of is not None:
        found.append((table.partition_of, AX))
        above = schema.table(table.partition_of)
        if above is not None and above.default_partition is not None:
            found.append((above.default_partition, AX))
    return found


def _attach(action: a.AttachPartition, schema: Schema, major: int) -> Locks:
    above = schema.table(action.table)
    found: Locks = [(action.table, AX if major < 12 else SUX), (action.child, AX)]
    if above is not None and above.default_partition is not None:
        found.append((above.default_partition, AX))
    return found


def _detach(action: a.DetachPartition, schema: Schema, major: int) -> Locks:
    if action.concurrently:
        return [(action.table, SUX), (action.child, AX)]
    above = schema.table(action.table)
    found: Locks = [(action.table, AX), (action.child, AX)]
    if above is not None and above.default_partition is not None:
        found.append((above.default_partition, AX))
    return found


def _create_index(action: a.CreateIndex, schema: Schema, major: int) -> Locks:
    if action.concurrently:
        return [(action.table, SUX)]
    return [(action.table, S)] if action.only else _with_leaves(schema, action.table, S)


def _reindex(action: a.Reindex, schema: Schema, major: int) -> Locks:
    if action.kind == "table":
        return [(action.name, SUX if action.concurrently else S)]
    index = schema.index(action.name) if action.kind == "index" else None
    return [(index.table, SUX if action.concurrently else S)] if index is not None else []


def _truncate(action: a.Truncate, schema: Schema, major: int) -> Locks:
    found: Locks = []
    for table in action.tables:
        found += _with_leaves(schema, table, AX)
        if action.cascade:
            found += [(other.name, AX) for other, _ in schema.referencing(table)]
    return found


def _domain(action: a.AlterDomain, schema: Schema, major: int) -> Locks:
    scans = action.verb in ("set-not-null", "validate") or (
        action.verb == "add-constraint" and not (action.constraint and action.constraint.not_valid)
    )
    return [(t.name, S) for t in schema.tables_using(action.name)] if scans else []


def _rename(action: a.Rename, schema: Schema, major: int) -> Locks:
    if action.kind == "index":
        index = schema.index(action.table)
        return [(index.table, SUX if major >= 12 else AX)] if index is not None else []
    relations = ("table", "column", "constraint", "matview", "view", "sequence", "trigger", "rule", "policy")
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
    a.ColumnSetting: lambda x, s, m: [(x.table, AX)],
    a.Inherit: lambda x, s, m: [(x.table, AX), (x.parent, SUX)],
    a.ToggleTrigger: lambda x, s, m: [(x.table, AX if x.rule else SRX)],
    a.CreateTrigger: lambda x, s, m: [(x.table, SRX), *([(x.constraint_on, SRX)] if x.constraint_on else [])],
    a.SetTablespace: lambda x, s, m: [(x.table, AX)] if x.kind == "table" else [],
    a.SetSchema: lambda x, s, m: [(x.table, AX)] if x.kind in ("table", "view", "matview", "sequence") else [],
    a.Refresh: lambda x, s, m: [(x.view, X if x.concurrently else AX)],
    a.Vacuum: lambda x, s, m: [(t, AX if x.full else SUX) for t in x.tables],
    a.Cluster: lambda x, s, m: [(x.table, AX)] if x.table is not None else [],
    a.LockTable: lambda x, s, m: [(t, Mode(x.mode)) for t in x.tables],
    a.CreateView: lambda x, s, m: [(x.name, AX)] if x.replace else [],
    a.Dml: lambda x, s, m: [(x.table, Mode.ROW_EXCLUSIVE)],
    a.Query: lambda x, s, m: [(t, Mode.ACCESS_SHARE) for t in x.tables],
}
