"""Breaks the demo's database the way real ones break: every fault is made by the server itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Final, LiteralString, Self

import psycopg

from dbkit.errors import Broken
from dbkit.postgres.connect import Connection

WRONG: Final[tuple[LiteralString, ...]] = (
    "create index idx_jobs_posted on jobs (created_at)",
    "create index users_by_mail on users (email)",
    "create index users_by_mail_again on users (email)",
)


@dataclass(frozen=True)
class Fault:
    """Something broken, the rule (or command) that tells of it, and what becomes of it in the tour."""

    told: str
    found_by: str
    cure: str


FAULTS: Final = (
    Fault(
        "idx_users_created_at: a concurrent build died half-way and left an INVALID index",
        "pg.index-invalid",
        "dropped and built again, concurrently",
    ),
    Fault(
        "idx_jobs_posted: the documented name, but on another column",
        "pg.index-other-definition",
        "left alone until a person had decided, then built",
    ),
    Fault(
        "users_by_mail, users_by_mail_again: the same index twice",
        "pg.index-duplicate",
        "one dropped, by the plan of `dbkit audit --fix`",
    ),
    Fault(
        "audit_logs, audit_log: partitioned, and none of their indexes is there",
        "pg.index-missing",
        "built partition by partition, concurrently, then attached",
    ),
    Fault(
        "a report is running in a transaction that holds an old snapshot",
        "dbkit apply",
        "named and waited for; nobody had to queue behind a build",
    ),
)


def break_it(connection: Connection, dsn: str) -> None:
    """Leave an invalid index, a wrong definition and a duplicate: what FAULTS tells of."""
    for statement in WRONG:
        connection.execute(statement)
    _leave_an_invalid_index(connection, dsn)


def _leave_an_invalid_index(connection: Connection, dsn: str) -> None:
    """A build that waits for a writer longer than lock_timeout allows fails and stays behind INVALID."""
    with psycopg.connect(dsn) as writer:
        writer.execute("update users set updated_at = now() where id = 1")
        connection.execute("set lock_timeout = '300ms'")
        try:
            connection.execute("create index concurrently idx_users_created_at on users (created_at desc)")
        except psycopg.errors.LockNotAvailable:
            return
        finally:
            connection.execute("reset lock_timeout")
            writer.rollback()
    raise Broken("the demo could not produce an invalid index", why="the build succeeded against an open writer")


@dataclass
class LongReport:
    """A session that keeps a REPEATABLE READ snapshot for `seconds`: what a concurrent build waits for."""

    dsn: str
    seconds: float

    def __enter__(self) -> Self:
        self._connection = psycopg.connect(self.dsn, application_name="nightly report")
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.execute("select count(*) from api_keys")
        self._timer = threading.Timer(self.seconds, self._connection.rollback)
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        self._connection.close()
