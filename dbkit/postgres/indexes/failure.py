"""What a failed build means: whether it may be tried again, waits for somebody, or needs a person, and what to do."""

from __future__ import annotations

from typing import Any, Final, LiteralString, cast

import psycopg
from psycopg import errors, sql

from dbkit import assets
from dbkit.errors import Broken, DbkitError, Refused, Stopped
from dbkit.postgres.connect import Connection, explain, fetch, lost
from dbkit.secrets import redact

COUNT_TIMEOUT: Final = "30s"
AGAIN: Final = "run the same command again: it goes on where this one stopped"
GUARD: Final = "DK004"
"""The SQLSTATE by which a revision of ours says that what it needs is not so, before anything is done."""
_STOPPED: Final = {
    "57014": "somebody cancelled it (pg_cancel_backend); find out who and why, then run the same command again",
    "40P01": "a transaction it waited for wanted a lock on the same table: run it again when traffic is low",
    "55P03": "a lock did not come free in time: run the same command again when the table is less busy",
    "25006": "this server has become a standby: connect to the primary and run the same command again",
    "53100": "the disk is full: free space (what is built, its sort files, its WAL), then run the same command again",
    "53300": "the server has no free connection: close some, then run the same command again",
}
_BROKEN: Final = {
    "53200": "the server ran out of memory: lower maintenance_work_mem or --jobs, then run it again",
    "54000": "a value is too long for this index: index md5(column) or left(column, n), use hash, "
    "or GIN for searching inside",
    "23P01": "rows collide under the exclusion constraint: remove them first",
}


def of_build(error: psycopg.Error, what: str, reason: str = "") -> DbkitError:
    """The failure of a statement: Stopped when running it again can succeed by itself, Broken when a person must act.

    `reason` is why dbkit itself cancelled it.
    """
    state = error.sqlstate or ""
    if state == GUARD:
        told = redact(error.diag.message_primary or what)
        return Refused(told, why=error.diag.message_detail, hint=error.diag.message_hint)
    if reason and state == "57014":
        return Stopped(f"{what} was cancelled", why=reason, hint=AGAIN)
    said = explain(error, f"{what} failed")
    why = said.why or ""
    if error.diag.message_detail and state != "23505":  # a unique violation's detail shows a row's values
        why = f"{why}; {redact(error.diag.message_detail)}"
    if state in _STOPPED:
        return Stopped(said.what, why=why, hint=_STOPPED[state])
    if lost(error):
        return Stopped("the connection to the server was lost", why=why, hint=AGAIN)
    if isinstance(error, errors.InsufficientPrivilege):
        return Stopped(said.what, why=why, hint=f"grant it again ({said.hint}), then run the same command again")
    if state.startswith("22"):
        hint = "the index expression fails for a row: correct the row, or guard the expression (nullif, case, where)"
        return Broken(said.what, why=why, hint=hint)
    return Broken(said.what, why=why, hint=_BROKEN.get(state) or error.diag.message_hint or said.hint or AGAIN)


def of_duplicates(connection: Connection, index_oid: int | None, what: str, error: psycopg.Error) -> Broken:
    """The failure of a unique build: how many rows collide, and the query that finds them.

    `index_oid` is the invalid index the build left, from which the keys are read. Scans the table, at most 30 seconds.
    """
    why = explain(error, what).why
    rows = [row for row in fetch(connection, assets.query("postgres/index_keys")) if row["oid"] == index_oid]
    if not rows:
        return Broken(f"{what} failed", why=why, hint="remove the duplicate rows, then run the same command again")
    query = _query(rows[0])
    return Broken(
        f"{what} failed: {_count(connection, query)}",
        why=why,
        hint=f"remove them, then run the same command again; to see them: {query.as_string(connection)}",
    )


def _query(row: dict[str, Any]) -> sql.Composed:
    # Keys and predicate are what the server itself deparsed for the index, fully qualified: SQL text, not input.
    keys = [sql.SQL(cast(LiteralString, key)) for key in row["keys"]]
    conditions = [] if row["nulls_collide"] else [sql.SQL("{} is not null").format(key) for key in keys]
    if row["predicate"]:
        conditions.append(sql.SQL("({})").format(sql.SQL(cast(LiteralString, row["predicate"]))))
    # A constant in parentheses would be taken for a position, or refused: an expression is named by its own position.
    grouped = [sql.Literal(n) if row["keys"][n - 1].startswith("(") else key for n, key in enumerate(keys, 1)]
    return sql.SQL(
        "select {keys}, count(*) as duplicates from {table}{where} group by {grouped} having count(*) > 1"
    ).format(
        keys=sql.SQL(", ").join(keys),
        grouped=sql.SQL(", ").join(grouped),
        table=sql.Identifier(row["schema"], row["table_name"]),
        where=sql.SQL(" where ") + sql.SQL(" and ").join(conditions) if conditions else sql.SQL(""),
    )


def _count(connection: Connection, query: sql.Composed) -> str:
    counting = sql.SQL("select count(*) as groups, coalesce(sum(duplicates), 0)::bigint as rows from ({}) found")
    try:
        with connection.transaction():
            connection.execute(sql.SQL("set local statement_timeout = {}").format(sql.Literal(COUNT_TIMEOUT)))
            counted = connection.execute(counting.format(query)).fetchone()
    except errors.QueryCanceled:
        return f"duplicate rows, not counted within {COUNT_TIMEOUT}"
    except errors.InsufficientPrivilege:
        return "duplicate rows, which this role may not read"
    groups, rows = counted or (0, 0)
    if not groups:
        return "there were duplicate rows, which are gone now"
    return f"{rows:,} rows share {groups:,} value{'s' if groups > 1 else ''}"
