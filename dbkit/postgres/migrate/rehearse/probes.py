"""Probes: an application's reader and writer on each table, which measure how long they are kept waiting."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rehearse.clock import Clock
from dbkit.postgres.migrate.rehearse.observed import Hold, Observation, Stall

MOST_TABLES: Final = 8
"""Tables that are probed at once: every probe is a thread and a session, and must not be the load itself."""
EVERY: Final = 0.02
"""Seconds between two looks of one probe."""
NOTABLE: Final = 0.005
"""Seconds; what took less was not kept waiting."""

_READER: Final[LiteralString] = "select 1 from {0} limit 1"
# What a writer asks for, without changing a row or firing a trigger: its table lock, and the lock of one row.
_WRITER: Final[LiteralString] = (
    "begin; lock table {0} in row exclusive mode; select 1 from {0} limit 1 for no key update; commit"
)


@dataclass(slots=True)
class _Slow:
    """One look that took long, in `time.monotonic`."""

    start: float
    end: float


@dataclass(slots=True)
class _Probe:
    table: Name
    kind: str
    connection: psycopg.Connection
    slow: list[_Slow] = field(default_factory=list[_Slow])
    looks: int = 0
    gone: str = ""
    """Why it ended before the rehearsal did: the table was dropped or renamed."""


class Probes:
    """Readers and writers on some tables, from `start` to `stop`."""

    def __init__(self, dsn: str, tables: list[Name]) -> None:
        self._stopping = threading.Event()
        self._probes = [
            _Probe(
                table,
                kind,
                psycopg.connect(dsn, autocommit=True, application_name=f"dbkit rehearse: {kind}"),
            )
            for table in tables[:MOST_TABLES]
            for kind in ("reader", "writer")
        ]
        self._threads = [
            threading.Thread(target=self._run, args=(probe, number), name=f"dbkit rehearse: {probe.kind}", daemon=True)
            for number, probe in enumerate(self._probes)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def looks(self) -> int:
        """How often all of them have looked so far."""
        return sum(p.looks for p in self._probes)

    def wait_for_all(self, seconds: float = 5.0) -> None:
        """Until every probe has looked once more: one that was kept waiting has then been let through."""
        until = time.monotonic() + seconds
        before = {id(p): p.looks for p in self._probes}
        while time.monotonic() < until and any(p.looks <= before[id(p)] and not p.gone for p in self._probes):
            time.sleep(0.002)

    def stop(self) -> None:
        """End all probes and their sessions."""
        self._stopping.set()
        for probe, thread in zip(self._probes, self._threads, strict=True):
            thread.join(1.0)
            if thread.is_alive():  # it waits for a lock of a session that is gone by now, or is about to be
                with suppress(psycopg.Error):
                    probe.connection.cancel_safe(timeout=5)
                thread.join()
            probe.connection.close()

    def stalls(self, clock: Clock, holds: list[Hold], seen: list[Observation]) -> list[Stall]:
        """Of each table and kind, the longest wait that a lock of the migration explains."""
        found: list[Stall] = []
        for probe in self._probes:
            worst: Stall | None = None
            for slow in probe.slow:
                start, end = clock.at(slow.start), clock.at(slow.end)
                for hold in _in_the_way(probe, holds, seen):
                    overlap = min(end, hold.end) - max(start, hold.start)
                    if overlap > (worst.seconds if worst else NOTABLE):
                        worst = Stall(str(probe.table), probe.kind, overlap, hold.statement, max(start, hold.start))
            if worst is not None:
                found.append(worst)
        return found

    def gone(self) -> dict[str, str]:
        """Tables that disappeared under their probes, with the server's words."""
        return {str(p.table): p.gone for p in self._probes if p.gone}

    def _run(self, probe: _Probe, number: int) -> None:
        name = sql.Identifier(probe.table.schema, probe.table.name)
        query = sql.SQL(_READER if probe.kind == "reader" else _WRITER).format(name)
        self._stopping.wait(EVERY * number / max(len(self._probes), 1))
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                probe.connection.execute(query)
            except psycopg.Error as error:
                if self._stopping.is_set() or not _goes_on(probe, error):
                    return
            ended = time.monotonic()
            if ended - began > NOTABLE:
                probe.slow.append(_Slow(began, ended))
            probe.looks += 1
            self._stopping.wait(EVERY)


def _goes_on(probe: _Probe, error: psycopg.Error) -> bool:
    """Whether the probe looks again after an error: not when its table is gone."""
    if probe.connection.closed or isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName):
        probe.gone = " ".join((error.diag.message_primary or str(error)).split())
        return False
    with suppress(psycopg.Error):
        probe.connection.rollback()
    return True


def _in_the_way(probe: _Probe, holds: list[Hold], seen: list[Observation]) -> list[Hold]:
    """Locks that keep this probe out: ACCESS EXCLUSIVE a reader, SHARE and above a writer, changed rows a writer."""
    least = Mode.ACCESS_EXCLUSIVE if probe.kind == "reader" else Mode.SHARE
    return [
        h
        for h in holds
        if h.relation == str(probe.table)
        and (
            h.mode >= least or (probe.kind == "writer" and h.mode is Mode.ROW_EXCLUSIVE and _writes(seen, h.statement))
        )
    ]


def _writes(seen: list[Observation], statement: int) -> bool:
    return 0 <= statement < len(seen) and seen[statement].kind in (
        "update_stmt",
        "delete_stmt",
        "merge_stmt",
        "do_stmt",
    )
