"""Tables, columns, constraints and partitions of the known schema, changed as the server would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import evolve_dependants, expressions
from dbkit.postgres.migrate.given_names import auto_name, constraint_name
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.schema import Column, HeldConstraint, Index, Schema, Table
from dbkit.postgres.migrate.types import SERIALS, SqlType


def _add_constraint(schema: Schema, table: Table, made: a.Constraint, born: int, block: int) -> None:
    name = constraint_name(table.name.name, made)
    if made.parent is not None:
        schema.named_parents.add(made.parent.name)
    if made.kind == "notnull":
        for column in made.columns:
            held = table.columns.setdefault(column, Column(column, born=born))
            held.not_null = True if not made.not_valid else held.not_null
    if made.kind in ("unique", "primary", "exclude"):
        if made.index:
            key = (table.name.schema or schema.search_path, made.index)
            index = schema.indexes.get(key)
            if index is not None:
                made.columns = made.columns or index.columns
                schema.drop_index(Name(table.name.schema, made.index))
                index.name, index.constraint = name, name
                schema.add_index(index)
        else:
            index = Index(name, table.name, (*made.columns,), made.kind != "exclude", born=born, constraint=name)
            if made.kind == "exclude":
                index.partial = made.expression is not None
                index.reads = made.reads | expressions.columns(made.expression)
            schema.add_index(index)
        if made.kind == "primary":
            for column in made.columns:
                table.columns.setdefault(column, Column(column, born=born)).not_null = True
    table.constraints[name] = HeldConstraint(name, made, not made.not_valid, born, block)


def _column(schema: Schema, made: a.ColumnDef, born: int) -> Column:
    kind = made.type
    if kind.name in SERIALS and not kind.schema:
        kind = SqlType(SERIALS[kind.name])
    if not kind.builtin:
        schema.named_types.add(kind.name)
    return Column(
        made.name,
        kind,
        made.not_null,
        has_default=made.default is not None or made.type.name in SERIALS,
        generated=made.generated,
        reads=expressions.columns(made.expression),
        identity=bool(made.identity),
        collation=made.collation,
        born=born,
    )


def _create_table(schema: Schema, action: a.CreateTable, born: int, block: int) -> None:
    existing = schema.table(action.table)
    if existing is not None and action.if_not_exists and not existing.dropped:
        return
    table = Table(
        action.table,
        complete=not action.from_query,
        kind="foreign table" if action.foreign else "table",
        born=born,
        partitioned=action.partition_key is not None,
        partition_key=action.partition_key,
        partition_of=action.partition_of,
        bound=action.bound,
        filled=action.filled,
        unlogged=action.unlogged,
        temporary=action.temporary,
        access_method=action.access_method,
        of_type=action.of_type,
        created=True,
    )
    if action.of_type is not None:
        table.complete = False  # its columns are the type's, which are not kept
    for like in action.likes:
        _copy(schema, table, like, born, block)
    for source in (*action.parents, *((action.partition_of,) if action.partition_of else ())):
        _inherit(schema, table, source, born, block)
    for made in action.columns:
        held = table.columns.get(made.name)
        if held is None or made.type.name:
            table.columns[made.name] = _column(schema, made, born)
        elif made.not_null:
            held.not_null = True
    schema.tables[schema.key(action.table)] = table
    for made in action.columns:
        for constraint in made.constraints:
            _add_constraint(schema, table, constraint, born, block)
    for constraint in action.constraints:
        # On a new table there is nothing to validate: NOT VALID is dropped by the server.
        _add_constraint(schema, table, constraint, born, block)
    for held_constraint in table.constraints.values():
        held_constraint.validated = held_constraint.constraint.enforced
    if action.partition_of is not None:
        _attach(schema, action.partition_of, action.table, default=action.default_partition)
        _take_indexes(schema, table, action.partition_of, born, block)
    for parent in action.parents:
        schema.adopt(parent, action.table)
    for like in action.likes:
        if like.indexes:
            _take_indexes(schema, table, like.table, born, block)


def _take_indexes(schema: Schema, table: Table, source: Name, born: int, block: int) -> None:
    """Make the indexes that the new or attached partition lacks, under the names the server gives them."""
    above = schema.table(source)
    for index in schema.indexes_on(source):
        held = above.constraints.get(index.constraint) if above is not None and index.constraint else None
        partition = above is not None and bool(above.partitioned)
        own = next((i for i in schema.indexes_on(table.name) if _alike(index, i)), None)
        if own is not None:
            if partition:
                own.parent = index.name
                if own.constraint in table.constraints:
                    table.constraints[own.constraint].inherited = True
            continue
        if held is not None:
            if held.constraint.kind == "primary" and table.primary_key() is not None:
                continue
            copied = replace(held.constraint, name="", index="")
            _add_constraint(schema, table, copied, born, block)
            newest = next(reversed(table.constraints.values()))
            newest.inherited = partition
        else:
            name = auto_name(table.name.name, (*index.columns, *index.include), "idx")
            parent = index.name if partition else ""
            schema.add_index(replace(index, name=name, table=table.name, born=born, parent=parent))


def _alike(index: Index, own: Index) -> bool:
    def facts(held: Index) -> tuple[object, ...]:
        return (held.columns, held.unique, held.partial, held.reads, bool(held.constraint))

    return facts(index) == facts(own)


def _copy(schema: Schema, table: Table, like: a.Like, born: int, block: int) -> None:
    """The columns of a table named by LIKE, and of the rest what INCLUDING asks for."""
    found = schema.table(like.table)
    if found is None or not found.complete:
        table.complete = False
    if found is None:
        return
    for column in found.columns.values():
        copied = Column(column.name, column.type, column.not_null, collation=column.collation, born=born)
        copied.has_default = column.has_default and (like.defaults or (like.identity and column.identity))
        if like.generated:
            copied.generated, copied.reads = column.generated, column.reads
        copied.identity = column.identity and like.identity
        table.columns[column.name] = copied
    for held in found.constraints.values():
        if like.checks and held.constraint.kind == "check":
            table.constraints[held.name] = HeldConstraint(held.name, held.constraint, held.validated, born, block)


def _inherit(schema: Schema, table: Table, source: Name, born: int, block: int) -> None:
    found = schema.table(source)
    if found is None or not found.complete:
        table.complete = False
    if found is None:
        return
    for column in found.columns.values():
        copied = Column(column.name, column.type, column.not_null, collation=column.collation, born=born)
        copied.has_default = column.has_default
        copied.generated, copied.reads = column.generated, column.reads
        table.columns[column.name] = copied
    for held in found.constraints.values():
        kind = held.constraint.kind
        if (kind == "check" and not held.constraint.no_inherit) or (kind == "foreign" and table.partition_of == source):
            table.constraints[held.name] = HeldConstraint(
                held.name, held.constraint, held.validated, born, block, inherited=True
            )


def _attach(schema: Schema, parent: Name, child: Name, *, default: bool) -> None:
    if schema.circular(parent, child):
        return
    above = schema.partial(parent)
    above.partitioned = True
    above.partitions = [*(p for p in above.partitions if schema.key(p) != schema.key(child)), child]
    if default:
        above.default_partition = child


def _attach_partition(schema: Schema, action: a.AttachPartition, born: int, block: int) -> None:
    if schema.circular(action.table, action.child):
        return
    _attach(schema, action.table, action.child, default=action.default)
    child = schema.partial(action.child)
    child.partition_of, child.bound = action.table, action.bound
    _take_indexes(schema, child, action.table, born, block)


def _change_parent(schema: Schema, action: a.Inherit, born: int, block: int) -> None:
    above = schema.partial(action.parent)
    above.heirs = [h for h in above.heirs if schema.key(h) != schema.key(action.table)]
    if action.add:
        schema.adopt(action.parent, action.table)


def _detach_partition(schema: Schema, action: a.DetachPartition, born: int, block: int) -> None:
    above = schema.partial(action.table)
    above.partitioned = True
    above.partitions = [p for p in above.partitions if schema.key(p) != schema.key(action.child)]
    if above.default_partition is not None and schema.key(above.default_partition) == schema.key(action.child):
        above.default_partition = None
    child = schema.partial(action.child)
    child.partition_of, child.bound = None, None
    for held in child.constraints.values():
        held.inherited = False
    for index in schema.indexes_on(action.child):
        index.parent = ""


def _add_column(schema: Schema, action: a.AddColumn, born: int, block: int) -> None:
    table = schema.partial(action.table)
    if action.if_not_exists and action.column.name in table.columns:
        return
    table.columns[action.column.name] = _column(schema, action.column, born)
    for constraint in action.column.constraints:
        _add_constraint(schema, table, constraint, born, block)


def _drop_column(schema: Schema, action: a.DropColumn, born: int, block: int) -> None:
    table = schema.partial(action.table)
    table.columns.pop(action.column, None)
    evolve_dependants.drop_column(schema, action.table, action.column)
    for name in [n for n, c in table.constraints.items() if _uses(c.constraint, action.column)]:
        del table.constraints[name]
    for index in [i for i in schema.indexes_on(action.table) if action.column in i.columns or action.column in i.reads]:
        schema.drop_index(Name(index.table.schema, index.name))


def _uses(made: a.Constraint, column: str) -> bool:
    return column in made.columns or column in expressions.columns(made.expression)


def _known_column(schema: Schema, table: Name, column: str) -> Column:
    held = schema.partial(table)
    return held.columns.setdefault(column, Column(column))


def _alter_type(schema: Schema, action: a.AlterType, born: int, block: int) -> None:
    column = _known_column(schema, action.table, action.column)
    column.type = action.type
    if not action.type.builtin:
        schema.named_types.add(action.type.name)
    column.collation = action.collation


def _set_default(schema: Schema, action: a.SetDefault, born: int, block: int) -> None:
    _known_column(schema, action.table, action.column).has_default = action.default is not None


def _set_not_null(schema: Schema, action: a.SetNotNull, born: int, block: int) -> None:
    _known_column(schema, action.table, action.column).not_null = True


def _drop_not_null(schema: Schema, action: a.DropNotNull, born: int, block: int) -> None:
    _known_column(schema, action.table, action.column).not_null = False


def _column_setting(schema: Schema, action: a.ColumnSetting, born: int, block: int) -> None:
    column = _known_column(schema, action.table, action.column)
    if action.what.endswith("IDENTITY"):
        column.identity = not action.what.startswith("DROP")
    elif action.what == "DROP EXPRESSION":
        column.generated = ""


def _constrain(schema: Schema, action: a.AddConstraint, born: int, block: int) -> None:
    _add_constraint(schema, schema.partial(action.table), action.constraint, born, block)


def _validate(schema: Schema, action: a.ValidateConstraint, born: int, block: int) -> None:
    table = schema.partial(action.table)
    held = table.constraints.get(action.name)
    if held is None:
        table.validated.add(action.name)
    else:
        held.validated = True
        if held.constraint.kind == "notnull":
            for column in held.constraint.columns:
                _known_column(schema, action.table, column).not_null = True


def _drop_constraint(schema: Schema, action: a.DropConstraint, born: int, block: int) -> None:
    table = schema.partial(action.table)
    table.validated.discard(action.name)
    held = table.constraints.pop(action.name, None)
    if held is not None and held.constraint.kind == "notnull":
        for column in held.constraint.columns:
            _known_column(schema, action.table, column).not_null = False
    schema.drop_index(Name(action.table.schema, action.name))


def _dml(schema: Schema, action: a.Dml, born: int, block: int) -> None:
    if action.rows == 0 and action.verb in ("insert", "copy", "merge"):
        schema.partial(action.table).filled = True


def _alter_constraint(schema: Schema, action: a.AlterConstraint, born: int, block: int) -> None:
    held = schema.partial(action.table).constraints.get(action.name)
    if held is not None and action.enforcement:
        held.constraint = replace(held.constraint, enforced=action.enforced)
        held.validated = action.enforced


def _set_logged(schema: Schema, action: a.SetLogged, born: int, block: int) -> None:
    schema.partial(action.table).unlogged = not action.logged


def _access_method(schema: Schema, action: a.SetAccessMethod, born: int, block: int) -> None:
    schema.partial(action.table).access_method = action.method


APPLIERS: Final[dict[type[a.Action], Callable[[Schema, Any, int, int], None]]] = {
    a.CreateTable: _create_table,
    a.AddColumn: _add_column,
    a.DropColumn: _drop_column,
    a.AlterType: _alter_type,
    a.SetDefault: _set_default,
    a.SetNotNull: _set_not_null,
    a.DropNotNull: _drop_not_null,
    a.ColumnSetting: _column_setting,
    a.AddConstraint: _constrain,
    a.ValidateConstraint: _validate,
    a.DropConstraint: _drop_constraint,
    a.Dml: _dml,
    a.AlterConstraint: _alter_constraint,
    a.SetLogged: _set_logged,
    a.SetAccessMethod: _access_method,
    a.AttachPartition: _attach_partition,
    a.DetachPartition: _detach_partition,
    a.Inherit: _change_parent,
}
