"""One look through the gate: statements, dependants, old transactions; what is accepted is recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

import psycopg

from dbkit import assets
from dbkit.postgres.catalog import quoted
from dbkit.postgres.connect import Connection, explain, fetch
from dbkit.postgres.migrate.changes.spec import Change
from dbkit.postgres.migrate.gate import dependants, watch
from dbkit.postgres.migrate.gate.blocked import Blocked
from dbkit.postgres.migrate.gate.shape import ALL, UNREAD, Shape
from dbkit.postgres.migrate.gate.standbys import Standby, reached, unasked
from dbkit.postgres.migrate.gate.watch import Blind, Use, Watched
from dbkit.secrets import redact
from dbkit.settings import Target
from dbkit.sizes import format_seconds

WINDOW: Final = 3600.0
"""Seconds for which nothing may have used the old shape. Longer where something runs once a day or a week."""
Going: TypeAlias = tuple[str, tuple[str, str], Shape, list[int]]
"""What goes away: the key of its watch, schema and name, the old shape, the oids of its tables."""
YOUNG: Final = 60.0
"""Seconds: where nothing is watched, younger transactions on the table are ordinary traffic."""


def look(
    connection: Connection,
    change: Change,
    *,
    accept: Sequence[str] = (),
    window: float = WINDOW,
    standbys: Sequence[Target] = (),
) -> list[Blocked]:
    """Why a change may not be contracted yet; empty when the gate is open.

    `accept` holds kinds (`statement`, `all-columns`, `observation`) or single ones (`view:public.v`); each one that
    was needed is recorded in dbkit.gate_accept. Every look is stored: the next one compares with it. `standbys` are
    watched like the primary; others that replay from here keep the gate closed.
    """
    found: list[Blocked] = []
    targets = list(_targets(connection, change))
    for key, (schema, name), shape, oids in targets:
        watched = watch.observe(connection, key, shape)
        found += _statements(watched, window)
        found += dependants.look(connection, change, (schema, name), oids, shape)
        found += _transactions(connection, oids, watched)
    if targets:
        with reached(connection, standbys) as others:
            for standby in others.standbys:
                found += _on(standby, connection, targets, window)
            found += others.blocked
    for schema, name, column in change.swaps:
        if _oids(connection, quoted(schema, name)):
            found += dependants.catalogued(connection, change, (schema, name), [column], copied=True)
    found += lost(connection, change)
    left: list[Blocked] = []
    for blocked in found:
        word = blocked.accepted(accept)
        if word:
            _accepted(connection, change.id, blocked)
        else:
            left.append(blocked)
    return left


def _on(standby: Standby, connection: Connection, targets: Sequence[Going], window: float) -> list[Blocked]:
    found: list[Blocked] = []
    try:
        for key, _, shape, oids in targets:
            watched = watch.observe(connection, key, shape, standby)
            found += _statements(watched, window)
            found += _transactions(standby.connection, oids, watched)
    except psycopg.Error as error:
        if connection.closed:
            raise
        found.append(unasked(standby.name, explain(error, f"{standby.name} cannot be asked")))
    return found


def lost(connection: Connection, change: Change) -> list[Blocked]:
    """Indexes that are still there, go at contract and have no copy: a query that needs one would read the table."""
    found: list[Blocked] = []
    for told in change.lost:
        name = told.partition(" ")[2]
        if _oids(connection, name):
            hint = "build the index that the new application needs, or drop this one"
            found.append(Blocked("index", f"{told} goes with the old shape and has no copy", hint, name))
    return found


def shape_of(connection: Connection, schema: str, name: str, columns: Sequence[str]) -> tuple[Shape, list[int]]:
    """The old shape of a table and its partitions, and their oids, the table's first; no oids when it is gone."""
    rows = fetch(
        connection,
        "with recursive tree as (select c.oid, 0 as level from pg_catalog.pg_class c "
        "join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and c.relname = %s "
        "union all select i.inhrelid, tree.level + 1 from tree "
        "join pg_catalog.pg_inherits i on i.inhparent = tree.oid) "
        "select tree.oid::bigint as oid, n.nspname::text as schema, c.relname::text as name, "
        "(select array_agg(a.attname::text) from pg_catalog.pg_attribute a where a.attrelid = c.oid "
        "and a.attnum > 0 and not a.attisdropped) as columns from tree join pg_catalog.pg_class c on c.oid = tree.oid "
        "join pg_catalog.pg_namespace n on n.oid = c.relnamespace order by tree.level",
        [schema, name],
    )
    there = frozenset(rows[0]["columns"] or ()) if rows else frozenset[str]()
    gone = frozenset(columns) & there if columns else frozenset[str]()
    if columns and not gone:
        return Shape(frozenset(), frozenset()), []  # contracted already
    return Shape(frozenset((r["schema"], r["name"]) for r in rows), gone, there), [r["oid"] for r in rows]


