"""What gets another name or schema, and everything that mentions it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import evolve_dependants, expressions
from dbkit.postgres.migrate.bounds import PartitionKey
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.schema import Column, Schema


def _rename(schema: Schema, action: a.Rename, born: int, block: int) -> None:
    evolve_dependants.rename(schema, action)
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
        _move_type(schema, action.table, Name(action.table.schema, action.new))
    elif action.kind == "schema":
        for key in [k for k in schema.tables if k[0] == action.old]:
            evolve_dependants.move(schema, Name(*key), Name(action.new, key[1]))
            _move(schema, Name(*key), Name(action.new, key[1]))


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
    _move(schema, action.table, Name(action.table.schema, action.new))


def _set_schema(schema: Schema, action: a.SetSchema, born: int, block: int) -> None:
    new = Name(action.schema, action.table.name)
    if action.kind in ("domain", "type"):
        _move_type(schema, action.table, new)
        return
    evolve_dependants.move(schema, action.table, new)
    _move(schema, action.table, new)


def _move_type(schema: Schema, old: Name, new: Name) -> None:
    """Another name or schema of a type, and of the type of the columns that have it."""
    before = schema.key(old)
    for columns in (t.columns.values() for t in schema.tables_using(old)):
        for column in columns:
            if column.type and (column.type.schema or schema.search_path, column.type.name) == before:
                column.type = replace(column.type, name=new.name, schema=new.schema, words="")
    schema.named_types.add(new.name)
    held = schema.domains.pop(before, None)
    if held is not None:
        held.name = new
        schema.domains[schema.key(new)] = held
    if before in schema.types:
        schema.types[schema.key(new)] = schema.types.pop(before)
        schema.enum_born[schema.key(new)] = schema.enum_born.pop(before)


def _move(schema: Schema, old: Name, new: Name) -> None:
    """Another name or schema of a table, in all that mentions it."""
    before, after = schema.key(old), schema.key(new)
    for index in schema.by_table.pop(before, []):
        schema.indexes.pop((before[0], index.name), None)
        index.table = new
        schema.indexes[after[0], index.name] = index
        schema.by_table.setdefault(after, []).append(index)
    table = schema.tables.pop(before, None)
    if table is not None:
        table.name = new
        schema.tables[after] = table

    def follow(name: Name | None) -> Name | None:
        return new if name is not None and schema.key(name) == before else name

    for named in (schema.named_parents, schema.named_heirs):
        if old.name in named:
            named.add(new.name)
    for other in schema.tables.values():
        other.partition_of, other.default_partition = follow(other.partition_of), follow(other.default_partition)
        other.partitions = [follow(p) or p for p in other.partitions]
        other.heirs = [follow(h) or h for h in other.heirs]
        for held in other.foreign_keys():
            if follow(held.constraint.parent) is new:
                held.constraint = replace(held.constraint, parent=new)


APPLIERS: Final[dict[type[a.Action], Callable[[Schema, Any, int, int], None]]] = {
    a.Rename: _rename,
    a.SetSchema: _set_schema,
}
