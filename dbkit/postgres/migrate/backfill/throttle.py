"""What makes a backfill hold back: one look at the server gives every reading, and each signal judges its own.

A signal that cannot see (a right is missing) says so once; it is never taken for all clear without being told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

import psycopg

from dbkit import assets
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.backfill.limits import Limits, told
from dbkit.postgres.migrate.backfill.text import raw
from dbkit.secrets import redact
from dbkit.sizes import format_bytes, format_seconds

SILENT: Final = 15.0
"""Seconds; wal_receiver_status_interval is 10 unless somebody changed it."""
WAL_OVER: Final = 5.0
"""Seconds over which the WAL rate is taken."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason to hold back, by the name of its limit."""

    signal: str
    reason: str


@dataclass
class Trace:
    """Where the server's WAL stood when, so that a replica's position can be told as time behind.

    The server's own `replay_lag` stops moving when replay stops, which is when it matters most.
    """

    samples: deque[tuple[float, float]] = field(default_factory=lambda: deque[tuple[float, float]](maxlen=4000))

    def add(self, now: float, wal: float) -> None:
        """The position at a time; times never go back."""
        self.samples.append((now, wal))

    def behind(self, now: float, replay: float) -> float:
        """Seconds at `now` since the server's WAL went past where the replica has got to; 0 when it has all of it."""
        passed: float | None = None
        for at, wal in reversed(self.samples):
            if wal <= replay:
                break
            if at <= now:
                passed = at
        return 0.0 if passed is None else now - passed

    def rate(self, now: float, over: float = WAL_OVER) -> float:
        """Bytes of WAL per second over the last few seconds."""
        recent = [(at, wal) for at, wal in self.samples if now - at <= over]
        if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
            return 0.0
        return (recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0])


@dataclass
class Throttle:
    """Looks at the signals on a connection of its own. `ours` gives the pids of the run, `rels` its tables."""

    connection: Connection
    ours: Callable[[], Sequence[int]]
    rels: Sequence[int]
    clock: Callable[[], float] = field(default=monotonic)
    trace: Trace = field(default_factory=Trace)
    replies: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    """Each replica's last reply, and when (on our clock) it was first seen here."""
    blind: dict[str, str] = field(default_factory=dict[str, str])
    """Signals that cannot see, with the reason."""

    def look(self, limits: Limits) -> list[Hold]:
        """The reasons to hold back now; empty when there are none."""
        if limits.pause_file and Path(limits.pause_file).exists():
            return [Hold("pause_file", f"{limits.pause_file} exists")]
        self.connection.execute(
            "select /* dbkit */ set_config('dbkit.ours', %s, false), set_config('dbkit.rels', %s, false)",
            [",".join(map(str, self.ours())), ",".join(map(str, self.rels))],
        )
        row = fetch(self.connection, assets.query("backfill/signals"))[0]
        now = self.clock()
        if row["wal"] is not None:
            self.trace.add(now, row["wal"])
        holds = [
            *self._replicas(row["replicas"], limits, now),
            *_slots(row["slots"], limits),
            *_counts(row, limits),
        ]
        rate = self.trace.rate(now)
        if limits.max_wal is not None and rate > limits.max_wal:
            holds.append(
                Hold(
                    "max_wal",
                    f"the server writes {format_bytes(rate)}/s of WAL, limit {format_bytes(limits.max_wal)}/s",
                )
            )
        if limits.hold_while:
            holds += self._asked(limits.hold_while)
        return holds

    def _replicas(self, replicas: Sequence[Mapping[str, Any]], limits: Limits, now: float) -> list[Hold]:
        holds: list[Hold] = []
        for replica in replicas:
            if replica["replay"] is None:
                self.blind["max_lag"] = (
                    f"this role cannot see how far replica {replica['name']} is: grant pg_monitor to it"
                )
                continue
            lag = self.trace.behind(self._as_of(replica, now), float(replica["replay"]))
            if limits.max_lag is not None and lag > limits.max_lag:
                limit = told("max_lag", limits.max_lag)
                holds.append(
                    Hold("max_lag", f"replica {replica['name']} is {format_seconds(lag)} behind, limit {limit}")
                )
        return holds

    def _as_of(self, replica: Mapping[str, Any], now: float) -> float:
        """When a replica was where it says: it speaks when it has written WAL, and when idle every ten seconds only.

        One that has been silent for longer than that is taken to be still there now.
        """
        name, said = str(replica["name"]), str(replica["replied"])
        before = self.replies.get(name)
        if before is None or before[0] != said:
            self.replies[name] = before = (said, now)
        return now if now - before[1] > SILENT else before[1]

    def _asked(self, query: str) -> list[Hold]:
        """The user's own query, read-only and short. One that fails holds, too: it was to keep something safe."""
        try:
            with self.connection.transaction(force_rollback=True):
                self.connection.execute("set transaction read only")
                self.connection.execute("set local statement_timeout = '2s'")
                row = self.connection.execute(raw(query)).fetchone()
        except psycopg.OperationalError as error:
            if error.sqlstate is None:
                raise
            return [Hold("hold_while", f"its query fails: {redact(str(error.diag.message_primary))}")]
        except psycopg.Error as error:
            return [Hold("hold_while", f"its query fails: {redact(str(error.diag.message_primary or error))}")]
        answer = row[0] if row else None
        if answer in (None, False, "", 0):
            return []
        return [
            Hold("hold_while", "its query says true" if answer is True else f"its query says {redact(str(answer))}")
        ]


def _slots(slots: Sequence[Mapping[str, Any]], limits: Limits) -> list[Hold]:
    holds: list[Hold] = []
    for slot in slots:
        limit = limits.max_slot_lag
        if limit is not None and slot["behind"] is not None and slot["behind"] > limit:
            held = f"slot {slot['name']} holds back {format_bytes(slot['behind'])} of WAL, limit {format_bytes(limit)}"
            holds.append(Hold("max_slot_lag", held))
        elif limit is not None and slot["state"] == "unreserved":
            holds.append(Hold("max_slot_lag", f"slot {slot['name']} is about to be lost (max_slot_wal_keep_size)"))
    return holds


def _counts(row: Mapping[str, Any], limits: Limits) -> list[Hold]:
    told_as = (
        ("max_waiters", row["waiters"], f"{row['waiters']} sessions wait for locks of this backfill"),
        ("max_active", row["active"], f"{row['active']} other sessions are active"),
        ("max_vacuums", row["vacuums"], "a vacuum works on the table"),
        ("max_dead", row["dead"], f"{row['dead']:.0%} of the rows are dead"),
    )
    holds: list[Hold] = []
    for name, value, reason in told_as:
        limit = getattr(limits, name)
        if limit is not None and value > limit:
            holds.append(Hold(name, f"{reason}, limit {told(name, limit)}"))
    return holds
