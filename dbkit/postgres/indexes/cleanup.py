"""Removes what a failed build left behind: only what is INVALID, ours, and built by nobody."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from psycopg import errors, sql

from dbkit.errors import Stopped
from dbkit.plan import Step
from dbkit.postgres import catalog
from dbkit.postgres.catalog import Index, quote
from dbkit.postgres.connect import Connection, Server, explain, fetch
from dbkit.postgres.indexes.watch import Limits, Running, Watch

PATIENCE: Final = Limits(wait=0, max_wait=10, deadline=20)
"""Dropping waits for the same transactions as the build did. What cannot be dropped now, the next run drops."""
_LEFTOVER: Final = re.compile(r"(?P<name>.+)_cc(?P<kind>new|old)\d*$")


def sweep(connection: Connection, server: Server, watch: Watch, made: Index) -> bool:
    """Drop the invalid index our own failed statement has just left; False when it has to stay for now."""
    builds = catalog.builds(connection)
    if any(build.index_oid == made.oid for build in builds):
        watch.say("kept", object=made.qualified, why="it is being built by another session")
        return False
    if not server.reads_all_stats and any(build.table_oid is None for build in builds):
        grant = f"grant pg_read_all_stats to {quote(server.user)}"
        watch.say("kept", object=made.qualified, why=f"who is building it is hidden from this role: {grant}")
        return False
    statement = sql.SQL("drop index concurrently {}").format(sql.Identifier(made.schema, made.name))
    running = Running(connection, made.qualified, PATIENCE, tidying=True)
    try:
        with watch.over(running):
            connection.execute("set /* dbkit */ lock_timeout = '5s'")
            connection.execute(statement)
    except (errors.LockNotAvailable, errors.QueryCanceled) as error:
        why = f"{explain(error, '').why}; the next run removes it"
        watch.say("kept", object=made.qualified, why=f"{why}{f', {running.blocker}' if running.blocker else ''}")
        return False
    except Stopped:
        return False
    finally:
        if not connection.closed:
            connection.execute("set /* dbkit */ lock_timeout = 0")
    watch.say("removed", object=made.qualified, why="the INVALID remains of the failed build")
    return True


def invalid(connection: Connection) -> frozenset[int]:
    """The oids of all INVALID indexes; taken before a statement, it tells what the statement left."""
    rows = fetch(connection, "select indexrelid::bigint as oid from pg_catalog.pg_index where not indisvalid")
    return frozenset(row["oid"] for row in rows)


def remains(connection: Connection, known: frozenset[int], step: Step) -> Index | None:
    """The INVALID index a failed step has left: the one it was to make, or the copy a REINDEX builds beside it."""
    for index in catalog.indexes(connection):
        if index.oid in known or index.is_valid or index.is_partitioned:
            continue
        if index.qualified == step.object or (step.action == "reindex" and _is_copy(index, step)):
            return index
    return None


def _is_copy(index: Index, step: Step) -> bool:
    return index.table == step.table and _LEFTOVER.fullmatch(index.name) is not None


def leftovers(indexes: Iterable[Index], tables: Iterable[str]) -> list[str]:
    """INVALID remains of interrupted REINDEX CONCURRENTLY runs on these tables, each with what it is."""
    wanted = set(tables)
    told: list[str] = []
    for index in indexes:
        match = _LEFTOVER.fullmatch(index.name)
        if match is None or index.is_valid or index.table not in wanted:
            continue
        what = "an unfinished copy" if match["kind"] == "new" else "the old version, already replaced"
        told.append(f"{index.qualified}: {what} of {quote(match['name'])}; drop index concurrently {index.qualified}")
    return told
