"""What in the catalogue rests on the old shape: objects the server knows of, and functions whose body is only text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg import sql

from dbkit import assets
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate import bodies
from dbkit.postgres.migrate.changes.spec import Change
from dbkit.postgres.migrate.gate.blocked import Blocked
from dbkit.postgres.migrate.gate.conflicts import conflicts
from dbkit.postgres.migrate.gate.shape import Shape, mentions
from dbkit.postgres.migrate.gate.uses import uses

_HINTS: Final = {
    "view": "create or replace view, without the old column",
    "materialized view": "make it anew without the old column",
    "function": "create or replace function, on the new column",
    "policy": "alter policy, on the new column",
    "trigger": "create or replace trigger, on the new column",
    "publication": "alter publication ... set table, without the old column",
}


_KEY_HINT: Final = "create or replace function, with the column of the partitions in `on conflict` too"
_COPIED: Final = ("trigger", "statistics object", "constraint")
"""What a change that puts a new column in place of the old one takes over by itself."""


def look(
    connection: Connection, change: Change, table: tuple[str, str], oids: Sequence[int], shape: Shape
) -> list[Blocked]:
    """Every dependant of the old shape that contract would break or silently drop."""
    if shape.keys:
        return [
            Blocked("function", f"function {row['name']}: its `on conflict` rests on a key", _KEY_HINT, row["name"])
            for row in fetch(connection, assets.query("gate/functions"))
            if _rests_on_key(row, shape)
        ]
    found = catalogued(connection, change, table, sorted(shape.columns), copied=bool(change.new))
    for row in fetch(connection, assets.query("gate/functions")):
        why = _function(row, oids, shape)
        if why:
            found.append(Blocked("function", f"function {row['name']}: {why}", _HINTS["function"], row["name"]))
    return found


def catalogued(
    connection: Connection, change: Change, table: tuple[str, str], columns: Sequence[str], *, copied: bool
) -> list[Blocked]:
    """What the catalogue knows to rest on columns; with `copied` without what the change takes over by itself."""
    with connection.transaction():  # behind a pooler the next one may meet another session
        connection.execute(
            "select /* dbkit */ set_config('dbkit.about', %s, true), "
            "set_config('dbkit.columns', %s::text[]::text, true), "
            "set_config('dbkit.ours', %s::bigint[]::text, true)",
            [sql.Identifier(*table).as_string(), list(columns), [s.oid for s in change.backfills]],
        )
        rows = fetch(connection, assets.query("gate/dependants"))
    return [
        Blocked(
            row["kind"], f"{row['kind']} {row['name']}", _HINTS.get(row["kind"], "drop it or make it anew"), row["name"]
        )
        for row in rows
        if not (copied and row["kind"] in _COPIED)
    ]


def _rests_on_key(row: Mapping[str, Any], shape: Shape) -> bool:
    """Whether a function's body does, as far as its text tells: dynamic SQL that names the table counts."""
    if not any(_word(name, row["body"]) for _, name in shape.relations) or not _word("conflict", row["body"]):
        return False
    body = bodies.of_function(row["plain"], row["language"], row["body"])
    return bool(body.opaque) or any(conflicts(inner.sql, shape) for inner in body.statements)


def _function(row: Mapping[str, Any], oids: Sequence[int], shape: Shape) -> str:
    """How a function uses the old shape, as far as its text tells; an empty string when it does not."""
    if not shape.columns:
        named = any(_word(name, row["body"]) for _, name in shape.relations)
    else:
        named = any(_word(column, row["body"]) for column in shape.columns) or _star(row["body"], shape)
    if not named:
        return ""
    if set(oids) & set(row["fires_on"]) and any(_word(column, row["body"]) for column in shape.columns):
        return "a trigger of the table calls it, and it names the column"
    body = bodies.of_function(row["plain"], row["language"], row["body"])
    used = frozenset[str]().union(*(uses(inner.sql, shape) for inner in body.statements))
    if used:
        return f"it {', '.join(sorted(used))}"
    if mentions(row["body"], shape):
        # Variables, dynamic SQL, other languages: the names stand there, what is done with them is not known.
        return "it names the table and the column"
    return ""


def _word(name: str, body: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", body, re.IGNORECASE) is not None


def _star(body: str, shape: Shape) -> bool:
    return "*" in body and any(_word(name, body) for _, name in shape.relations)
