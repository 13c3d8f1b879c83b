"""Why the server would refuse to drop or empty something: others hold on to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.refusals import Beside
from dbkit.postgres.migrate.schema import Schema


def _drop(x: a.Drop, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    if x.concurrently and (len(x.names) > 1 or x.cascade):
        yield "DROP INDEX CONCURRENTLY takes one index, and no CASCADE"
    gone = {schema.key(n) for n in x.names}
    for name in x.names:
        for reason in _REASONS.get(x.kind, _no_reason)(x, name, schema, gone):
            yield reason
            break


def _no_reason(x: a.Drop, name: Name, schema: Schema, gone: set[tuple[str, str]]) -> Iterator[str]:
    return iter(())


def _table(x: a.Drop, name: Name, schema: Schema, gone: set[tuple[str, str]]) -> Iterator[str]:
    if x.cascade or schema.table(name) is None:
        return
    falling = {schema.key(n) for n in (name, *schema.below(name, heirs=False))} | gone
    for one in (name, *schema.below(name, heirs=False)):
        for other, held in schema.referencing(one):
            if schema.key(other.name) not in falling and not held.inherited:
                yield f"foreign key {held.name} of {other.name} points at {name}"
        table = schema.table(one)
        for heir in table.heirs if table is not None else ():
            if schema.key(heir) not in falling:
                yield f"{heir} inherits from {name}"
    yield from _readers(name, schema, gone)


def _readers(name: Name, schema: Schema, gone: set[tuple[str, str]]) -> Iterator[str]:
    for key, held in schema.dependants.items():
        if key[0] in ("view", "function") and schema.key(name) in held.reads and key[1:] not in gone:
            yield f"{held.words} reads {name}"


def _view(x: a.Drop, name: Name, schema: Schema, gone: set[tuple[str, str]]) -> Iterator[str]:
    if not x.cascade:
        yield from _readers(name, schema, gone)


def _index(x: a.Drop, name: Name, schema: Schema, gone: set[tuple[str, str]]) -> Iterator[str]:
    index = schema.index(name)
    if index is None:
        return
    table = schema.table(index.table)
    if index.constraint and table is not None and index.constraint in table.constraints:
        yield f"index {index.name} belongs to constraint {index.constraint} of {index.table}, which has to be dropped"
    elif index.parent:
        yield f"index {index.name} belongs to index {index.parent} of the partitioned table"
    elif x.concurrently and table is not None and table.partitioned:
        yield f"{index.table} is partitioned: its indexes cannot be dropped concurrently"


def _type(x: a.Drop, name: Name, schema: Schema, gone: set[tuple[str, str]]) -> Iterator[str]:
    users = [] if x.cascade else schema.tables_using(name)
    if users:
        yield f"{users[0].name} has a column of {x.kind} {name}"


def _schema(x: a.Drop, name: Name, schema: Schema, gone: set[tuple[str, str]]) -> Iterator[str]:
    held = [] if x.cascade else [t.name for key, t in schema.tables.items() if key[0] == name.name and t.complete]
    if held:
        yield f"schema {name} holds {held[0]}"


_REASONS: Final[dict[str, Callable[[a.Drop, Name, Schema, set[tuple[str, str]]], Iterator[str]]]] = {
    "table": _table,
    "view": _view,
    "matview": _view,
    "index": _index,
    "type": _type,
    "domain": _type,
    "schema": _schema,
}


def _truncate(x: a.Truncate, schema: Schema, major: int, beside: Beside) -> Iterator[str]:
    for name in x.only:
        table = schema.table(name)
        if table is not None and table.partitioned:
            yield f"{name} is partitioned: ONLY it holds no rows"
    if x.cascade:
        return
    gone = {schema.key(n) for table in x.tables for n in (table, *schema.below(table))}
    for table in x.tables:
        for one in (table, *schema.below(table)):
            for other, held in schema.referencing(one):
                if schema.key(other.name) not in gone:
                    yield f"foreign key {held.name} of {other.name} points at {one}: name both, or use DELETE"
                    return


CHECKS: Final[dict[type[a.Action], Callable[[Any, Schema, int, Beside], Iterator[str]]]] = {
    a.Drop: _drop,
    a.Truncate: _truncate,
}
