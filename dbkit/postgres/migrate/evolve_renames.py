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
    evolve_dependants.move(schema, action.table, Name(action.schema, action.table.name))
    table = schema.tables.pop(schema.key(action.table), None)
    if table is not None:
        table.name = Name(action.schema, action.table.name)
        schema.tables[(action.schema, action.table.name)] = table
        schema.by_table[(action.schema, action.table.name)] = schema.by_table.pop(schema.key(action.table), [])


APPLIERS: Final[dict[type[a.Action], Callable[[Schema, Any, int, int], None]]] = {
    a.Rename: _rename,
    a.SetSchema: _set_schema,
}
