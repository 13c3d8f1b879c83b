"""Why the server would refuse a statement, as far as the known schema says; every reason was met on 15 or 18.

Only what is known speaks: a table of which parts are unknown refuses nothing that rests on those parts. What is missing
or there already is not judged, since a schema file may be older or newer than the migrations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.names import Name, quote
from dbkit.postgres.migrate.schema import Schema, Table

Beside = Sequence[a.Action]
"""All parts of the statement."""


def _inherits(schema: Schema, table: Table | None, column: str) -> bool:
    """Whether the column comes from a parent table."""
    if table is None:
        return False
    if table.partition_of is not None:
        above = schema.table(table.partition_of)
        return above is None or not above.complete or column in above.columns
    return any(column in parent.columns for parent in schema.above(table.name))


def _add_column(x: a.AddColumn, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    table = schema.table(x.table)
    if table is None:
        return
    if table.partition_of is not None:
        yield f"{x.table} is a partition: columns are added to {table.partition_of}"
    if table.of_type is not None:
        yield f"{x.table} is a typed table: attributes are added to type {table.of_type}"
    if x.only and schema.below(x.table):
        yield f"a column cannot be added to ONLY {x.table}, which has partitions or child tables"
    if any(c.kind == "primary" for c in x.column.constraints):
        yield from _second_key(x.table, table, beside)
    if x.column.identity and table.heirs:
        yield f"an identity column cannot be added to {x.table}, which has child tables"
    for made in x.column.constraints:
        yield from _foreign(made, x.table, schema, permanent=_permanent(table))


def _second_key(name: Name, table: Table, beside: Beside) -> Iterator[str]:
    held = table.primary_key()
    gone = {b.name for b in beside if isinstance(b, a.DropConstraint)}
    columns = {b.column for b in beside if isinstance(b, a.DropColumn)}
    if held is not None and held.name not in gone and not columns & set(held.constraint.columns):
        yield f"{name} has a primary key already: {held.name}"


def _drop_column(x: a.DropColumn, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    table = schema.table(x.table)
    if table is None or (x.if_exists and x.column not in table.columns):
        return
    if _inherits(schema, table, x.column):
        yield f"column {x.column} of {x.table} is inherited: it is dropped from the parent table"
    if table.of_type is not None:
        yield f"{x.table} is a typed table: attributes are dropped from type {table.of_type}"
    if x.only and table.partitions:
        yield f"a column cannot be dropped from ONLY {x.table}, which has partitions"


def _alter_type(x: a.AlterType, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    table = schema.table(x.table)
    if table is None:
        return
    if _inherits(schema, table, x.column):
        yield f"column {x.column} of {x.table} is inherited: its type is changed in the parent table"
    if table.of_type is not None:
        yield f"{x.table} is a typed table: types are changed in type {table.of_type}"
    if x.only and schema.below(x.table):
        yield f"the type of {x.column} cannot be changed in ONLY {x.table}, which has partitions or child tables"


def _drop_not_null(x: a.DropNotNull, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    table = schema.table(x.table)
    if table is None:
        return
    key = table.primary_key()
    gone = {b.name for b in beside if isinstance(b, a.DropConstraint)}
    column = table.column(x.column)
    if key is not None and x.column in key.constraint.columns and key.name not in gone:
        yield f"{x.column} is in the primary key of {x.table}"
    elif column is not None and column.identity:
        yield f"{x.column} of {x.table} is an identity column"
    elif table.partition_of is not None:
        above = schema.table(table.partition_of)
        held = above.column(x.column) if above is not None else None
        if held is not None and held.not_null:
            yield f"{x.column} is NOT NULL in {table.partition_of}, of which {x.table} is a partition"


def _set_default(x: a.SetDefault, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    table = schema.table(x.table)
    column = table.column(x.column) if table is not None else None
    if column is not None and column.identity:
        yield f"{x.column} of {x.table} is an identity column, which has no other default"
    elif column is not None and column.generated:
        yield f"{x.column} of {x.table} is a generated column, which has no default"


def _column_setting(x: a.ColumnSetting, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    table = schema.table(x.table)
    column = table.column(x.column) if table is not None else None
    if column is None or not x.what.endswith("ADD IDENTITY"):
        return
    sets = any(isinstance(b, a.SetNotNull) and b.column == x.column for b in beside)
    if column.not_null is False and not sets:
        yield f"{x.column} of {x.table} is nullable: an identity column has to be NOT NULL first"
    elif column.has_default and not any(isinstance(b, a.SetDefault) and b.column == x.column for b in beside):
        yield f"{x.column} of {x.table} has a default: an identity column cannot have one"


def _add_constraint(x: a.AddConstraint, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    made, table = x.constraint, schema.table(x.table)
    if table is None:
        return
    if made.kind == "primary":
        yield from _second_key(x.table, table, beside)
    if made.kind in ("unique", "primary", "exclude"):
        yield from _by_index(made, x.table, table, schema)
        yield from partition_key(made.kind, made.columns, made.reads, x.table, table, major)
    elif made.kind == "check":
        if made.no_inherit and table.partitioned:
            yield f"{x.table} is partitioned: a check with NO INHERIT would hold for no row"
        elif x.only and not made.no_inherit and schema.below(x.table):
            yield f"a check cannot be added to ONLY {x.table}, which has partitions or child tables, without NO INHERIT"
    elif made.kind == "foreign":
        yield from _foreign(made, x.table, schema, permanent=_permanent(table))


def _permanent(table: Table) -> bool:
    return table.unlogged is False and not table.temporary


def _by_index(made: a.Constraint, name: Name, table: Table, schema: Schema) -> Iterator[str]:
    if not made.index:
        return
    if table.partitioned:
        yield f"{name} is partitioned: its constraints cannot take over an index"
    index = schema.index(Name(name.schema, made.index))
    if index is None:
        return
    if index.constraint:
        yield f"index {made.index} belongs to constraint {index.constraint} already"
    elif not index.unique:
        yield f"index {made.index} is not unique"
    elif index.partial or "" in index.columns:
        yield f"index {made.index} has a condition or an expression, and no constraint can be made of it"


def partition_key(
    kind: str, columns: tuple[str, ...], reads: frozenset[str], name: Name, table: Table, major: int
) -> Iterator[str]:
    """What is unique over all partitions has to hold the columns that choose the partition."""
    key = table.partition_key
    if key is None:
        return
    missing = [p for p in key.parts if p not in columns]
    if kind == "exclude" and major < 17:
        yield f"{name} is partitioned: exclusion constraints exist there from 17 on"
    elif missing:
        what = {"unique": "a unique constraint", "primary": "a primary key", "exclude": "an exclusion"}.get(kind, kind)
        yield f"{what} of the partitioned table {name} has to hold its partition key: {', '.join(missing)} is missing"


def _foreign(made: a.Constraint, name: Name, schema: Schema, *, permanent: bool) -> Iterator[str]:
    parent = schema.table(made.parent) if made.parent is not None else None
    if parent is None or made.parent is None:
        return
    if permanent and parent.unlogged:
        yield f"{name} is a permanent table and cannot reference the unlogged table {made.parent}"
    if not parent.complete or parent.name == name:
        return
    keys = [
        set(c.constraint.columns) for c in parent.constraints.values() if c.constraint.kind in ("unique", "primary")
    ]
    keys += [set(i.columns) for i in schema.indexes_on(made.parent) if i.unique and not i.partial]
    wanted = set(made.parent_columns)
    if wanted and wanted not in keys:
        shown = ", ".join(made.parent_columns)
        yield f"{made.parent} has no unique constraint over ({shown}), which a foreign key needs"
    elif not wanted:
        key = parent.primary_key()
        if key is None:
            yield f"{made.parent} has no primary key, and the foreign key names no columns"
        elif made.columns and len(made.columns) != len(key.constraint.columns):
            shown = ", ".join(key.constraint.columns)
            yield f"the primary key of {made.parent} is ({shown}), which is another number of columns"


def _drop_constraint(x: a.DropConstraint, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    table = schema.table(x.table)
    held = table.constraints.get(x.name) if table is not None else None
    if table is None or held is None:
        return
    if held.inherited:
        yield f"constraint {x.name} of {x.table} is inherited: it is dropped from the parent table"
    elif x.only and table.partitions and held.constraint.kind == "check" and major < 18:
        yield f"constraint {x.name} cannot be dropped from ONLY {x.table}, which has partitions"
    elif held.constraint.kind in ("unique", "primary") and not x.cascade:
        gone = {(schema.key(b.table), b.name) for b in beside if isinstance(b, a.DropConstraint)}
        users = [(t, k) for t, k in key_users(schema, table, held.name) if (schema.key(t.name), k.name) not in gone]
        if users:
            yield f"foreign key {users[0][1].name} of {users[0][0].name} rests on {x.name}"


def key_users(schema: Schema, table: Table, name: str) -> Iterator[tuple[Table, Any]]:
    """Foreign keys that certainly rest on a unique constraint or primary key: no other holds the same columns."""
    columns = set(table.constraints[name].constraint.columns)
    same = [i for i in schema.indexes_on(table.name) if i.unique and set(i.columns) == columns]
    if len(same) > 1:
        return
    primary = table.primary_key()
    for other, key in schema.referencing(table.name):
        wanted = set(key.constraint.parent_columns) or (set(primary.constraint.columns) if primary else set())
        if wanted == columns and not key.inherited:
            yield other, key


def _rename(x: a.Rename, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    table = schema.table(x.table)
    if table is None:
        return
    if x.kind == "column":
        if _inherits(schema, table, x.old):
            yield f"column {x.old} of {x.table} is inherited: it is renamed in the parent table"
        elif x.only and schema.below(x.table):
            yield f"column {x.old} cannot be renamed in ONLY {x.table}, which has partitions or child tables"
    elif x.kind == "constraint":
        held = table.constraints.get(x.old)
        if held is not None and held.inherited and held.constraint.kind == "check":
            yield f"constraint {x.old} of {x.table} is inherited: it is renamed in the parent table"


def _on_partitioned(words: str, since: int = 0, until: int = 99) -> Callable[..., Iterator[str]]:
    def check(x: Any, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
        table = schema.table(x.table)
        if table is not None and table.partitioned and since <= major < until:
            yield f"{x.table} is partitioned and has no {words} of its own"

    return check


def _other(x: a.OtherAlter, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    table = schema.table(x.table)
    if table is None:
        return
    if table.partitioned and x.what == "SetRelOptions":
        yield f"{x.table} is partitioned and has no storage parameters of its own"
    elif table.partitioned and x.what in ("ClusterOn", "DropCluster"):
        yield f"{x.table} is partitioned: an index cannot be marked for CLUSTER there"


def _attach(x: a.AttachPartition, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    above, child = schema.table(x.table), schema.table(x.child)
    if schema.circular(x.table, x.child):
        yield f"{x.child} would be a partition of itself"
    if child is not None and child.partition_of is not None:
        yield f"{x.child} is a partition of {child.partition_of} already"
    yield from _default(x.default, x.table, above, schema)
    if above is None or child is None or not above.complete or not child.complete:
        return
    for name in [c for c in child.columns if c not in above.columns][:1]:
        yield f"{x.child} has a column {name} that {x.table} has not"
    for name, column in above.columns.items():
        own = child.column(name)
        if own is None:
            yield f"{x.child} has no column {name}"
        elif (major >= 18 and column.not_null and not own.not_null) or (column.not_null and own.not_null is False):
            yield f"{name} is NOT NULL in {x.table} and nullable in {x.child}"
        else:
            continue
        return


def _default(wanted: bool, name: Name, above: Table | None, schema: Schema) -> Iterator[str]:
    if not wanted or above is None:
        return
    if above.partition_key is not None and above.partition_key.strategy == "hash":
        yield f"{name} is partitioned by hash, where no default partition can be"
    elif above.default_partition is not None:
        yield f"{name} has a default partition already: {above.default_partition}"


def _detach(x: a.DetachPartition, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    above = schema.table(x.table)
    if x.concurrently and not x.finalize and above is not None and above.default_partition is not None:
        yield f"{x.table} has a default partition, {above.default_partition}: none can be detached concurrently"


def _inherit(x: a.Inherit, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    if x.add and schema.circular(x.parent, x.table):
        yield f"{x.table} would inherit from itself"
    for name in (x.table, x.parent):
        table = schema.table(name)
        if table is not None and (table.partition_of is not None or table.partitioned):
            yield f"{name} is partitioned or a partition: INHERIT and NO INHERIT are for other tables"
            return


def _create_table(x: a.CreateTable, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    if schema.holds(x):
        return
    if x.partition_of is not None:
        yield from _default(x.default_partition, x.partition_of, schema.table(x.partition_of), schema)
    own = [*x.constraints, *(c for column in x.columns for c in column.constraints)]
    if x.partition_key is not None:
        bare = Table(x.table, complete=True, partitioned=True, partition_key=x.partition_key)
        for made in own:
            if made.kind in ("unique", "primary", "exclude"):
                yield from partition_key(made.kind, made.columns, made.reads, x.table, bare, major)
    for made in own:
        if made.parent is not None and made.parent != x.table:
            yield from _foreign(made, x.table, schema, permanent=not (x.unlogged or x.temporary))


def _create_index(x: a.CreateIndex, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    table = schema.table(x.table)
    if table is not None and x.unique:
        yield from partition_key("a unique index", x.columns, x.reads, x.table, table, major)
    key = ("view", *schema.key(x.table))
    if table is None and key in schema.dependants:
        yield f"{quote(x.table.name)} is a view: only tables and materialized views have indexes"


def _refresh(x: a.Refresh, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    if not x.concurrently:
        return
    if not x.with_data:
        yield "CONCURRENTLY and WITH NO DATA exclude each other"
    view = schema.table(x.view)
    usable = any(i.unique and not i.partial and all(i.columns) for i in schema.indexes_on(x.view))
    if view is not None and view.kind == "matview" and not usable:
        yield f"{x.view} has no unique index on plain columns, which CONCURRENTLY needs"


CHECKS: Final[dict[type[a.Action], Callable[[Any, Schema, int, Beside], Iterator[str]]]] = {
    a.AddColumn: _add_column,
    a.DropColumn: _drop_column,
    a.AlterType: _alter_type,
    a.DropNotNull: _drop_not_null,
    a.SetDefault: _set_default,
    a.ColumnSetting: _column_setting,
    a.AddConstraint: _add_constraint,
    a.DropConstraint: _drop_constraint,
    a.Rename: _rename,
    a.SetLogged: _on_partitioned("rows to log", since=18),
    a.SetAccessMethod: _on_partitioned("storage", until=17),
    a.OtherAlter: _other,
    a.AttachPartition: _attach,
    a.DetachPartition: _detach,
    a.Inherit: _inherit,
    a.CreateTable: _create_table,
    a.CreateIndex: _create_index,
    a.Refresh: _refresh,
}
