"""Readers and writers of an application, in a process of their own, timing every statement they run.

`python -m dbkit.demo.traffic` reads the DSN from DBKIT_DSN, works until its standard input closes (so it never outlives
the process that started it) and then prints one JSON object: per statement how many ran, how many failed, and the
longest wait, also by phase: a line on its standard input begins one. Waits are what a client sees: from sending a
statement to its result.
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
BUY: Final[dict[str, tuple[LiteralString, LiteralString]]] = {
    "order by id": (
        "select customer, total from orders where id = %(n)s",
        "select buyer, total from orders where id = %(n)s",
    ),
    "newest orders": (
        "select customer, total from orders order by id desc limit 20",
        "select buyer, total from orders order by id desc limit 20",
    ),
    "place an order": (
        "insert into orders (customer, total) values ('Ann ' || %(n)s, %(n)s)",
        "insert into orders (buyer, total) values ('Ann ' || %(n)s, %(n)s)",
    ),
    "correct an order": (
        "update orders set customer = 'Bob ' || %(n)s, total = total + 1 where id = %(n)s",
        "update orders set buyer = 'Bob ' || %(n)s, total = total + 1 where id = %(n)s",
    ),
}
"""Statements of the shop, as its old version and as its new one (orders.customer is called buyer) write them."""
BUY_READS: Final = frozenset({"order by id", "newest orders"})
WORKLOADS: Final[dict[str, dict[str, LiteralString]]] = {
    "platform": {**READS, **WRITES},
    "shop, old": {name: old for name, (old, _) in BUY.items()},
    "shop, new": {name: new for name, (_, new) in BUY.items()},
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
    phases: dict[str, float] = field(default_factory=dict[str, float])
    """The longest wait by the phase in which it ended."""


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
        return max(((s.longest, name) for name, s in self._of(kind)), default=(0.0, ""))

    def longest_in(self, kind: str, phase: str) -> float:
        """The longest wait of a `read` or `write` that ended in this phase."""
        return max((s.phases.get(phase, 0.0) for _, s in self._of(kind)), default=0.0)

    def with_(self, other: Result) -> Result:
        """Both accounts as one: two versions of an application, each at work for a part of the time."""
        return Result(self.seconds + other.seconds, _merge([self.statements, other.statements]))

    def _of(self, kind: str) -> list[tuple[str, Seen]]:
        return [
            (name, s) for name, s in self.statements.items() if (name in READS or name in BUY_READS) == (kind == "read")
        ]


class Traffic:
    """Runs the traffic while the block lasts; `result` is there afterwards."""

    def __init__(self, dsn: str, workload: str = "platform", *, readers: int = 2, writers: int = 2) -> None:
        self._dsn = dsn
        self._workload = workload
        self._sessions = (readers, writers)
        self.result: Result | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dbkit.demo.traffic", self._workload, *map(str, self._sessions)],
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

    def phase(self, name: str) -> None:
        """From here on waits are counted under this name, too."""
        if self._process.stdin:
            self._process.stdin.write(f"{name}\n")
            self._process.stdin.flush()

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
    statements = WORKLOADS[sys.argv[1]]
    readers, writers = map(int, sys.argv[2:4])
    clock = _Clock()
    chosen = [
        [name for name in statements if (name in READS or name in BUY_READS) == (n < readers)]
        for n in range(readers + writers)
    ]
    seen = [{name: Seen() for name in names} for names in chosen]
    threads = [threading.Thread(target=_session, args=(dsn, statements, seen[n], n, clock)) for n in range(len(seen))]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for line in sys.stdin:
        clock.phase = line.strip()
    clock.stop.set()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - clock.began
    merged = _merge(seen)
    print(json.dumps({"seconds": seconds, "statements": {k: vars(v) for k, v in merged.items()}}))


@dataclass
class _Clock:
    """What all sessions share."""

    began: float = field(default_factory=time.monotonic)
    stop: threading.Event = field(default_factory=threading.Event)
    phase: str = ""


def _session(dsn: str, statements: dict[str, LiteralString], seen: dict[str, Seen], seed: int, clock: _Clock) -> None:
    dice = random.Random(seed)  # noqa: S311 - which row is read next is no secret
    with psycopg.connect(dsn, autocommit=True) as connection:
        while not clock.stop.is_set():
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
                held.phases[clock.phase] = max(took, held.phases.get(clock.phase, 0.0))
                if took > held.longest:
                    held.longest, held.at = took, start - clock.began
                clock.stop.wait(PAUSE)


def _merge(sessions: list[dict[str, Seen]]) -> dict[str, Seen]:
    merged: dict[str, Seen] = {}
    for name, one in (item for session in sessions for item in session.items()):
        held = merged.setdefault(name, Seen())
        held.count += one.count
        held.failed += one.failed
        held.errors = [*held.errors, *one.errors][:3]
        for phase, took in one.phases.items():
            held.phases[phase] = max(took, held.phases.get(phase, 0.0))
        if one.longest > held.longest:
            held.longest, held.at = one.longest, one.at
    return merged


if __name__ == "__main__":
    try:
        main()
    except DbkitError as error:
        sys.exit("\n".join(error.lines()))
