"""The watch over running statements: what each does, how fast, whom it waits for, and when it has to be cancelled.

Workers register the statement they are about to run; the job's own thread looks at all of them twice a second on a
connection of its own. What happens is queued as events, which the job writes into its history.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from dbkit import assets
from dbkit.errors import Stopped
from dbkit.model import Json
from dbkit.postgres import catalog
from dbkit.postgres.catalog import Build
from dbkit.postgres.connect import Connection, fetch
from dbkit.secrets import redact
from dbkit.sizes import format_seconds

BRIEFLY: Final = 1.0
"""Seconds: transactions younger than this are ordinary traffic and end by themselves."""
CANCEL_TIMEOUT: Final = 5.0
RATE_OVER: Final = 20
"""Looks over which a rate is taken: ten seconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds."""

    wait: float = 30.0
    """For old transactions to end before a build; then the build starts and waits for them itself."""
    max_wait: float = 3600.0
    """For others while a statement runs; then it is cancelled and its remains are removed."""
    deadline: float = 21600.0
    """For one statement as a whole."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """A session (or prepared transaction, pid 0) that is waited for. What this role may not see is None."""

    pid: int
    username: str | None
    application_name: str | None
    state: str | None
    seconds: float | None
    query: str | None

    def __str__(self) -> str:
        age = f" for {format_seconds(self.seconds)}" if self.seconds is not None else ""
        if self.pid == 0:
            return f"the prepared transaction {self.application_name or '?'} of {self.username or '?'}{age}"
        query = redact(" ".join((self.query or "").split()))
        state = self.state or "state hidden from this role"
        told = f"pid {self.pid} ({self.username or 'no user'}, {self.application_name or 'no application name'}, "
        return f"{told}{state}{age})" + (f": {query}" if query else "")

    def data(self) -> dict[str, Json]:
        """The blocker for the job's history."""
        return {
            "pid": self.pid,
            "user": self.username,
            "application": self.application_name,
            "state": self.state,
            "query": redact(self.query or ""),
        }


@dataclass
class Running:
    """A statement that runs now, and what has been seen of it."""

    connection: Connection
    object: str
    limits: Limits
    tidying: bool = False
    """It removes what a failed build left: the first signal lets it finish."""
    began: float = field(default_factory=time.monotonic)
    phase: str = ""
    phase_began: float = field(default_factory=time.monotonic)
    progress: str = ""
    blocker: Blocker | None = None
    blocked_since: float | None = None
    waited: float = 0.0
    """Seconds spent waiting for others."""
    reason: str = ""
    """Why the watch cancelled it."""
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque[tuple[float, int]](maxlen=RATE_OVER))

    def line(self) -> str:
        """What it does, in words."""
        told = [self.phase or f"running for {format_seconds(time.monotonic() - self.began)}"]
        if self.progress:
            told.append(self.progress)
        if self.blocker:
            told.append(f"waits for {self.blocker}")
        return f"{self.object}: {', '.join(told)}"


