"""One batch: rows and cursor in one transaction, so that a crash at any point loses nothing and repeats nothing.

What is done is what the part's row says, not what this process remembers: the row is read and locked first, under a
ROW EXCLUSIVE lock of the table that keeps it from being rewritten (VACUUM FULL, CLUSTER) meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate.backfill import ranges, state, text
from dbkit.postgres.migrate.backfill.ranges import Cursor
from dbkit.postgres.migrate.backfill.state import Part
from dbkit.postgres.migrate.changes.spec import BackfillSpec

RACES: Final = {
    "55P03": "a lock did not come free in time",
    "57014": "it took too long and was cancelled",
    "40P01": "it met a deadlock and gave way",
    "40001": "a concurrent update came between",
}
"""What a batch may lose without harm: it is rolled back, halved and tried again."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a batch takes: `size` rows or pages from where the part stands, or up to `stop` where that is given.

    With a `share` above 1 it fills about one in so many of the rows and leaves the cursor: the dead versions make room
    for the next share in the same pages, which then needs no new index entries. The last step of a range has share 1.
    """

    size: int
    share: int = 1
    stop: Cursor | None = None
    limit: float | None = None
    """Seconds after which it is cancelled; None for the session's own limit."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a committed batch did, and for how many seconds it may have held rows.

    `restarted` says why the part begins again (the table was rewritten).
    """

    size: int
    seconds: float
    seen: float
    rows: int
    finished: bool
    restarted: str = ""
    stop: Cursor | None = None
    """Where its range ends; the part stands there now if its share was 1."""
    waited: bool = False
    """Whether somebody waited for its rows when it was done."""


def run(connection: Connection, spec: BackfillSpec, part: Part, step: Step, guess: Cursor | None = None) -> Done:
    """Carry out the next batch of a part. Raises what the server raises; then nothing of it was done.

    `guess` is where the part is believed to stand (its last batch ended there). Three journeys to the server then do:
    the lock, the part's row and the end of the batch; the update; the new place and the commit.
    """
    began, size = time.monotonic(), step.size
    with connection.pipeline() as pipeline, connection.transaction():
        if step.limit is not None:
            connection.execute(
                sql.SQL("set local statement_timeout = {}").format(sql.Literal(f"{round(step.limit * 1000)}ms"))
            )
        connection.execute(
            sql.SQL("lock table only {} in row exclusive mode").format(text.table(part.leaf.schema, part.leaf.name))
        )
        asked = state.ask(connection, part.id)
        foreseen = ranges.ask(connection, part.leaf, guess, part.fin, size) if guess and part.fin else None
        row = state.held(asked)
        if row["finished"]:
            return Done(0, time.monotonic() - began, 0, 0, finished=True)
        if row["by"] == "ctid" and row["filenode"] != row["filenode_now"]:
            pages = state.restart(connection, row)
            told = f"{row['name']} was rewritten (filenode {row['filenode']} is now {row['filenode_now']})"
            return Done(0, time.monotonic() - began, 0, 0, finished=pages == 0, restarted=told)
        cur, fin = _cursor(row["cur"]), tuple(row["fin"])
        if (cur, fin) != (guess, part.fin) or foreseen is None:
            foreseen = ranges.ask(connection, part.leaf, cur, fin, size)
        stop, seen = ranges.upto(foreseen, part.leaf, cur, fin, size)
        if step.stop is not None and cur == guess:
            stop = step.stop
            seen = ranges.expected(part.leaf, cur, stop)
        began = time.monotonic()  # from here on others may wait for its rows
        done = connection.execute(ranges.update(spec, part.leaf, cur, stop, step.share))
        pipeline.sync()
        rows = done.rowcount
        last = step.share == 1
        finished = last and stop == fin
        seen = (seen or rows) if last else 0.0
        asked = state.advance(connection, part.id, stop if last else None, seen, rows, finished=finished)
    waited = bool((asked.fetchone() or (False,))[0])
    return Done(size, time.monotonic() - began, seen, rows, finished=finished, stop=stop, waited=waited)


def where_it_stands(connection: Connection, part: Part, size: int) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The row of a part and where its next batch of this size would end; read only."""
    with connection.transaction(force_rollback=True):
        row = state.held(state.ask(connection, part.id))
        cur, fin = _cursor(row["cur"]), tuple(row["fin"])
        stop, _ = ranges.upto(ranges.ask(connection, part.leaf, cur, fin, size), part.leaf, cur, fin, size)
    return row, stop


def race(error: psycopg.Error) -> str:
    """Why a batch may be tried again, or an empty string when it may not."""
    return RACES.get(error.sqlstate or "", "")


def lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone, or the server is going down or not up yet."""
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return True
    return error.sqlstate in ("57P01", "57P02", "57P03", "08006", "08003", "08001")


def _cursor(held: list[str] | None) -> tuple[str, ...] | None:
    return None if held is None else tuple(held)
