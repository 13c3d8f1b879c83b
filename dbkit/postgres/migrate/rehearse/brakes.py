"""Brakes: locks that make a statement pause where it can be seen.

A statement that refuses a transaction gives its locks back before we can ask, and a look every millisecond can miss
them. So it is made to wait: on each of its tables one session holds SHARE UPDATE EXCLUSIVE, which every schema change
asks for in vain, and another ROW EXCLUSIVE, as a writer does, on which the CONCURRENTLY forms wait once they hold their
lock. A brake is taken off as soon as the statement was seen to wait for it; the time is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from dbkit.postgres.migrate.names import Name

_MODES: Final[tuple[LiteralString, ...]] = ("share update exclusive", "row exclusive")


class Brakes:
    """Brakes on some tables; `release` takes off those in the way, `close` the rest."""

    def __init__(self, dsn: str, tables: Iterable[Name]) -> None:
        self._held: dict[int, psycopg.Connection] = {}
        self._off: set[int] = set()
        self.last_release = 0.0
        """When the last brake that was in the way came off, in `time.monotonic`; 0.0 when none was."""
        try:
            for table in tables:
                for mode in _MODES:
                    connection = psycopg.connect(dsn, application_name="dbkit rehearse: brake")
                    self._held[connection.info.backend_pid] = connection
                    name = sql.Identifier(table.schema, table.name)
                    connection.execute(sql.SQL("lock table only {} in {} mode").format(name, sql.SQL(mode)))
        except BaseException:
            self.close()
            raise

    def release(self, blockers: Iterable[int]) -> bool:
        """Take off the brakes among these sessions; whether any was one of ours, if only on its way out."""
        blocking = set(blockers)
        for pid in blocking & self._held.keys():
            self._held.pop(pid).close()
            self._off.add(pid)
        ours = bool(blocking & self._off)
        if ours:
            self.last_release = time.monotonic()
        return ours

    def close(self) -> None:
        """Take off all."""
        while self._held:
            self._held.popitem()[1].close()
