"""Views, rules, policies, triggers, publications and functions of the known schema, and the columns each reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.names import Name, quote
from dbkit.postgres.migrate.schema import Dependant, Function, Schema, Table

ON_TABLE: Final = ("trigger", "rule", "policy")


def _reads(schema: Schema, reads: a.Reads) -> dict[tuple[str, str], frozenset[str]]:
    """By the schema's keys; of a wholly known table only columns it has, and `*` becomes those of today."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for name, columns in reads:
        table = schema.table(name)
        held = frozenset(table.columns) if table is not None and table.complete else None
        found[schema.key(name)] = columns if held is None else held if "*" in columns else columns & held
    return found


def _view(schema: Schema, action: a.CreateView, born: int, block: int) -> None:
    key = schema.key(action.name)
    kind = "materialized view" if action.materialized else "view"
    schema.dependants["view", *key] = Dependant(f"{kind} {action.name}", None, _reads(schema, action.reads), born)
    if action.materialized:
        schema.tables[key] = Table(
            action.name, complete=False, kind="matview", born=born, partitioned=False, created=True
        )


def _function(schema: Schema, action: a.CreateFunction, born: int, block: int) -> None:
    key = schema.key(action.name)
    schema.functions[key] = Function(action.name, action.language, action.body, action.volatility, born)
    schema.dependants.pop(("function", *key), None)
    if action.reads:
        reads = _reads(schema, action.reads)
        schema.dependants["function", *key] = Dependant(f"function {action.name}", None, reads, born)


def _on_table(kind: str) -> Callable[[Schema, Any, int, int], None]:
    def applier(schema: Schema, action: Any, born: int, block: int) -> None:
        words = f"{kind} {quote(action.name)} on {action.table}"
        reads = _reads(schema, action.reads)
        schema.dependants[kind, *schema.key(action.table), action.name] = Dependant(words, action.table, reads, born)

    return applier


def _policy(schema: Schema, action: a.Policy, born: int, block: int) -> None:
    key = ("policy", *schema.key(action.table), action.name)
    before = schema.dependants.get(key)
    reads = _reads(schema, action.reads)
    if action.verb == "alter" and before is not None:  # the clause that is not named stays
        for table, columns in before.reads.items():
            reads[table] = reads.get(table, frozenset()) | columns
    schema.dependants[key] = Dependant(f"policy {quote(action.name)} on {action.table}", action.table, reads, born)


def _publication(schema: Schema, action: a.Publication, born: int, block: int) -> None:
    key = ("publication", action.name)
    before = schema.dependants.get(key) if action.verb in ("add", "drop") else None
    reads = dict(before.reads) if before is not None else {}
    for name in action.tables:
        reads.pop(schema.key(name), None)
    if action.verb != "drop":
        reads |= _reads(schema, action.reads)
    schema.dependants[key] = Dependant(f"publication {quote(action.name)}", None, reads, born)


def drop(schema: Schema, action: a.Drop) -> None:
    """Forget what is dropped, and with a table what goes with it."""
    for name in action.names:
        if action.kind in ON_TABLE:
            if action.on is not None:
                schema.dependants.pop((action.kind, *schema.key(action.on), name.name), None)
        elif action.kind == "publication":
            schema.dependants.pop(("publication", name.name), None)
        else:
            kind = {"matview": "view", "procedure": "function", "routine": "function"}.get(action.kind, action.kind)
            schema.dependants.pop((kind, *schema.key(name)), None)
        if action.kind in ("table", "foreign table"):
            _forget(schema, lambda d, name=name: d.on is not None and schema.key(d.on) == schema.key(name))
            if action.cascade:
                _forget(schema, lambda d, name=name: schema.key(name) in d.reads)


def drop_column(schema: Schema, table: Name, column: str) -> None:
    """DROP COLUMN ... CASCADE takes all that reads the column."""
    held = schema.dependants_on(table, column)
    _forget(schema, lambda d: any(d is other for other in held))


def _forget(schema: Schema, gone: Callable[[Dependant], bool]) -> None:
    for key in [k for k, d in schema.dependants.items() if gone(d)]:
        del schema.dependants[key]


def rename(schema: Schema, action: a.Rename) -> None:
    """Follow another name of a column, a table or the dependant itself."""
    key = schema.key(action.table)
    if action.kind == "column":
        for held in schema.dependants.values():
            columns = held.reads.get(key)
            if columns is not None and action.old in columns:
                held.reads[key] = columns - {action.old} | {action.new}
    elif action.kind in ("table", "foreign table"):
        move(schema, action.table, Name(action.table.schema, action.new))
    elif action.kind in ON_TABLE:
        held = schema.dependants.pop((action.kind, *key, action.old), None)
        if held is not None:
            held.words = f"{action.kind} {quote(action.new)} on {action.table}"
            schema.dependants[action.kind, *key, action.new] = held
    elif action.kind in ("view", "matview"):
        held = schema.dependants.pop(("view", *key), None)
        if held is not None:
            new = Name(action.table.schema, action.new)
            held.words = f"{held.words.rpartition(' ')[0]} {new}"
            schema.dependants["view", *schema.key(new)] = held


def move(schema: Schema, old: Name, new: Name) -> None:
    """Follow a table to another name or schema."""
    before, after = schema.key(old), schema.key(new)
    for name, held in list(schema.dependants.items()):
        if before in held.reads:
            held.reads[after] = held.reads.pop(before)
        if held.on is not None and schema.key(held.on) == before:
            held.on = new
            del schema.dependants[name]
            schema.dependants[name[0], *after, name[-1]] = held


APPLIERS: Final[dict[type[a.Action], Callable[[Schema, Any, int, int], None]]] = {
    a.CreateView: _view,
    a.CreateFunction: _function,
    a.CreateTrigger: _on_table("trigger"),
    a.CreateRule: _on_table("rule"),
    a.Policy: _policy,
    a.Publication: _publication,
}
