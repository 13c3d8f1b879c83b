"""Watches pg_stat_statements from look to look: which statements of the old shape are still being run, and since when
it has been quiet. What was counted before the first look says nothing: the old application ran then.

Each look compares with the one before. Whatever breaks the chain (statistics reset, a failover to a server with its
own, entries evicted because pg_stat_statements.max is too small) begins the quiet time anew, since nobody can tell what
ran in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow

from dbkit import assets
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.backfill.text import MARK
from dbkit.postgres.migrate.gate.conflicts import conflicts
from dbkit.postgres.migrate.gate.shape import Shape
from dbkit.postgres.migrate.gate.standbys import Standby
from dbkit.postgres.migrate.gate.uses import uses
from dbkit.secrets import redact

LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Use:
    """A statement that uses the old shape. `last_used` None: not since the watch began."""

    statement: str
    role: str
    query: str
    how: frozenset[str]
    calls: int
    last_used: datetime | None


@dataclass(frozen=True, slots=True)
class Blind:
    """Why the watch cannot know, and what would open its eyes."""

    why: str
    hint: str


UNLOADED: Final = Blind("pg_stat_statements is not loaded", "add it to shared_preload_libraries and restart the server")


@dataclass
class Watched:
    """What the watch knows at this look."""

    now: datetime
    sight: datetime | Blind
    """Since when the statements have been watched without a gap, or why they cannot be."""
    uses: list[Use] = field(default_factory=list[Use])
    note: str = ""
    """What began the watch anew."""
    standby: str = ""
    """The standby that was looked at; empty: the primary."""

    @property
    def since(self) -> datetime | None:
        """Since when the statements have been watched; None for a blind watch."""
        return None if isinstance(self.sight, Blind) else self.sight

    @property
    def quiet(self) -> timedelta:
        """How long nothing of the old shape has been seen to run."""
        if self.since is None:
            return timedelta(0)
        used = [u.last_used for u in self.uses if u.last_used is not None]
        return self.now - max([self.since, *used])


def observe(connection: Connection, change: str, shape: Shape, standby: Standby | None = None) -> Watched:
    """Take a look at the primary or at a standby, compare with the last one, and store it on the primary.

    Raises psycopg.Error where a standby gives no answer.
    """
    here = fetch(connection, assets.query("gate/sight"))[0]
    there = fetch(standby.connection, assets.query("gate/sight"))[0] if standby else here
    blind = _blind({**there, "kept": here["kept"]})
    # The primary's clock holds for all: the standby's may differ.
    watched = Watched(here["now"], blind or here["now"], standby=standby.name if standby else "")
    if blind is not None:
        return watched
    reader = standby.connection if standby else connection
    key = f"{change} on {standby.name}" if standby else change
    try:
        info, rows = _counted(reader, there["extension"])
        with connection.transaction():
            _look(connection, key, shape, info, rows, watched)
    except psycopg.errors.InsufficientPrivilege as error:
        watched.sight = Blind(
            f"its looks cannot be stored: {error.diag.message_primary}",
            "grant the role writes on dbkit.*",
        )
    except psycopg.errors.ReadOnlySqlTransaction:
        watched.sight = Blind("this session may not write, so no look can be stored", "connect to the primary")
    except psycopg.errors.ObjectNotInPrerequisiteState:
        watched.sight = UNLOADED
    return watched


def _blind(sight: Mapping[str, Any]) -> Blind | None:
    if sight["extension"] is None:
        hint = "create extension pg_stat_statements; shared_preload_libraries must hold it, too"
        return Blind("pg_stat_statements is not there, so nobody can see which statements run", hint)
    if sight["track"] is None:
        return UNLOADED
    if sight["track"] == "none":
        return Blind("pg_stat_statements.track is none: it counts nothing", "set pg_stat_statements.track = 'top'")
    if not sight["reads_all"]:
        return Blind("this role cannot read the statements of others", "grant pg_read_all_stats to this role")
    if not sight["kept"]:
        return Blind("there is no schema dbkit to keep the looks in", "`dbkit migrate backfill` or `verify` makes it")
    return None


def _counted(reader: Connection, extension: str) -> tuple[DictRow, list[DictRow]]:
    with reader.transaction():
        reader.execute(
            "select /* dbkit */ set_config('search_path', quote_ident(%s) || ', pg_catalog', true)", [extension]
        )
        info = fetch(reader, "select dealloc::bigint as dealloc, stats_reset from pg_stat_statements_info")[0]
        rows = fetch(reader, assets.query("gate/statements"))
        reader.execute("select /* dbkit */ set_config('search_path', 'pg_catalog', true)")
    return info, rows


def _look(
    connection: Connection, change: str, shape: Shape, info: DictRow, rows: Sequence[DictRow], watched: Watched
) -> None:
    before = fetch(connection, "select * from dbkit.gate_watch where change = %s for update", [change])
    known = {
        row["statement"]: row for row in fetch(connection, "select * from dbkit.gate_use where change = %s", [change])
    }
    last = before[0] if before else None
    watched.sight, watched.note = _since(last, info, watched.now)
    columns = partial(_columns, _catalogue(connection))
    for row in rows:
        if row["query"] is None or MARK in row["query"]:
            continue
        how = conflicts(row["query"], shape) if shape.keys else uses(row["query"], shape, columns)
        if how:
            watched.uses.append(_use(row, how, known.get(row["statement"]), last, watched.now))
    _store(connection, change, info, watched)


def _since(last: Mapping[str, Any] | None, info: Mapping[str, Any], now: datetime) -> tuple[datetime, str]:
    if last is None:
        return now, "the watch begins"
    if last["stats_reset"] != info["stats_reset"]:
        # Not since the reset: after a failover these are the counters of another server, which may be older than the
        # watch, and do not hold what ran on the old primary until then.
        return (
            now,
            "pg_stat_statements was reset, or is another server's since a failover: what ran before is not known",
        )
    if info["dealloc"] > last["dealloc"]:
        evicted = info["dealloc"] - last["dealloc"]
        return now, f"entries were evicted {evicted} times since the last look: raise pg_stat_statements.max"
    return last["since"], last["note"]


def _use(
    row: Mapping[str, Any],
    how: frozenset[str],
    known: Mapping[str, Any] | None,
    last: Mapping[str, Any] | None,
    now: datetime,
) -> Use:
    used: datetime | None
    if last is None:
        used = None
    elif known is None or known["calls"] != row["calls"]:
        used = now
    else:
        used = known["last_used"]
    text = redact(" ".join(row["query"].split()))
    return Use(
        row["statement"],
        row["role"],
        text if len(text) <= LONGEST else text[: LONGEST - 1] + "…",
        how,
        row["calls"],
        used,
    )


def _store(connection: Connection, change: str, info: Mapping[str, Any], watched: Watched) -> None:
    connection.execute(
        "insert into dbkit.gate_watch (change, since, looked, stats_reset, dealloc, note) "
        "values (%s, %s, %s, %s, %s, %s) on conflict (change) do update set since = excluded.since, "
        "looked = excluded.looked, stats_reset = excluded.stats_reset, dealloc = excluded.dealloc, "
        "note = excluded.note",
        [change, watched.since, watched.now, info["stats_reset"], info["dealloc"], watched.note],
    )
    for use in watched.uses:
        connection.execute(
            "insert into dbkit.gate_use (change, statement, query, how, calls, first_seen, last_used) "
            "values (%s, %s, %s, %s, %s, %s, %s) on conflict (change, statement) "
            "do update set calls = excluded.calls, last_used = excluded.last_used, how = excluded.how",
            [change, use.statement, use.query, ", ".join(sorted(use.how)), use.calls, watched.now, use.last_used],
        )


def _catalogue(connection: Connection) -> dict[str, list[tuple[str, frozenset[str]]]]:
    """Columns of every relation of the user's schemas, by name."""
    rows = fetch(
        connection,
        "select n.nspname::text as schema, c.relname::text as name, array_agg(a.attname::text) as columns "
        "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
        "join pg_catalog.pg_attribute a on a.attrelid = c.oid and not a.attisdropped "
        "where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname not in ('pg_catalog', 'information_schema') "
        "group by 1, 2",
    )
    found: dict[str, list[tuple[str, frozenset[str]]]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append((row["schema"], frozenset(row["columns"])))
    return found


def _columns(
    catalogue: Mapping[str, Sequence[tuple[str, frozenset[str]]]], schema: str, name: str
) -> frozenset[str] | None:
    """Columns of the relation a name may mean; None where it may mean several."""
    found = [columns for held, columns in catalogue.get(name, ()) if schema in ("", held)]
    return found[0] if len(found) == 1 else None
