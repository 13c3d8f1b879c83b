"""The rows of dbkit.backfill: where each part of a fill stands, written in the transaction of the batch it tells of."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow, TupleRow, dict_row

from dbkit import assets
from dbkit.errors import Refused, Unreachable
from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.jobstore import lock_number
from dbkit.postgres.migrate.backfill.ranges import Cursor, Slice
from dbkit.postgres.migrate.backfill.tables import Key, Leaf, Table
from dbkit.postgres.migrate.changes.spec import BackfillSpec

_TABLES: Final = ("backfill", "job_limit", "verification", "gate_use", "gate_watch", "gate_accept")
_ATTEMPTS: Final = 100


@dataclass(frozen=True, slots=True)
class Part:
    """One range of one table as the database knows it. `seen` of `total` rows were visited, `rows` of them filled."""

    id: int
    number: int
    leaf: Leaf
    cur: Cursor | None
    fin: Cursor | None
    seen: float
    total: float
    rows: int
    batches: int
    restarts: int
    finished: bool


def prepare(connection: Connection) -> None:
    """Make the tables of `sql/state/backfill.sql` where they are not there. Schema dbkit itself must be."""
    for _ in range(_ATTEMPTS):
        found = fetch(
            connection,
            "select count(*) as n from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = 'dbkit' and c.relname = any (%s)",
            [list(_TABLES)],
        )
        if found[0]["n"] == len(_TABLES):
            return
        try:
            with connection.transaction():
                number = lock_number(connection.info.dbname, "first use")
                if fetch(connection, "select pg_try_advisory_xact_lock(%s) as held", [number])[0]["held"]:
                    connection.execute(assets.query("state/backfill"))
                    continue
        except psycopg.errors.InsufficientPrivilege as error:
            user = quote(str(fetch(connection, "select current_user::text as name")[0]["name"]))
            raise Unreachable(
                "dbkit may not keep the state of backfills in this database",
                why=error.diag.message_primary,
                hint=f"grant create, usage on schema dbkit to {user}",
            ) from None
        time.sleep(0.05)
    raise Refused("another dbkit is making schema dbkit and does not finish", hint="run the same command again")


def work_of(spec: BackfillSpec) -> str:
    """What a fill is to achieve, as a key: the same texts on the same table continue the same fill."""
    told = "\0".join((spec.change, spec.schema, spec.table, spec.assignments, spec.pending))
    return hashlib.sha256(told.encode()).hexdigest()[:24]


def begin(connection: Connection, spec: BackfillSpec, table: Table, parts: Sequence[Slice], *, fresh: bool) -> None:
    """Store the parts of a fill that are not stored yet. With `fresh` what an earlier fill left is forgotten."""
    work = work_of(spec)
    with connection.transaction():
        if fresh:
            connection.execute("delete from dbkit.backfill where root = %s and work = %s", [table.root, work])
        found = fetch(
            connection,
            "select coalesce(max(part), -1) + 1 as next from dbkit.backfill where root = %s and work = %s",
            [table.root, work],
        )
        per_leaf = {leaf.oid: sum(1 for p in parts if p.leaf.oid == leaf.oid) for leaf in table.leaves}
        for number, part in enumerate(parts, found[0]["next"]):
            leaf = part.leaf
            connection.execute(
                "insert into dbkit.backfill "
                "(root, work, change, part, rel, name, by, key, types, cur, fin, filenode, total, finished) "
                "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    table.root,
                    work,
                    spec.change,
                    number,
                    leaf.oid,
                    leaf.qualified,
                    part.by,
                    list(leaf.key.columns) if leaf.key else [],
                    list(leaf.key.types) if leaf.key else [],
                    _list(part.cur),
                    _list(part.fin),
                    leaf.filenode if part.by == "ctid" else None,
                    leaf.tuples / max(per_leaf[leaf.oid], 1),
                    part.fin is None,
                ],
            )


def parts(connection: Connection, spec: BackfillSpec, table: Table) -> list[Part]:
    """The parts of a fill whose tables are still there, in order. A leaf is walked as its part says."""
    rows = fetch(
        connection,
        "select * from dbkit.backfill where root = %s and work = %s order by part",
        [table.root, work_of(spec)],
    )
    leaves = {leaf.oid: leaf for leaf in table.leaves}
    return [_part(row, leaves[row["rel"]]) for row in rows if row["rel"] in leaves]


def ask(connection: Connection, part: int) -> psycopg.Cursor[DictRow]:
    """Ask for the row of a part, locked until the transaction ends, with its table's filenode as it is now."""
    return connection.cursor(row_factory=dict_row).execute(
        "select b.*, pg_catalog.pg_relation_filenode(b.rel)::bigint as filenode_now, "
        "pg_catalog.pg_relation_size(b.rel) / current_setting('block_size')::int as pages_now "
        "from dbkit.backfill b where b.id = %s for update",
        [part],
    )


