"""Job state beside the data it is about: schema `dbkit`, and an advisory lock that is tried and never waited for.

A session that waits in pg_advisory_lock() holds a snapshot, and a concurrent index build waits for that snapshot: the
two deadlock. Polling pg_try_advisory_lock() does not.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg

from dbkit import assets
from dbkit.errors import Unreachable
from dbkit.job import Job, Record, Status, Tick
from dbkit.model import Json
from dbkit.postgres.connect import Connection, explain, fetch, server
from dbkit.secrets import redact

_RECORDS: Final = (
    "select id, kind, key, status, spec, cursor, done, total, note, runner, requested, started::text, updated::text "
    "from dbkit.job order by id desc"
)


class PostgresStore:
    """The store of one database, on a connection of its own (autocommit, no snapshot held between calls)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def prepare(self) -> None:
        """Make schema `dbkit` if it is not there. Raises Unreachable with the GRANT when that is not permitted."""
        if fetch(self._connection, "select to_regclass('dbkit.job_event') is not null as there")[0]["there"]:
            return
        try:
            with self._connection.transaction():
                # Two first users at once: the second waits here for the first to commit, for milliseconds.
                self._connection.execute("select pg_advisory_xact_lock(hashtext('dbkit schema'))")
                self._connection.execute(assets.query("state/schema"))
        except psycopg.errors.InsufficientPrivilege as error:
            found = server(self._connection)
            raise Unreachable(
                "dbkit cannot keep its state in this database",
                why=error.diag.message_primary,
                hint=f"grant create on database {found.database} to {found.user}",
            ) from None

    def try_lock(self, key: str) -> bool:
        """Take the lock of a key if it is free."""
        row = fetch(self._connection, "select pg_try_advisory_lock(hashtext('dbkit'), hashtext(%s)) as held", [key])
        return bool(row[0]["held"])

    def holder(self, key: str) -> str:
        """Who holds the lock, in words."""
        rows = fetch(
            self._connection,
            "select a.pid, a.usename, coalesce(a.client_addr::text, 'the local socket') as host from pg_locks l "
            "join pg_stat_activity a on a.pid = l.pid where l.locktype = 'advisory' and l.granted "
            "and l.classid::bigint = (hashtext('dbkit')::bigint & 4294967295) "
            "and l.objid::bigint = (hashtext(%s)::bigint & 4294967295)",
            [key],
        )
        if not rows:
            return "its session has just ended"
        return f"server process {rows[0]['pid']}, user {rows[0]['usename']}, from {rows[0]['host']}"

    def unlock(self, key: str) -> None:
        """Give the lock back; a lost connection has done so already."""
        with suppress(psycopg.OperationalError):
            self._connection.execute("select pg_advisory_unlock(hashtext('dbkit'), hashtext(%s))", [key])

    def begin(self, job: Job) -> Record:
        """Take over the unfinished record of this job, or start one."""
        spec, runner = json.dumps(job.spec), f"{getpass.getuser()}@{socket.gethostname()} pid {os.getpid()}"
        taken = self._one(
            "update dbkit.job set status = 'running', spec = %s, runner = %s, requested = '', updated = now() "
            "where id = (select id from dbkit.job where kind = %s and key = %s and status in ('running', 'paused') "
            "order by id desc limit 1) returning id",
            [spec, runner, job.kind, job.key],
        )
        made = taken or self._one(
            "insert into dbkit.job (kind, key, status, spec, runner) values (%s, %s, 'running', %s, %s) returning id",
            [job.kind, job.key, spec, runner],
        )
        record = self.get(int(made[0]) if made else 0)
        self.log(record, "resumed" if taken else "started", {"runner": runner})
        return record

    def save(self, record: Record, tick: Tick) -> str:
        """Write progress; returns what another process has asked for."""
        row = self._one(
            "update dbkit.job set done = %s, total = %s, note = %s, cursor = coalesce(%s, cursor), updated = now() "
            "where id = %s returning requested",
            [tick.done, tick.total, redact(tick.note), json.dumps(tick.cursor) if tick.cursor else None, record.id],
        )
        return str(row[0]) if row else ""

    def end(self, record: Record, status: Status, note: str) -> None:
        """Close the record."""
        # With the connection lost the row stays `running` without a lock, which reads as interrupted.
        with suppress(psycopg.OperationalError):
            self._connection.execute(
                "update dbkit.job set status = %s, note = %s, updated = now() where id = %s",
                [status.value, redact(note), record.id],
            )
            self.log(record, status.value, {"note": redact(note)})

    def log(self, record: Record, event: str, detail: Mapping[str, Json]) -> None:
        """Append to the job's history."""
        self._connection.execute(
            "insert into dbkit.job_event (job, event, detail) values (%s, %s, %s)",
            [record.id, event, redact(json.dumps(detail))],
        )

    def request(self, job_id: int, what: str) -> None:
        """Ask the runner of a job to pause or abort."""
        self._connection.execute("update dbkit.job set requested = %s where id = %s", [what, job_id])

    def get(self, job_id: int) -> Record:
        """One record. Raises Unreachable when there is none."""
        rows = [r for r in self.records() if r.id == job_id]
        if not rows:
            raise Unreachable(
                f"there is no job {job_id} in this database", hint="`dbkit job list` shows those there are"
            )
        return rows[0]

    def records(self) -> Sequence[Record]:
        """All jobs, newest first; empty where dbkit has never run."""
        if not fetch(self._connection, "select to_regclass('dbkit.job') is not null as there")[0]["there"]:
            return ()
        try:
            rows = fetch(self._connection, _RECORDS)
        except psycopg.Error as error:
            raise explain(error, "cannot read dbkit's jobs", hint="grant usage on schema dbkit") from None
        return tuple(self._record(row) for row in rows)

    def events(self, job_id: int) -> list[dict[str, Any]]:
        """The history of a job, oldest first."""
        return fetch(
            self._connection, "select at::text, event, detail from dbkit.job_event where job = %s order by id", [job_id]
        )

    def _record(self, row: dict[str, Any]) -> Record:
        held: dict[str, Any] = {**row, "status": Status(row["status"]), "alive": self._alive(str(row["key"]))}
        return Record(**held)

    def _alive(self, key: str) -> bool:
        return self.holder(key) != "its session has just ended"

    def _one(self, query: Any, values: list[Any]) -> tuple[Any, ...] | None:
        return self._connection.execute(query, values).fetchone()
