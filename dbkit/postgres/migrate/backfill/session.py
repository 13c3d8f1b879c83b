"""The session a worker fills from: what is set, what could not be, and what follows from that for its batches."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from dbkit.errors import Unreachable
from dbkit.postgres.catalog import quoted
from dbkit.postgres.connect import Connection, connect, fetch
from dbkit.postgres.migrate.backfill.tables import Table
from dbkit.postgres.migrate.changes.spec import FILLING, BackfillSpec
from dbkit.settings import Target

LOCK_TIMEOUT: Final = 0.1
BATCH_LIMIT: Final = 0.2
"""Seconds after which a batch is cancelled, unless batches are to take longer: nobody waits longer for its rows."""
LAST_LIMIT: Final = 0.9
"""The same for the smallest batch there is, when that was cancelled. Under the server's deadlock_timeout of one second,
so that of two sessions that wait for each other it is this one that gives up."""
DEADLOCK_TIMEOUT: Final = 0.05


@dataclass(frozen=True, slots=True)
class Session:
    """How the workers' sessions are set. `notes` says why, for the job's history."""

    skip_triggers: bool
    deadlock_timeout: bool
    batch_limit: float
    most: float
    """What no batch may take, in seconds."""
    notes: tuple[str, ...]
    passed: str = ""
    """The trigger of the change itself that need not look at filled rows; empty where it has to."""

    def limit(self, batch_time: float, *, smallest: bool) -> float:
        """After how many seconds a batch is cancelled. `smallest`: it cannot be made smaller, and was cancelled."""
        return min(self.most, max(self.batch_limit, 4 * batch_time, LAST_LIMIT if smallest else 0.0))

    def open(self, target: Target) -> Connection:
        """A connection set so; transactions are the worker's."""
        connection = connect(target, purpose="backfill")
        try:
            settings: list[tuple[LiteralString, str]] = [
                ("lock_timeout", _ms(LOCK_TIMEOUT)),
                ("statement_timeout", _ms(self.batch_limit)),
                # Rows and cursor are lost together in a crash, or not at all; what comes after a backfill (the job's
                # end, VALIDATE) waits for the disk, and thereby for all of it.
                ("synchronous_commit", "off"),
                ("row_security", "off"),
                # Cursors are kept as text: it must mean the same in every session.
                ("datestyle", "ISO, YMD"),
                ("intervalstyle", "postgres"),
                ("extra_float_digits", "1"),
                ("bytea_output", "hex"),
            ]
            if self.skip_triggers:
                settings.append(("session_replication_role", "replica"))
            if self.passed:
                settings.append((FILLING, self.passed))
            if self.deadlock_timeout:
                settings.append(("deadlock_timeout", _ms(DEADLOCK_TIMEOUT)))
            for name, value in settings:
                connection.execute(sql.SQL("set /* dbkit */ {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        except psycopg.Error:
            connection.close()
            raise
        return connection


def settle(connection: Connection, spec: BackfillSpec, table: Table, triggers: str, batch_time: float) -> Session:
    """Decide how sessions are set. `triggers` is `skip`, `fire` or `auto`. Raises Unreachable when `skip` cannot be."""
    notes: list[str] = []
    skip = _skip_triggers(connection, spec, table, triggers, notes)
    deadlock = _permitted(connection, "deadlock_timeout", "50ms")
    most = float("inf")
    if not deadlock:
        server = fetch(
            connection,
            "select setting::float8 / 1000 as s from pg_catalog.pg_settings where name = %s",
            ["deadlock_timeout"],
        )[0]["s"]
        most = 0.9 * server
        notes.append(f"deadlock_timeout may not be set by this role: no batch takes more than {most * 1000:.0f} ms")
    passed = spec.kept if spec.kept and not _others_fire(connection, table, skip=skip) else ""
    return Session(skip, deadlock, min(most, max(BATCH_LIMIT, 4 * batch_time)), most, tuple(notes), passed)


def _others_fire(connection: Connection, table: Table, *, skip: bool) -> bool:
    """Whether a trigger that is not dbkit's sees filled rows: it may change them, so that they have to be looked at."""
    rows = fetch(
        connection,
        "select exists (select from pg_catalog.pg_trigger t where t.tgrelid::bigint = any (%s) and not t.tgisinternal "
        "and t.tgtype & 16 <> 0 and t.tgname !~ '^[!~]dbkit_' and t.tgenabled::text = any (%s)) as other",
        [[table.root, *(leaf.oid for leaf in table.leaves)], ["A", "R" if skip else "O"]],
    )
    return bool(rows[0]["other"])


def _skip_triggers(connection: Connection, spec: BackfillSpec, table: Table, triggers: str, notes: list[str]) -> bool:
    if triggers == "fire":
        return False
    names = fetch(
        connection,
        "select distinct t.tgname::text as name from pg_catalog.pg_trigger t where t.tgrelid::bigint = any (%s) "
        "and not t.tgisinternal and t.tgenabled = 'O' and t.tgtype & 16 <> 0 order by 1",
        [[table.root, *(leaf.oid for leaf in table.leaves)]],
    )
    keys = fetch(
        connection,
        "select c.conname::text as name from pg_catalog.pg_constraint c cross join lateral "
        "unnest(case when c.conrelid::bigint = any (%(t)s) then c.conkey else '{}' end || "
        "case when c.confrelid::bigint = any (%(t)s) then c.confkey else '{}' end) k (attnum) "
        "join pg_catalog.pg_attribute a on a.attnum = k.attnum and a.attrelid::bigint = any (%(t)s) "
        "and a.attname = any (%(c)s) where c.contype = 'f' limit 1",
        {"t": [table.root, *(leaf.oid for leaf in table.leaves)], "c": list(spec.columns)},
    )
    if keys:
        why = f"foreign key {keys[0]['name']} on the filled columns is checked by triggers"
        if triggers == "skip":
            raise Unreachable("triggers cannot be skipped here", why=why, hint="leave --triggers away")
        notes.append(f"triggers fire: {why}")
        return False
    if not names and triggers != "skip":
        return False
    if not _permitted(connection, "session_replication_role", "replica"):
        told = "session_replication_role may not be set by this role"
        hint = "grant set on parameter session_replication_role to ROLE (PostgreSQL 15 and newer)"
        if triggers == "skip":
            raise Unreachable("triggers cannot be skipped", why=told, hint=hint)
        notes.append(f"the table's own triggers fire ({_some(names)}): {told}; {hint}")
        return False
    if names:
        notes.append(f"the table's own triggers do not fire for filled rows: {_some(names)}")
    return True


def _some(names: list[dict[str, str]]) -> str:
    return ", ".join(row["name"] for row in names[:5])


def _permitted(connection: Connection, name: LiteralString, value: str) -> bool:
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("set local {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        return True
    return False


def inherits(connection: Connection, table: Table, spec: BackfillSpec) -> str:
    """A child table by inheritance (not partitioning), or an empty string: parents' triggers do not fire there."""
    rows = fetch(
        connection,
        "select n.nspname::text as schema, c.relname::text as name from pg_catalog.pg_inherits i "
        "join pg_catalog.pg_class p on p.oid = i.inhparent and p.relkind = 'r' "
        "join pg_catalog.pg_class c on c.oid = i.inhrelid "
        "join pg_catalog.pg_namespace n on n.oid = c.relnamespace where i.inhparent = %s limit 1",
        [table.root],
    )
    return quoted(rows[0]["schema"], rows[0]["name"]) if rows else ""


def _ms(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