def _oids(connection: Connection, name: str) -> list[int]:
    row = connection.execute("select pg_catalog.to_regclass(%s)::oid::bigint", [name]).fetchone()
    return [int(row[0])] if row and row[0] is not None else []


def _targets(connection: Connection, change: Change) -> Iterator[Going]:
    """What goes away, each under the key of its watch; without what is gone already."""
    wanted = [(change.id, change.schema, change.table, change.old)] if change.old else []
    for relation in change.reads_old:
        schema, _, name = relation.rpartition(".")
        wanted.append((f"{change.id} {name}", schema or "public", name, ()))
    for key, schema, name, columns in wanted:
        shape, oids = shape_of(connection, schema, name, columns)
        if oids and change.base:  # a view stands under the name: triggers and locks are the table's
            oids += _oids(connection, quoted(schema, change.base))
        if oids:
            yield key, (schema, name), shape, oids
    if change.keys:
        shape, oids = shape_of(connection, change.schema, change.table, ())
        if oids:
            yield f"{change.id} keys", (change.schema, change.table), replace(shape, keys=frozenset(change.keys)), oids


def _statements(watched: Watched, window: float) -> list[Blocked]:
    since, where = watched.sight, f"on {watched.standby}: " if watched.standby else ""
    if isinstance(since, Blind):
        return [Blocked("observation", f"{where}{since.why}", since.hint, watched.standby)]
    found = [
        _statement(use, watched.now, where)
        for use in watched.uses
        if use.last_used is not None and (watched.now - use.last_used).total_seconds() < window
    ]
    seen = (watched.now - since).total_seconds()
    if seen < window:
        left = format_seconds(window - seen)
        of = f"{format_seconds(seen)} of {format_seconds(window)}"
        told = f"{where}statements have been watched for {of}: {watched.note}"
        found.append(Blocked("observation", told, f"look again in {left}", watched.standby))
    return found


def _statement(use: Use, now: datetime, where: str) -> Blocked:
    ago = format_seconds(max(0.0, (now - (use.last_used or now)).total_seconds()))
    kind = "all columns" if use.how <= {ALL} else "unread statement" if use.how <= {UNREAD} else "statement"
    hints = {
        "all columns": "name the columns; a prepared `select *` fails once the column is gone",
        "unread statement": "the grammar rejects its text; look at it yourself",
        "statement": "deploy the application that uses the new shape everywhere",
    }
    how = ", ".join(sorted(use.how))
    told = f"{where}{use.query} ({how}; role {use.role}, {use.calls} calls, seen to run {ago} ago)"
    return Blocked(kind, told, hints[kind], use.statement.partition(":")[0])


def _transactions(connection: Connection, oids: Sequence[int], watched: Watched) -> list[Blocked]:
    found: list[Blocked] = []
    since = watched.since
    for row in fetch(connection, assets.query("gate/transactions")):
        touches = bool(set(row["locks"]) & set(oids))
        if row["pid"] == 0:
            if touches:
                gid = str(row["application"])
                hint = f"commit prepared '{gid}' or rollback prepared '{gid}'"
                found.append(Blocked("prepared transaction", f"prepared transaction {gid} of {row['role']}", hint, gid))
        elif _began(row, watched) < since if since else touches and row["age"] > YOUNG:
            found.append(_transaction(row, watched.standby, touches=touches))
    return found


def _began(row: Mapping[str, Any], watched: Watched) -> datetime:
    """By the primary's clock."""
    return watched.now - timedelta(seconds=row["age"]) if watched.standby else row["began"]


def _transaction(row: Mapping[str, Any], standby: str, *, touches: bool) -> Blocked:
    query = redact(" ".join((row["query"] or "").split()))
    why = "it holds the table" if touches else "it is older than the watch"
    where = f" on {standby}" if standby else ""
    told = f"pid {row['pid']}{where} ({row['role']}, {row['application'] or 'no application name'}), {why}: {query}"
    return Blocked(
        "transaction", told, f"wait for it, or select pg_terminate_backend({row['pid']}){where}", str(row["pid"])
    )


def _accepted(connection: Connection, change: str, blocked: Blocked) -> None:
    try:
        connection.execute(
            "insert into dbkit.gate_accept (change, what, who) values (%s, %s, %s) on conflict (change, what) "
            "do update set who = excluded.who, role = session_user, at = clock_timestamp()",
            [change, blocked.names[-1], redact(blocked.who)],
        )
    except psycopg.errors.UndefinedTable:
        from dbkit.postgres.migrate.backfill import state

        state.prepare(connection)
        _accepted(connection, change, blocked)


def begin(connection: Connection, change: Change, standbys: Sequence[Target] = ()) -> None:
    """Let the watch begin, where it can: called once a change is verified."""
    targets = list(_targets(connection, change))
    for key, _, shape, _ in targets:
        watch.observe(connection, key, shape)
    if targets and standbys:
        with reached(connection, standbys) as others:
            for standby in others.standbys:
                _on(standby, connection, targets, WINDOW)
