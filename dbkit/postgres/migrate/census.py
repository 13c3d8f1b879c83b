"""Takes the statistics of a real server that lint and rehearsal weigh migrations by: sizes and rates, never a value."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from dbkit import __version__, assets
from dbkit.errors import UsageError
from dbkit.model import Json
from dbkit.postgres import ddl
from dbkit.postgres.connect import Connection, Server, connect, explain, fetch, require_supported, server
from dbkit.settings import Target

SCHEMA: Final = 1
_COUNTED: Final = ("inserted", "updated", "deleted")
_STATEMENTS: Final[LiteralString] = (
    "select s.query, s.calls from {}.pg_stat_statements s"
    " join pg_catalog.pg_database d on d.oid = s.dbid and d.datname = current_database()"
)


@dataclass(slots=True)
class Census:
    """What was taken, as JSON, and what could not be seen, with the right that opens it."""

    data: dict[str, Json]
    bytes: int
    """Of all tables with their indexes."""
    skipped: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


@dataclass(frozen=True, slots=True)
class _Moment:
    """Counters at one time."""

    at: datetime
    tables: Mapping[int, Mapping[str, Any]]
    calls: Mapping[str, int]
    """Calls by statement text, empty without pg_stat_statements."""


def take(target: Target, window: float) -> Census:
    """Read the statistics. With a window in seconds, rates are of that time; without, since the counters began."""
    with connect(target, purpose="stats") as connection:
        found = server(connection)
        require_supported(found)
        try:
            return _take(connection, found, window)
        except psycopg.Error as error:
            raise explain(error, f"cannot read the statistics of {target.name}") from None


def _take(connection: Connection, found: Server, window: float) -> Census:
    skipped: list[tuple[str, str]] = []
    if not found.reads_all_stats:
        skipped.append(("statements and replicas of other roles", f"grant pg_read_all_stats to {found.user}"))
    place = _statements_place(connection)
    if place is None:
        skipped.append(("statements per table", "create extension pg_stat_statements"))
    age = fetch(connection, assets.query("postgres/counter_age"))[0]
    last = _moment(connection, place, skipped)
    if window > 0:
        time.sleep(window)
        first, last = last, _moment(connection, place, skipped)
        basis: dict[str, Json] = {
            "basis": "window",
            "seconds": round((last.at - first.at).total_seconds(), 3),
            "from": first.at.isoformat(),
        }
    else:
        first = _Moment(age["since"], {}, {})
        seconds = (last.at - age["since"]).total_seconds()
        basis = {"basis": "since reset", "seconds": round(seconds, 3), "from": age["since"].isoformat()}
    seconds = max((last.at - first.at).total_seconds(), 0.001)
    rates = _statement_rates(first, last, seconds) if place is not None else {}
    replicas = fetch(connection, assets.query("postgres/standbys"))
    data: dict[str, Json] = {
        "schema": SCHEMA,
        "tool": "dbkit",
        "version": __version__,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "server_version": found.version_text,
        "database": found.database,
        "rates": basis,
        "tables": _tables(connection, first, last, seconds, rates),
        "replicas": [dict(r) for r in replicas],
        "skipped": [{"what": what, "opens": opens} for what, opens in skipped],
    }
    everything = sum(row["bytes"] + row["index_bytes"] for row in last.tables.values())
    return Census(data, everything, skipped)


def _moment(connection: Connection, place: str | None, skipped: list[tuple[str, str]]) -> _Moment:
    now = fetch(connection, assets.query("postgres/counter_age"))[0]["now"]
    tables = {row["oid"]: row for row in fetch(connection, assets.query("postgres/table_sizes"))}
    calls: dict[str, int] = {}
    if place is not None:
        try:
            rows = connection.execute(sql.SQL(_STATEMENTS).format(sql.Identifier(place))).fetchall()
        except psycopg.Error as error:
            reason = (error.diag.message_primary or str(error)).strip()
            if not any(what == "statements per table" for what, _ in skipped):
                skipped.append(("statements per table", f"pg_stat_statements: {reason}"))
            rows = []
        for text, count in rows:
            calls[str(text)] = calls.get(str(text), 0) + int(count)
    return _Moment(now, tables, calls)


def _statements_place(connection: Connection) -> str | None:
    """The schema of pg_stat_statements, if it is installed."""
    row = connection.execute(
        "select n.nspname from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace"
        " where e.extname = 'pg_stat_statements'"
    ).fetchone()
    return str(row[0]) if row else None


def _statement_rates(first: _Moment, last: _Moment, seconds: float) -> dict[tuple[str, str], tuple[float, int]]:
    """Calls a second and different statements by (schema or empty, table), by the tables each text names."""
    found: dict[tuple[str, str], tuple[float, int]] = {}
    for text, calls in last.calls.items():
        made = calls - first.calls.get(text, 0)
        if made <= 0:
            continue
        for key in _named(text):
            rate, different = found.get(key, (0.0, 0))
            found[key] = (rate + made / seconds, different + 1)
    return found


def _named(text: str) -> set[tuple[str, str]]:
    from dbkit.postgres.migrate.rehearse.mentions import relations

    try:
        return {(n.schema, n.name) for s in ddl.parse(text) for n in relations(s)}
    except UsageError:
        return set()  # a text that was cut, or that another role may not show


def _tables(
    connection: Connection,
    first: _Moment,
    last: _Moment,
    seconds: float,
    rates: Mapping[tuple[str, str], tuple[float, int]],
) -> list[Json]:
    indexes: dict[int, list[Json]] = {}
    for row in fetch(connection, assets.query("postgres/indexes")):
        indexes.setdefault(row["table_oid"], []).append(
            {
                "name": row["name"],
                "bytes": row["bytes"],
                "unique": row["is_unique"],
                "primary": row["is_primary"],
                "valid": row["is_valid"],
                "method": row["method"],
                "columns": [c or "(expression)" for c in row["columns"]],
                "partial": row["predicate"] is not None,
            }
        )
    shown = {oid: f"{row['schema']}.{row['name']}" for oid, row in last.tables.items()}
    keys: dict[int, list[Json]] = {}
    for row in fetch(connection, assets.query("postgres/seed_keys")):
        keys.setdefault(row["child"], []).append(
            {"name": row["name"], "columns": list(row["columns"]), "references": shown.get(row["parent"], "")}
        )
    below: dict[str, list[str]] = {}
    for oid, row in last.tables.items():
        if row["parent_name"]:
            below.setdefault(f"{row['parent_schema']}.{row['parent_name']}", []).append(shown[oid])
    sizes = _rolled_up(last, shown, below)
    nulls: dict[int, dict[str, Json]] = {}
    for row in fetch(connection, assets.query("postgres/null_shares")):
        nulls.setdefault(row["oid"], {})[row["name"]] = round(row["share"], 4)
    made: list[Json] = []
    for oid, row in last.tables.items():
        name = shown[oid]
        old = first.tables.get(oid, {})
        written = {k: (row[k] or 0) - (old.get(k) or 0) for k in _COUNTED}
        scans = (row["seq_scan"] or 0) + row["idx_scan"] - (old.get("seq_scan") or 0) - (old.get("idx_scan") or 0)
        rate, different = rates.get((row["schema"], row["name"]), (0.0, 0))
        bare = rates.get(("", row["name"]), (0.0, 0))  # a text without a schema: it may mean this one
        made.append(
            {
                "name": name,
                "kind": {"r": "table", "p": "partitioned table", "m": "materialized view"}[row["kind"]],
                **sizes[name],
                "dead_rows": row["dead"] or 0,
                "reads_per_second": round(max(scans, 0) / seconds, 3),
                "writes_per_second": round(max(sum(written.values()), 0) / seconds, 3),
                **{f"{k}_per_second": round(max(v, 0) / seconds, 3) for k, v in written.items()},
                "statements_per_second": round(rate + bare[0], 3) if last.calls else None,
                "different_statements": different + bare[1] if last.calls else None,
                "null_shares": nulls.get(oid),
                "partition_of": f"{row['parent_schema']}.{row['parent_name']}" if row["parent_name"] else None,
                "partitions": list(below.get(name, [])),
                "indexes": indexes.get(oid, []),
                "foreign_keys": keys.get(oid, []),
            }
        )
    return made


def _rolled_up(last: _Moment, shown: Mapping[int, str], below: Mapping[str, list[str]]) -> dict[str, dict[str, Json]]:
    """Sizes by name; a partitioned table is as large as its partitions together."""
    own: dict[str, dict[str, int]] = {}
    for oid, row in last.tables.items():
        rows = row["tuples"] if row["tuples"] >= 0 else (row["live"] or 0)  # never analysed: what the counters say
        parts = {k: int(row[k]) for k in ("bytes", "heap_bytes", "toast_bytes", "index_bytes")}
        own[shown[oid]] = {**parts, "rows": int(rows) if row["kind"] != "p" else 0}

    def total(name: str) -> dict[str, int]:
        parts = [total(child) for child in below.get(name, []) if child in own]
        return {k: v + sum(p[k] for p in parts) for k, v in own[name].items()}

    return {name: dict(total(name)) for name in own}