class Watch:
    """Shared by the job's thread and its workers. `look` and `close` belong to the job's thread alone."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Re-entrant, because a signal handler may run in the thread that holds it.
        self._lock = threading.RLock()
        self._running: list[Running] = []
        self._waiting: dict[str, str] = {}
        self._events: queue.SimpleQueue[tuple[float, str, dict[str, Json]]] = queue.SimpleQueue()
        self._ours = {connection.info.backend_pid}
        self.stopping = False
        """No new statement starts; set once and never taken back."""
        self.hurry = False
        """Nothing is tidied up either."""

    def own(self, connection: Connection) -> None:
        """A session of ours: it is never reported as a blocker."""
        self._ours.add(connection.info.backend_pid)

    def say(self, event: str, **detail: Json) -> None:
        """Queue an event for the job's history; from any thread."""
        self._events.put((time.monotonic(), event, detail))

    def events(self) -> Iterator[tuple[float, str, dict[str, Json]]]:
        """The events since the last call, each with its time (monotonic)."""
        while True:
            try:
                yield self._events.get_nowait()
            except queue.Empty:
                return

    @contextmanager
    def waiting(self, what: str) -> Generator[WaitNote]:
        """While the block lasts, what it notes is part of the progress line."""
        note = WaitNote(self._waiting, what)
        try:
            yield note
        finally:
            self._waiting.pop(what, None)

    @contextmanager
    def over(self, running: Running) -> Generator[Running]:
        """Run one statement in the block, watched. Raises Stopped when the run is being stopped."""
        with self._lock:
            if self.hurry or (self.stopping and not running.tidying):
                raise Stopped(f"{running.object} was not started: the run is being stopped")
            self._running.append(running)
        try:
            yield running
        finally:
            with self._lock:
                self._running.remove(running)
            self._account(running, None)

    def ahead(self, connection: Connection, table_oid: int) -> list[Blocker]:
        """Whom a build on this table would wait for: writers of the table, and old snapshots anywhere in the database.

        Runs on the worker's connection. Our own sessions and transactions younger than a second are left out.
        """
        found: list[Blocker] = []
        for row in fetch(connection, assets.query("postgres/blockers")):
            writes, snapshot = row.pop("writes"), row.pop("snapshot")
            if row["pid"] not in self._ours and (snapshot or table_oid in writes) and (row["seconds"] or 0) > BRIEFLY:
                found.append(Blocker(**row))
        return found

    def look(self) -> str:
        """Look at every running statement, cancel what is over its limits, and say in a line what goes on."""
        with self._lock:
            watched = {r.connection.info.backend_pid: r for r in self._running}
        if watched:
            self._see(watched)
        return "; ".join([*(r.line() for r in watched.values()), *self._waiting.values()])

    def cancel(self) -> None:
        """Cancel what runs: builds always, tidying up only in a hurry. To be called again until all workers have left:
        a cancel that arrives just before its statement is lost.
        """
        with self._lock:
            for running in self._running:
                if self.hurry or not running.tidying:
                    self._cancel(running, "the run is being stopped")

    def _see(self, watched: Mapping[int, Running]) -> None:
        builds = {build.pid: build for build in catalog.builds(self._connection)}
        blockers: dict[int, list[Blocker]] = {}
        for row in fetch(self._connection, assets.query("postgres/waits")):
            blockers.setdefault(row.pop("waiter"), []).append(Blocker(**row))
        for pid, running in watched.items():
            self._phase(running, builds.get(pid))
            self._account(running, next(iter(blockers.get(pid, ())), None))
            self._judge(running)

    def _phase(self, running: Running, build: Build | None) -> None:
        now = time.monotonic()
        phase = (build.phase if build else None) or ""
        if phase != running.phase:
            if running.phase:
                spent = round(now - running.phase_began, 3)
                self.say("phase", object=running.object, phase=running.phase, seconds=spent)
            running.phase, running.phase_began = phase, now
            running.samples.clear()
        running.progress = measure(running.samples, build, now) if build else ""

    def _account(self, running: Running, blocker: Blocker | None) -> None:
        """Follow whom it waits for; the end of a wait becomes an event."""
        now = time.monotonic()
        held = running.blocker
        if held is not None and (blocker is None or blocker.pid != held.pid):
            waited = now - (running.blocked_since or now)
            running.waited += waited
            self.say("waited", object=running.object, waited=round(waited, 3), blocker=held.data(), phase=running.phase)
            running.blocked_since = None
        if blocker is not None and running.blocked_since is None:
            running.blocked_since = now
        running.blocker = blocker

    def _judge(self, running: Running) -> None:
        now = time.monotonic()
        blocked = running.waited + (now - running.blocked_since if running.blocked_since else 0)
        if now - running.began > running.limits.deadline:
            self._cancel(running, f"its deadline of {format_seconds(running.limits.deadline)} is over")
        elif blocked > running.limits.max_wait:
            whom = f", last for {running.blocker}" if running.blocker else ""
            self._cancel(running, f"it waited {format_seconds(blocked)} for others{whom}")

    def _cancel(self, running: Running, reason: str) -> None:
        with self._lock:
            if running not in self._running:
                return
            if not running.reason:
                running.reason = reason
                self.say("cancelled", object=running.object, reason=reason)
            # A server that is gone has nothing to cancel; the worker sees that for itself.
            with suppress(psycopg.Error):
                running.connection.cancel_safe(timeout=CANCEL_TIMEOUT)


@dataclass(frozen=True, slots=True)
class WaitNote:
    """A line of the progress that its owner may change."""

    _notes: dict[str, str]
    _key: str

    def __call__(self, text: str) -> None:
        self._notes[self._key] = text


def measure(samples: deque[tuple[float, int]], build: Build, now: float) -> str:
    """Share done, rate and time left of a build's phase, as far as the server tells."""
    if build.phase and build.phase.startswith("waiting"):
        return f"{build.lockers_done or 0} of {build.lockers_total} have ended" if build.lockers_total else ""
    counted: Sequence[tuple[str, Any, Any]] = (
        ("blocks", build.blocks_done, build.blocks_total),
        ("tuples", build.tuples_done, build.tuples_total),
    )
    for unit, done, total in counted:
        if not total:
            continue
        samples.append((now, int(done or 0)))
        share = f"{min(100, 100 * (done or 0) // total)} %"
        rate = (samples[-1][1] - samples[0][1]) / max(samples[-1][0] - samples[0][0], 0.001)
        if len(samples) < 2 or rate <= 0:
            return share
        left = max(0, total - (done or 0)) / rate
        return f"{share}, {rate:,.0f} {unit}/s, {format_seconds(left)} left in this phase"
    return ""
