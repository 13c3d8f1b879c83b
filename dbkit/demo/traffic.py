"""Readers and writers on the documented platform, in a process of their own, timing every statement they run.

`python -m dbkit.demo.traffic` reads the DSN from DBKIT_DSN, works until its standard input closes (so it never outlives
the process that started it) and then prints one JSON object: per statement how many ran, how many failed, and the
longest wait. Waits are what a client sees: from sending a statement to its result.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, LiteralString, Self

import psycopg

from dbkit.errors import Broken, DbkitError
from dbkit.postgres.connect import parse

READS: Final[dict[str, LiteralString]] = {
    "user by e-mail": "select id from users where email = 'user' || %(n)s || '@example.org'",
    "application by id": "select status from applications where id = %(n)s",
    "newest jobs": "select id, title from jobs order by id desc limit 20",
    "session by id": "select user_id from sessions where id = %(n)s",
    "document by id": "select title from document_metadata where id = '00000000-0000-4000-8000-000000000000'",
    "key by id": "select name from api_keys where id = '00000000-0000-4000-8000-000000000000'",
}
WRITES: Final[dict[str, LiteralString]] = {
    "log in": "update users set last_login_at = now() where id = %(n)s",
    "post a job": "insert into jobs (company_id, title, status) values (1, 'Engineer', 'active')",
    "apply": "insert into applications (user_id, job_id) values (%(n)s, %(n)s)",
    "upload a resume": "insert into resumes (user_id, title) values (%(n)s, 'New')",
    "log on": "insert into sessions (user_id, token_hash, expires_at) values (%(n)s, md5(random()::text), now())",
    "audit entry": "insert into audit_logs (user_id, action) values (%(n)s, 'login')",
    "tenant audit entry": "insert into audit_log (tenant_id, action) values ('tenant-1', 'read')",
    "new document": "insert into document_metadata (tenant_id, title) values ('tenant-1', 'New')",
    "new key": "insert into api_keys (tenant_id, name, key_hash) values ('tenant-1', 'k', md5(random()::text))",
}
PAUSE: Final = 0.004
"""Seconds between two statements of one session, so that two cores are busy but not swamped."""


@dataclass
class Seen:
    """What one kind of statement went through."""

    count: int = 0
    failed: int = 0
    longest: float = 0.0
    at: float = 0.0
    """When the longest began, in seconds since the traffic did."""
    errors: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Result:
    """The traffic's own account; times in seconds."""

    seconds: float
    statements: dict[str, Seen]

    @property
    def count(self) -> int:
        """Statements that ran."""
        return sum(s.count for s in self.statements.values())

    @property
    def failed(self) -> int:
        """Statements that ended in an error."""
        return sum(s.failed for s in self.statements.values())

    def longest(self, kind: str) -> tuple[float, str]:
        """The longest wait of a `read` or `write`, and which statement it was."""
        names = READS if kind == "read" else WRITES
        worst = max((s for s in self.statements.items() if s[0] in names), key=lambda s: s[1].longest, default=None)
        return (worst[1].longest, worst[0]) if worst else (0.0, "")


class Traffic:
    """Runs the traffic while the block lasts; `result` is there afterwards."""

    def __init__(self, dsn: str, *, readers: int = 2, writers: int = 2) -> None:
        self._dsn = dsn
        self._sessions = (readers, writers)
        self.result: Result | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dbkit.demo.traffic", *map(str, self._sessions)],
            env={**os.environ, "DBKIT_DSN": self._dsn},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        greeting = self._process.stdout.readline() if self._process.stdout else ""
        if greeting.strip() != "ready":
            self._process.kill()
            raise Broken("the demo's traffic did not start", hint="run again with --debug")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        out, _ = self._process.communicate(timeout=120)
        if kind is None:
            data: dict[str, Any] = json.loads(out)
            self.result = Result(data["seconds"], {name: Seen(**seen) for name, seen in data["statements"].items()})


def main() -> None:
    """Work until standard input closes, then print the account."""
    dsn = parse(os.environ["DBKIT_DSN"], application_name="demo traffic")
    readers, writers = map(int, sys.argv[1:3])
    began = time.monotonic()
    stop = threading.Event()
    seen = [{name: Seen() for name in (READS if n < readers else WRITES)} for n in range(readers + writers)]
    threads = [threading.Thread(target=_session, args=(dsn, seen[n], n, began, stop)) for n in range(len(seen))]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    statements = _merge(seen)
    print(json.dumps({"seconds": time.monotonic() - began, "statements": {k: vars(v) for k, v in statements.items()}}))


def _session(dsn: str, seen: dict[str, Seen], seed: int, began: float, stop: threading.Event) -> None:
    dice = random.Random(seed)  # noqa: S311 - which row is read next is no secret
    statements: dict[str, LiteralString] = {**READS, **WRITES}
    with psycopg.connect(dsn, autocommit=True) as connection:
        while not stop.is_set():
            for name, held in seen.items():
                start = time.monotonic()
                try:
                    connection.execute(statements[name], {"n": dice.randint(1, 10000)})
                except psycopg.Error as error:
                    held.failed += 1
                    held.errors = [*held.errors, str(error).splitlines()[0]][:3]
                    if connection.closed:
                        return
                took = time.monotonic() - start
                held.count += 1
                if took > held.longest:
                    held.longest, held.at = took, start - began
                stop.wait(PAUSE)


def _merge(sessions: list[dict[str, Seen]]) -> dict[str, Seen]:
    merged: dict[str, Seen] = {}
    for name, one in (item for session in sessions for item in session.items()):
        held = merged.setdefault(name, Seen())
        held.count += one.count
        held.failed += one.failed
        held.errors = [*held.errors, *one.errors][:3]
        if one.longest > held.longest:
            held.longest, held.at = one.longest, one.at
    return merged


if __name__ == "__main__":
    try:
        main()
    except DbkitError as error:
        sys.exit("\n".join(error.lines()))
