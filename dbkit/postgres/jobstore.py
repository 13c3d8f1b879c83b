"""Job state beside the data it is about: schema `dbkit`, and an advisory lock that is tried and never waited for.

A session that waits in pg_advisory_lock() holds a snapshot, and a concurrent index build waits for that snapshot: the
two deadlock. Polling pg_try_advisory_lock() does not. The lock lives on the connection that also writes the progress:
once that connection is lost the next write fails, so a run never goes on without its lock.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg

from dbkit import __version__, assets
from dbkit.errors import Refused, Stopped, Unreachable
from dbkit.job import Job, Record, Status, Tick
from dbkit.model import Json
from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import Connection, explain, fetch
from dbkit.secrets import redact, redacted
from dbkit.sizes import format_seconds

_FIRST_USE_ATTEMPTS: Final = 100
SILENT: Final = 30.0
"""Seconds without a word of a runner, which writes each second or oftener, after which it may be gone."""
UNFINISHED: Final = (Status.RUNNING, Status.PAUSED, Status.FAILED)


class PostgresStore:
    """The store of one database, on a connection of its own (autocommit, so that no snapshot is held between calls).

    With `resume` the job of that number is taken up, otherwise the newest unfinished one with the same work.
    """

    def __init__(self, connection: Connection, *, resume: int | None = None) -> None:
        self._connection = connection
        self._resume = resume
        self._run: int | None = None

    def prepare(self) -> None:
        """Make schema `dbkit` if it is not there. Raises Unreachable with the GRANT when that is not permitted."""
        user, database = quote(self._user()), quote(self._connection.info.dbname)
        try:
            for _ in range(_FIRST_USE_ATTEMPTS):
                rights = fetch(self._connection, assets.query("state/rights"))[0]
                if rights["complete"]:
                    if rights["usage"] and rights["writes"]:
                        return
                    raise Unreachable(
                        "dbkit may not write its state in this database",
                        why=f"schema dbkit belongs to another role than {user}",
                        hint=f"grant usage on schema dbkit to {user}; "
                        f"grant select, insert, update on all tables in schema dbkit to {user}",
                    )
                if not self._create():
                    time.sleep(0.05)
        except psycopg.errors.InsufficientPrivilege as error:
            raise Unreachable(
                "dbkit may not keep its state in this database",
                why=error.diag.message_primary,
                hint=f"grant create on database {database} to {user}",
            ) from None
        raise Refused("another dbkit is making schema dbkit and does not finish", hint="run the same command again")

    def _create(self) -> bool:
        """One attempt; False while another first user is at it."""
        with self._connection.transaction():
            number = lock_number(self._connection.info.dbname, "first use")
            held = fetch(self._connection, "select pg_try_advisory_xact_lock(%s) as held", [number])[0]["held"]
            if held:
                self._connection.execute(assets.query("state/schema"))
            return bool(held)

    def try_lock(self, key: str) -> bool:
        """Take the lock of a key if it is free."""
        rows = fetch(self._connection, "select /* dbkit */ pg_try_advisory_lock(%s) as held", [self._number(key)])
        return bool(rows[0]["held"])

    def holder(self, key: str) -> tuple[str, str]:
        """Who holds the lock, in words: the job and its runner where they can be read, and the server's session.

        With a hint where the runner seems to be gone: the session of a host that vanished is left to keepalives.
        """
        held = self._held().get(self._number(key))
        if held is None:
            return "its session has just ended", ""
        session = f"server process {held['pid']}, user {held['username']}, from {held['client'] or 'the local socket'}"
        with suppress(psycopg.Error):
            rows = fetch(self._connection, assets.query("state/runner"), {"pid": held["pid"], "since": held["since"]})
            if rows:
                row = rows[0]
                who = (
                    f"job {row['job']}, run by {row['runner']} ({session}, {held['application_name']}), "
                    f"since {held['since']}, last progress {row['updated']}"
                )
                if row["silent"] < SILENT:
                    return who, ""
                hint = (
                    f"if {row['runner']} is gone, select pg_terminate_backend({held['pid']}) frees its lock; then run "
                    "the same command again: it goes on where that one stopped"
                )
                return f"{who}: {format_seconds(row['silent'])} ago", hint
        return f"{session}, {held['application_name']}, since {held['since']}", ""

    def unlock(self, key: str) -> None:
        """Give the lock back; a lost connection has done so already."""
        with suppress(psycopg.OperationalError):
            self._connection.execute("select pg_advisory_unlock(%s)", [self._number(key)])

    def begin(self, job: Job) -> Record:
        """Take over the unfinished job with the same work, or start one."""
        spec, work = json.dumps(job.spec), str(job.spec.get("work", ""))
        runner = f"{_os_user()}@{socket.gethostname()} pid {os.getpid()}"
        unfinished = [status.value for status in UNFINISHED]
        taken = self._one(
            "update dbkit.job set status = 'running', spec = %s, work = %s, runner = %s, requested = '', note = '', "
            "updated = now() where id = (select id from dbkit.job where kind = %s and key = %s and status = any(%s) "
            "and case when %s::bigint is null then work = %s else id = %s end order by id desc limit 1) returning id",
            [spec, work, runner, job.kind, job.key, unfinished, self._resume, work, self._resume],
        )
        if taken is None and self._resume is not None:
            raise Refused(f"job {self._resume} cannot be taken up", hint="`dbkit job list` shows what became of it")
        made = taken or self._one(
            "insert into dbkit.job (kind, key, work, status, spec, runner) values (%s, %s, %s, 'running', %s, %s) "
            "returning id",
            [job.kind, job.key, work, spec, runner],
        )
        record = self.get(int(made[0]) if made else 0)
        plan_hash = hashlib.sha256(json.dumps(job.spec.get("plan"), sort_keys=True).encode()).hexdigest()[:16]
        row = self._one(
            "insert into dbkit.run (job, runner, tool, plan_hash) values (%s, %s, %s, %s) returning id, role, client",
            [record.id, runner, f"dbkit {__version__}", plan_hash],
        )
        if row:
            self._run = int(row[0])
            told = {"runner": runner, "role": row[1], "client": row[2], "plan": plan_hash}
            self.log(record, "resumed" if taken else "started", told)
        return record

    def save(self, record: Record, tick: Tick) -> str:
        """Write progress; returns what another process has asked for."""
        row = self._one(
            "update dbkit.job set done = %s, total = %s, note = %s, cursor = coalesce(%s, cursor), updated = now() "
            "where id = %s returning requested",
            [tick.done, tick.total, redact(tick.note), json.dumps(tick.cursor) if tick.cursor else None, record.id],
        )
        if row is None:
            raise Stopped(f"the row of job {record.id} is gone from dbkit.job", hint="run the same command again")
        return str(row[0])

    def end(self, record: Record, status: Status, note: str) -> None:
        """Close the job and its run."""
        # With the connection lost the row stays `running` without a lock, which reads as interrupted.
        with suppress(psycopg.OperationalError):
            self._connection.execute(
                "update dbkit.job set status = %s, note = %s, requested = '', updated = now() where id = %s",
                [status.value, redact(note), record.id],
            )
            self._connection.execute(
                "update dbkit.run set outcome = %s, note = %s, finished = now() where id = %s",
                [status.value, redact(note), self._run],
            )
            self.log(record, status.value, {"note": note})

    def log(self, record: Record, event: str, detail: Mapping[str, Json], ago: float = 0.0) -> None:
        """Append to the job's history."""
        self._connection.execute(
            "insert into dbkit.job_event (job, run, at, event, detail) "
            "values (%s, %s, clock_timestamp() - make_interval(secs => %s), %s, %s)",
            [record.id, self._run, ago, event, json.dumps(redacted(detail))],
        )

    def request(self, record: Record, what: str) -> bool:
        """Ask the runner of a job to `pause` or `abort`. A job that nobody runs is aborted here: then True."""
        if not self.try_lock(record.key):
            self._connection.execute("update dbkit.job set requested = %s where id = %s", [what, record.id])
            return False
        try:
            if what == "abort":
                self.end(record, Status.ABORTED, "aborted while nobody ran it")
            return True
        finally:
            self.unlock(record.key)

    def get(self, job_id: int) -> Record:
        """One job. Raises Refused when there is none of that number."""
        for record in self.records():
            if record.id == job_id:
                return record
        raise Refused(f"there is no job {job_id} in this database", hint="`dbkit job list` shows those there are")

    def records(self) -> Sequence[Record]:
        """All jobs, newest first; empty where dbkit has never run."""
        rights = fetch(self._connection, assets.query("state/rights"))[0]
        if not rights["complete"]:
            return ()
        try:
            rows = fetch(self._connection, assets.query("state/jobs"))
        except psycopg.Error as error:
            user = quote(self._user())
            hint = f"grant usage on schema dbkit to {user}; grant select on all tables in schema dbkit to {user}"
            raise explain(error, "dbkit's jobs cannot be read", hint=hint) from None
        held = self._held()
        fields: list[dict[str, Any]] = [
            {**row, "status": Status(row["status"]), "alive": self._number(row["key"]) in held} for row in rows
        ]
        return tuple(Record(**f) for f in fields)

    def runs(self, job_id: int) -> list[dict[str, Any]]:
        """Who ran a job when, with which plan, what came of it, and whom it waited for; oldest first."""
        return fetch(
            self._connection,
            "select id, role, runner, client, tool, plan_hash, date_trunc('second', started)::text as started, "
            "date_trunc('second', finished)::text as finished, outcome, note, waited_seconds, blockers "
            "from dbkit.run_history where job = %s order by id",
            [job_id],
        )

    def events(self, job_id: int) -> list[dict[str, Any]]:
        """The history of a job, oldest first."""
        return fetch(
            self._connection,
            "select run, to_char(at, 'YYYY-MM-DD HH24:MI:SS.MSOF') as at, event, detail from dbkit.job_event "
            "where job = %s order by dbkit.job_event.at, id",
            [job_id],
        )

    def _user(self) -> str:
        return str(fetch(self._connection, "select current_user::text as name")[0]["name"])

    def _held(self) -> dict[int, dict[str, Any]]:
        return {row["number"]: row for row in fetch(self._connection, assets.query("state/locks"))}

    def _number(self, key: str) -> int:
        return lock_number(self._connection.info.dbname, key)

    def _one(self, query: Any, values: list[Any]) -> tuple[Any, ...] | None:
        return self._connection.execute(query, values).fetchone()


def lock_number(database: str, key: str) -> int:
    """The number of the advisory lock of a key: 64 bits over tool, database and key, as a signed bigint."""
    digest = hashlib.sha256("\0".join(("dbkit", database, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's numeric user has no name
        return f"uid {os.getuid()}"
