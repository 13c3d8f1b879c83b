"""The tables that a unit locks, looked up on the server, and the statements that take their locks first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString, cast

from psycopg import sql

from dbkit import assets
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.executor.units import Sentence
from dbkit.postgres.migrate.lock_mode import Mode


@dataclass(frozen=True, slots=True)
class Want:
    """A table that a unit locks."""

    oid: int
    mode: Mode
    lockable: bool
    schema: str
    name: str


def wanted(connection: Connection, sentences: Sequence[Sentence]) -> list[Want]:
    """What the sentences lock, each table once with its strongest mode."""
    named = [(name.sql, int(mode), s.neighbours) for s in sentences for name, mode in s.locks]
    if not named:
        return []
    names, modes, neighbours = map(list, zip(*named, strict=True))
    rows = fetch(
        connection,
        assets.query("postgres/lock_targets"),
        {"names": names, "modes": modes, "neighbours": neighbours},
    )
    return [Want(r["oid"], Mode(r["mode"]), r["lockable"], r["schema"], r["name"]) for r in rows]


def strong(wants: Sequence[Want]) -> list[Want]:
    """Those whose lock stops somebody's reads or writes."""
    return [w for w in wants if w.mode >= Mode.SHARE]


def lock_tables(wants: Sequence[Want]) -> list[sql.Composed]:
    """All strong locks first, the strongest mode first: no lock is raised later, and all waiting is in one place."""
    found: list[sql.Composed] = []
    for mode in sorted({w.mode for w in wants}, reverse=True):
        tables = [sql.Identifier(w.schema, w.name) for w in wants if w.mode is mode and w.lockable]
        if tables:
            words = sql.SQL(cast(LiteralString, mode.words.lower()))
            found.append(sql.SQL("lock table {} in {} mode").format(sql.SQL(", ").join(tables), words))
    return found
