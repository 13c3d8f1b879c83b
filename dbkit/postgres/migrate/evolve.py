"""Applies actions to the known schema, as the server would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import expressions
from dbkit.postgres.migrate.bounds import PartitionKey
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.schema import BEFORE, Column, Domain, Function, HeldConstraint, Index, Schema, Table, View
from dbkit.postgres.migrate.types import SERIALS, SqlType

NAME_LIMIT: Final = 63


def apply(schema: Schema, action: a.Action, *, born: int = BEFORE, block: int = 0) -> None:
    """Change the schema as the action would; `born` is the script's number, `block` the transaction's."""
    applier = _APPLIERS.get(type(action))
    if applier is not None:
        applier(schema, action, born, block)
        if isinstance(action, a.OnTable):
            _below(schema, action, born, block)


_RECURSE: Final = (
    a.AddColumn,
    a.DropColumn,
    a.AlterType,
    a.SetDefault,
    a.SetNotNull,
    a.DropNotNull,
    a.ValidateConstraint,
    a.DropConstraint,
)


def _below(schema: Schema, action: a.OnTable, born: int, block: int) -> None:
    """The same for the partitions of the table, as the server does."""
    found = schema.table(action.table)
    if found is None or not found.partitions:
        return
    change: dict[str, object] = {}
    if isinstance(action, a.AddConstraint):
        if action.only:
            return
        if action.constraint.kind not in ("check", "foreign", "notnull"):  # each leaf's index gets its own name
            change["constraint"] = replace(action.constraint, name="")
    elif isinstance(action, a.CreateIndex):
        if action.only:
            return
        change["name"] = ""
    elif isinstance(action, a.Rename):
        if action.kind not in ("column", "constraint"):
            return
    elif not isinstance(action, _RECURSE):
        return
    for leaf in found.partitions:
        apply(schema, replace(action, table=leaf, **change), born=born, block=block)


def auto_name(table: str, columns: tuple[str, ...], suffix: str) -> str:
    """The name PostgreSQL gives an unnamed constraint or index (without the number that avoids a clash)."""
    middle = "_".join(c or "expr" for c in columns)
    room = NAME_LIMIT - len(suffix) - 1
    joined = f"{table}_{middle}" if middle else table
    return f"{joined[:room]}_{suffix}"


_SUFFIXES: Final = {
    "check": "check",
    "foreign": "fkey",
    "unique": "key",
    "primary": "pkey",
    "exclude": "excl",
    "notnull": "not_null",
}


def constraint_name(table: str, made: a.Constraint) -> str:
    """The name a constraint has or will be given."""
    if made.name:
        return made.name
    columns = made.columns
    if made.kind == "primary":
        columns = ()
    elif made.kind == "check" and not columns:
        read = sorted(expressions.columns(made.expression))
        columns = tuple(read) if len(read) == 1 else ()
    return auto_name(table, columns, _SUFFIXES[made.kind])


def _add_constraint(schema: Schema, table: Table, made: a.Constraint, born: int, block: int) -> None:
    name = constraint_name(table.name.name, made)
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
            columns = (*made.columns,)
            schema.add_index(
                Index(name, table.name, columns, unique=made.kind != "exclude", born=born, constraint=name)
            )
        if made.kind == "primary":
            for column in made.columns:
                table.columns.setdefault(column, Column(column, born=born)).not_null = True
    table.constraints[name] = HeldConstraint(name, made, not made.not_valid, born, block)


def _column(schema: Schema, made: a.ColumnDef, born: int) -> Column:
    kind = made.type
    if kind.name in SERIALS and not kind.schema:
        kind = SqlType(SERIALS[kind.name])
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
    )
    for source in (*action.likes, *action.parents, *((action.partition_of,) if action.partition_of else ())):
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


def _inherit(schema: Schema, table: Table, source: Name, born: int, block: int) -> None:
    found = schema.table(source)
    if found is None or not found.complete:
        table.complete = False
    if found is None:
        return
    for column in found.columns.values():
        copied = Column(column.name, column.type, column.not_null, collation=column.collation, born=born)
        copied.has_default = column.has_default
        table.columns[column.name] = copied
    for held in found.constraints.values():
        kind = held.constraint.kind
        if (kind == "check" and not held.constraint.no_inherit) or (kind == "foreign" and table.partition_of == source):
            table.constraints[held.name] = HeldConstraint(held.name, held.constraint, held.validated, born, block)


def _attach(schema: Schema, parent: Name, child: Name, *, default: bool) -> None:
    above = schema.partial(parent)
    above.partitioned = True
    above.partitions.append(child)
    if default:
        above.default_partition = child


def _attach_partition(schema: Schema, action: a.AttachPartition, born: int, block: int) -> None:
    _attach(schema, action.table, action.child, default=action.default)
    child = schema.partial(action.child)
    child.partition_of, child.bound = action.table, action.bound


def _detach_partition(schema: Schema, action: a.DetachPartition, born: int, block: int) -> None:
    above = schema.partial(action.table)
    above.partitioned = True
    above.partitions = [p for p in above.partitions if schema.key(p) != schema.key(action.child)]
    if above.default_partition is not None and schema.key(above.default_partition) == schema.key(action.child):
        above.default_partition = None
    child = schema.partial(action.child)
    child.partition_of, child.bound = None, None


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
    held = schema.partial(action.table).constraints.get(action.name)
    if held is not None:
        held.validated = True
        if held.constraint.kind == "notnull":
            for column in held.constraint.columns:
                _known_column(schema, action.table, column).not_null = True


def _drop_constraint(schema: Schema, action: a.DropConstraint, born: int, block: int) -> None:
    held = schema.partial(action.table).constraints.pop(action.name, None)
    if held is not None and held.constraint.kind == "notnull":
        for column in held.constraint.columns:
            _known_column(schema, action.table, column).not_null = False
    schema.drop_index(Name(action.table.schema, action.name))


def _dml(schema: Schema, action: a.Dml, born: int, block: int) -> None:
    if action.rows == 0 and action.verb in ("insert", "copy", "merge"):
        schema.partial(action.table).filled = True


def _set_logged(schema: Schema, action: a.SetLogged, born: int, block: int) -> None:
    schema.partial(action.table).unlogged = not action.logged


def _access_method(schema: Schema, action: a.SetAccessMethod, born: int, block: int) -> None:
    schema.partial(action.table).access_method = action.method


def _rename(schema: Schema, action: a.Rename, born: int, block: int) -> None:
    if action.kind == "column":
        _rename_column(schema, action)
    elif action.kind == "constraint":
        table = schema.partial(action.table)
        held = table.constraints.pop(action.old, None)
        if held is not None:
            held.name = action.new
            table.constraints[action.new] = held
        _rename_index(schema, Name(action.table.schema, action.old), action.new)
    elif action.kind in ("table", "matview", "foreign table"):
        _rename_table(schema, action)
    elif action.kind == "index":
        _rename_index(schema, action.table, action.new)
    elif action.kind in ("domain", "type"):
        held_domain = schema.domains.pop(schema.key(action.table), None)
        if held_domain is not None:
            schema.domains[schema.key(Name(action.table.schema, action.new))] = held_domain


def _rename_column(schema: Schema, action: a.Rename) -> None:
    table, old, new = schema.partial(action.table), action.old, action.new
    column = table.columns.pop(old, None) or Column(old)
    column.name = new
    table.columns[new] = column
    for other in table.columns.values():
        other.reads = _swap_in(other.reads, old, new)
    for index in schema.indexes_on(action.table):
        index.columns = _swap(index.columns, old, new)
        index.reads = _swap_in(index.reads, old, new)
    for held in table.constraints.values():
        # A new object: copies of this one belong to other tables (LIKE, partitions).
        made = held.constraint
        expression = expressions.renamed(made.expression, old, new)
        held.constraint = replace(made, columns=_swap(made.columns, old, new), expression=expression)
    for _, held in schema.referencing(action.table):
        held.constraint = replace(held.constraint, parent_columns=_swap(held.constraint.parent_columns, old, new))
    if table.partition_key is not None:
        parts = _swap(table.partition_key.parts, old, new)
        table.partition_key = PartitionKey(table.partition_key.strategy, parts)


def _swap(names: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if n == old else n for n in names)


def _swap_in(names: frozenset[str], old: str, new: str) -> frozenset[str]:
    return names - {old} | {new} if old in names else names


def _rename_index(schema: Schema, name: Name, new: str) -> None:
    index = schema.index(name)
    if index is not None:
        schema.drop_index(name)
        index.name = new
        schema.add_index(index)


def _rename_table(schema: Schema, action: a.Rename) -> None:
    table = schema.tables.pop(schema.key(action.table), None)
    if table is None:
        return
    new = Name(action.table.schema, action.new)
    held = schema.by_table.pop(schema.key(action.table), [])
    table.name = new
    schema.tables[schema.key(new)] = table
    for index in held:
        index.table = new
    schema.by_table[schema.key(new)] = held


def _set_schema(schema: Schema, action: a.SetSchema, born: int, block: int) -> None:
    table = schema.tables.pop(schema.key(action.table), None)
    if table is not None:
        table.name = Name(action.schema, action.table.name)
        schema.tables[(action.schema, action.table.name)] = table
        schema.by_table[(action.schema, action.table.name)] = schema.by_table.pop(schema.key(action.table), [])


def _drop(schema: Schema, action: a.Drop, born: int, block: int) -> None:
    for name in action.names:
        key = schema.key(name)
        if action.kind in ("table", "matview", "foreign table"):
            gone = schema.tables.pop(key, None)
            for index in list(schema.by_table.get(key, [])):
                schema.drop_index(Name(index.table.schema, index.name))
            if gone is not None and gone.partition_of is not None:
                above = schema.partial(gone.partition_of)
                above.partitions = [p for p in above.partitions if schema.key(p) != key]
        elif action.kind == "index":
            schema.drop_index(name)
        elif action.kind in ("type", "domain"):
            schema.domains.pop(key, None)
            schema.types.pop(key, None)
        elif action.kind == "view":
            schema.views.pop(key, None)
        elif action.kind in ("function", "procedure", "routine"):
            schema.functions.pop(key, None)
        if action.kind == "matview":
            schema.views.pop(key, None)


def _create_index(schema: Schema, action: a.CreateIndex, born: int, block: int) -> None:
    name = action.name or auto_name(action.table.name, action.columns, "idx")
    if action.if_not_exists and (action.table.schema or schema.search_path, name) in schema.indexes:
        return
    schema.add_index(Index(name, action.table, action.columns, action.unique, action.partial, action.reads, born))


def _create_domain(schema: Schema, action: a.CreateDomain, born: int, block: int) -> None:
    names = {constraint_name(action.name.name, c): True for c in action.constraints if c.kind == "check"}
    not_null = any(c.kind == "notnull" for c in action.constraints)
    volatile = expressions.volatile_call(action.default, schema.volatility) is not None
    schema.domains[schema.key(action.name)] = Domain(
        action.name, action.base, bool(names) or not_null, not_null, volatile, born, names
    )


def _alter_domain(schema: Schema, action: a.AlterDomain, born: int, block: int) -> None:
    domain = schema.domains.get(schema.key(action.name))
    if domain is None:
        return
    if action.verb == "add-constraint" and action.constraint is not None:
        name = constraint_name(action.name.name, action.constraint)
        domain.constraints[name] = not action.constraint.not_valid
        domain.constrained = True
    elif action.verb == "drop-constraint":
        domain.constraints.pop(action.constraint_name, None)
        domain.constrained = bool(domain.constraints) or domain.not_null
    elif action.verb in ("set-not-null", "drop-not-null"):
        domain.not_null = action.verb == "set-not-null"
        domain.constrained = bool(domain.constraints) or domain.not_null


def _create_type(schema: Schema, action: a.CreateType, born: int, block: int) -> None:
    schema.types[schema.key(action.name)] = action.kind
    schema.enum_born[schema.key(action.name)] = born


def _create_view(schema: Schema, action: a.CreateView, born: int, block: int) -> None:
    tables = frozenset(schema.key(t) for t in action.tables)
    key = schema.key(action.name)
    schema.views[key] = View(action.name, tables, action.columns, action.materialized, born)
    if action.materialized:
        schema.tables[key] = Table(action.name, complete=False, kind="matview", born=born, partitioned=False)


def _create_function(schema: Schema, action: a.CreateFunction, born: int, block: int) -> None:
    schema.functions[schema.key(action.name)] = Function(
        action.name, action.language, action.body, action.volatility, born
    )


def _sequence(schema: Schema, action: a.Sequence, born: int, block: int) -> None:
    if action.create or action.type:
        schema.sequences[schema.key(action.name)] = action.type or "int8"


_APPLIERS: Final[dict[type[a.Action], Callable[[Schema, Any, int, int], None]]] = {
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
    a.SetLogged: _set_logged,
    a.SetAccessMethod: _access_method,
    a.AttachPartition: _attach_partition,
    a.DetachPartition: _detach_partition,
    a.Rename: _rename,
    a.SetSchema: _set_schema,
    a.Drop: _drop,
    a.CreateIndex: _create_index,
    a.CreateDomain: _create_domain,
    a.AlterDomain: _alter_domain,
    a.CreateType: _create_type,
    a.CreateView: _create_view,
    a.CreateFunction: _create_function,
    a.Sequence: _sequence,
}
