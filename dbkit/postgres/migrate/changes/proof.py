"""After every step a look at the server: is what the revision promised there, and what it removed gone?"""

from __future__ import annotations

from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.changes.spec import BackfillSpec, Change, Phase


def missing(connection: Connection, change: Change) -> list[str]:
    """What is not as the change's phase says it should be, in sentences; empty when all is well."""
    found = _table(connection, change)
    if change.phase in (Phase.EXPANDED, Phase.VERIFIED):
        return found + _expanded(connection, change)
    if change.phase is Phase.CONTRACTED and change.contract:
        return found + _gone(connection, change, change.old) + _machinery(connection, change)
    if change.phase is Phase.NEW:
        return found + _gone(connection, change, change.new) + _machinery(connection, change)
    return found


def _expanded(connection: Connection, change: Change) -> list[str]:
    found: list[str] = []
    there = _columns(connection, change)
    found += [f"column {quote(c)} of {change.qualified} is not there" for c in change.new if there and c not in there]
    found += [
        f"the check {s.tie} of {s.schema}.{s.table} is not there" for s in change.backfills if not _tied(connection, s)
    ]
    rows = fetch(
        connection,
        "select tgname from pg_catalog.pg_trigger where tgrelid = to_regclass(%s) and tgname ~ '^[!~]dbkit_' "
        "and tgenabled <> 'A' and tgparentid = 0",
        [_name(change)],
    )
    return found + [f"trigger {quote(r['tgname'])} of {change.qualified} is not enabled always" for r in rows]


def _gone(connection: Connection, change: Change, columns: tuple[str, ...]) -> list[str]:
    there = _columns(connection, change)
    return [f"column {quote(c)} of {change.qualified} is still there" for c in columns if c in there]


def _machinery(connection: Connection, change: Change) -> list[str]:
    """Triggers and checks of this change that were left; those of other changes on the table are none of ours."""
    ties = [s.tie for s in change.backfills if s.tie]
    rows = fetch(
        connection,
        "select conname from pg_catalog.pg_constraint where conrelid = to_regclass(%s) and conname = any(%s)",
        [_name(change), ties],
    )
    return [f"the check {r['conname']} of {change.qualified} is still there" for r in rows]


def _table(connection: Connection, change: Change) -> list[str]:
    rows = fetch(
        connection,
        "select c.relname from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid "
        "where i.indrelid = to_regclass(%s) and not i.indisvalid",
        [_name(change)],
    )
    return [f"index {quote(r['relname'])} of {change.qualified} is not valid" for r in rows]


def _tied(connection: Connection, spec: BackfillSpec) -> bool:
    if not spec.tie:
        return True
    query = "select 1 as one from pg_catalog.pg_constraint where conrelid = %s and conname = %s"
    return bool(fetch(connection, query, [spec.oid, spec.tie]))


def _columns(connection: Connection, change: Change) -> frozenset[str]:
    rows = fetch(
        connection,
        "select attname from pg_catalog.pg_attribute "
        "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
        [_name(change)],
    )
    return frozenset(r["attname"] for r in rows)


def _name(change: Change) -> str:
    return f"{quote(change.schema)}.{quote(change.table)}"