def held(asked: psycopg.Cursor[DictRow]) -> dict[str, Any]:
    """The row that was asked for."""
    row = asked.fetchone()
    if row is None:
        raise Refused("the row of this backfill is gone from dbkit.backfill", hint="run the same command again")
    return row


def advance(
    connection: Connection, part: int, cur: Cursor | None, seen: float, rows: int, *, finished: bool
) -> psycopg.Cursor[TupleRow]:
    """Move the cursor of a part (None: it stays) in its batch; gives whether somebody waits for the batch."""
    return connection.execute(
        "update dbkit.backfill set cur = coalesce(%s, cur), seen = seen + %s, rows = rows + %s, "
        "batches = batches + 1, finished = %s, updated = now() where id = %s "
        "returning exists (select from pg_catalog.pg_locks l where not l.granted and l.locktype = 'transactionid' "
        "and l.transactionid = pg_catalog.pg_current_xact_id()::xid)",
        [None if cur is None else list(cur), seen, rows, finished, part],
    )


def restart(connection: Connection, row: Mapping[str, Any]) -> int:
    """Begin a rewritten table again, as one part: its rows lie elsewhere now, and nothing is known of where.

    `row` is what `held` gave. Returns how many pages there are to walk.
    """
    pages, filenode = int(row["pages_now"]), row["filenode_now"] or 0
    connection.execute(
        "update dbkit.backfill set finished = true, filenode = %s where root = %s and work = %s and rel = %s "
        "and id <> %s and not finished",
        [filenode, row["root"], row["work"], row["rel"], row["id"]],
    )
    connection.execute(
        "update dbkit.backfill set cur = '{0}', fin = array[%s::text], filenode = %s, seen = 0, finished = %s, "
        "total = (select sum(total) from dbkit.backfill where root = %s and work = %s and rel = %s), "
        "restarts = restarts + 1, updated = now() where id = %s",
        [str(pages), filenode, pages == 0, row["root"], row["work"], row["rel"], row["id"]],
    )
    return pages


def limits(connection: Connection, job: int) -> dict[str, tuple[str, str]]:
    """Each limit of a job with its text and who set it."""
    rows = fetch(connection, "select name, value, set_by from dbkit.job_limit where job = %s", [job])
    return {row["name"]: (row["value"], row["set_by"]) for row in rows}


def set_limits(connection: Connection, job: int, texts: Mapping[str, str]) -> None:
    """Set limits of a job; its runner takes them up at its next look."""
    with connection.transaction():
        for name, value in texts.items():
            connection.execute(
                "insert into dbkit.job_limit (job, name, value) values (%s, %s, %s) on conflict (job, name) "
                "do update set value = excluded.value, set_by = session_user, at = clock_timestamp()",
                [job, name, value],
            )


def _list(cursor: Cursor | None) -> list[str] | None:
    return None if cursor is None else list(cursor)


def _part(row: Mapping[str, Any], leaf: Leaf) -> Part:
    # As it was begun, whatever the statistics would choose today.
    key = Key("", tuple(row["key"]), tuple(row["types"])) if row["by"] == "key" else None
    return Part(
        id=row["id"],
        number=row["part"],
        leaf=replace(leaf, key=key),
        cur=None if row["cur"] is None else tuple(row["cur"]),
        fin=None if row["fin"] is None else tuple(row["fin"]),
        seen=row["seen"],
        total=row["total"],
        rows=row["rows"],
        batches=row["batches"],
        restarts=row["restarts"],
        finished=row["finished"],
    )
