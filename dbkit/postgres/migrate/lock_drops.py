"""What drops and TRUNCATE lock: the thing itself, and what CASCADE and foreign keys bring along."""

from __future__ import annotations

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.lock_mode import AX, SUX, Locks
from dbkit.postgres.migrate.lock_reach import key_ends, other_default, several, tree
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.schema import Schema


def drop_column(action: a.DropColumn, schema: Schema, major: int) -> Locks:
    """DROP COLUMN: the tree, the other ends of its foreign keys, and views that CASCADE takes along."""
    table = schema.table(action.table)
    if action.if_exists and table is not None and table.complete and action.column not in table.columns:
        return [(action.table, AX)]
    found = [*tree(schema, action, AX), *key_ends(schema, action.table, action.column)]
    if action.cascade:
        key = schema.key(action.table)
        found += [
            (Name(held[1], held[2]), AX)
            for held, d in schema.dependants.items()
            if held[0] == "view" and d.reads.get(key, frozenset[str]()) & {action.column, "*"}
        ]
    return found


def drop_constraint(action: a.DropConstraint, schema: Schema, major: int) -> Locks:
    """DROP CONSTRAINT: the tree, the other end of a foreign key, and the keys that CASCADE takes along."""
    table = schema.table(action.table)
    held = table.constraints.get(action.name) if table else None
    if held is None:
        return tree(schema, action, AX)
    parent = held.constraint.parent
    found = tree(schema, action, AX, heirs=held.constraint.kind in ("check", "notnull"))
    if action.cascade and held.constraint.kind in ("unique", "primary"):
        columns = set(held.constraint.columns)
        found += [
            (other.name, AX)
            for other, key in schema.referencing(action.table)
            if set(key.constraint.parent_columns) in (columns, set[str]())
        ]
    return [*found, *([(parent, AX)] if parent is not None else [])]


def drop(action: a.Drop, schema: Schema, major: int) -> Locks:
    """DROP of any kind of object."""
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
        found += other_default(schema, table.partition_of, name)
    return found


def truncate(action: a.Truncate, schema: Schema, major: int) -> Locks:
    """TRUNCATE: the tables, what is below them, and with CASCADE all that points there."""
    found = several(schema, action.tables, action.only, AX)
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
