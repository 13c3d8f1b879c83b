"""What is dropped, and indexes, domains, types and sequences made or changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import evolve_dependants, expressions
from dbkit.postgres.migrate.given_names import auto_name, constraint_name
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.schema import Domain, Index, Schema, Table


def _drop(schema: Schema, action: a.Drop, born: int, block: int) -> None:
    for name in action.names:
        key = schema.key(name)
        if action.kind in ("table", "matview", "foreign table"):
            gone = schema.tables.pop(key, None)
            for index in list(schema.by_table.get(key, [])):
                schema.drop_index(Name(index.table.schema, index.name))
            if gone is not None:
                _take_leave(schema, gone, key)
        elif action.kind == "index":
            schema.drop_index(name)
        elif action.kind == "schema":
            for held in [t.name for k, t in schema.tables.items() if k[0] == name.name]:
                _drop(schema, a.Drop("table", (held,), cascade=True), born, block)
        elif action.kind in ("type", "domain"):
            schema.domains.pop(key, None)
            schema.types.pop(key, None)
        elif action.kind in ("function", "procedure", "routine"):
            schema.functions.pop(key, None)
    evolve_dependants.drop(schema, action)


def _take_leave(schema: Schema, gone: Table, key: tuple[str, str]) -> None:
    """Out of its parent's partitions and child tables, with its own partitions and child tables."""
    if gone.partition_of is not None:
        above = schema.partial(gone.partition_of)
        above.partitions = [p for p in above.partitions if schema.key(p) != key]
        if above.default_partition is not None and schema.key(above.default_partition) == key:
            above.default_partition = None
    for other in schema.above(gone.name):
        other.heirs = [h for h in other.heirs if schema.key(h) != key]
    for child in (*gone.partitions, *gone.heirs):
        _drop(schema, a.Drop("table", (child,)), 0, 0)


def _create_index(schema: Schema, action: a.CreateIndex, born: int, block: int) -> None:
    name = action.name or auto_name(action.table.name, (*action.columns, *action.include), "idx")
    if action.if_not_exists and (action.table.schema or schema.search_path, name) in schema.indexes:
        return
    schema.add_index(
        Index(
            name,
            action.table,
            action.columns,
            action.unique,
            action.partial,
            action.reads,
            born,
            include=action.include,
        )
    )


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
    elif action.verb == "validate":
        domain.constraints[action.constraint_name] = True
    elif action.verb == "drop-constraint":
        domain.constraints.pop(action.constraint_name, None)
        domain.constrained = bool(domain.constraints) or domain.not_null
    elif action.verb in ("set-not-null", "drop-not-null"):
        domain.not_null = action.verb == "set-not-null"
        domain.constrained = bool(domain.constraints) or domain.not_null


def _create_type(schema: Schema, action: a.CreateType, born: int, block: int) -> None:
    schema.types[schema.key(action.name)] = action.kind
    schema.enum_born[schema.key(action.name)] = born


def _sequence(schema: Schema, action: a.Sequence, born: int, block: int) -> None:
    if action.create or action.type:
        schema.sequences[schema.key(action.name)] = action.type or "int8"


APPLIERS: Final[dict[type[a.Action], Callable[[Schema, Any, int, int], None]]] = {
    a.Drop: _drop,
    a.CreateIndex: _create_index,
    a.CreateDomain: _create_domain,
    a.AlterDomain: _alter_domain,
    a.CreateType: _create_type,
    a.Sequence: _sequence,
}
