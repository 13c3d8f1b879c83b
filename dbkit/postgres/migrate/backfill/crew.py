"""The workers of a backfill: threads that take part after part and fill it batch by batch, and what they share."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import psycopg

from dbkit.errors import Broken, DbkitError, Stopped
from dbkit.model import Json
from dbkit.postgres.connect import Connection, explain
from dbkit.postgres.migrate.backfill import batch
from dbkit.postgres.migrate.backfill.limits import Limits
from dbkit.postgres.migrate.backfill.pace import Pace
from dbkit.postgres.migrate.backfill.ranges import FIRST, LARGEST, SMALLEST, Cursor
from dbkit.postgres.migrate.backfill.session import Session
from dbkit.postgres.migrate.backfill.state import Part
from dbkit.postgres.migrate.changes.spec import BackfillSpec
from dbkit.secrets import redact
from dbkit.settings import Target
from dbkit.sizes import format_seconds

SHARES: Final = 3
"""In so many steps a range of pages is filled where its rows can stay in their pages: half of them do with two, more
than half with three, and a fourth gains nothing over the cost of looking at the pages once more."""
LONGEST_SLEEP: Final = 2.0
RECONNECTS: Final = 6
DISK_FULL: Final = "53100"


@dataclass
class Shared:
    """What the job's thread and the workers know of each other."""

    limits: Limits
    stop: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)
    """Set while the job is held back."""
    yields: int = 0
    """How often somebody was seen to wait for us; each worker makes its batches shorter once for each."""
    seen: float = 0.0
    rows: int = 0
    batches: int = 0
    retries: int = 0
    longest: float = 0.0
    """Seconds of the longest batch."""
    waited: int = 0
    """Batches whose rows somebody waited for."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    events: queue.SimpleQueue[tuple[float, str, dict[str, Json]]] = field(
        default_factory=queue.SimpleQueue[tuple[float, str, dict[str, Json]]]
    )
    errors: list[BaseException] = field(default_factory=list[BaseException])

    def say(self, event: str, **detail: Json) -> None:
        """An event for the job's history; from any thread."""
        self.events.put((time.monotonic(), event, detail))

    def told(self) -> Iterator[tuple[float, str, dict[str, Json]]]:
        """The events since the last call, each with its time (monotonic)."""
        with suppress(queue.Empty):
            while True:
                yield self.events.get_nowait()

    def count(self, done: batch.Done) -> None:
        """Add a committed batch."""
        with self.lock:
            self.seen += done.seen
            self.rows += done.rows
            self.batches += 1
            self.longest = max(self.longest, done.seconds)
            self.waited += done.waited


class Crew:
    """Workers over a list of parts. Made and closed by the job's thread."""

    def __init__(self, spec: BackfillSpec, target: Target, session: Session, shared: Shared) -> None:
        self._spec, self._target, self._session = spec, target, session
        self.shared = shared
        self._parts: queue.SimpleQueue[Part] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._connections: dict[int, Connection] = {}

    def start(self, parts: Sequence[Part], workers: int) -> None:
        """Begin on these parts with at most so many workers, each on a connection of its own."""
        for part in parts:
            self._parts.put(part)
        for number in range(min(workers, len(parts))):
            thread = threading.Thread(target=self._work, args=(number,), name=f"backfill {number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def working(self) -> bool:
        """Whether any worker is still at it."""
        return any(thread.is_alive() for thread in self._threads)

    def pids(self) -> list[int]:
        """Server processes of the workers."""
        return [c.info.backend_pid for c in list(self._connections.values()) if not c.closed]

    def close(self, *, hurry: bool = False) -> None:
        """Let every worker end its batch and leave; in a hurry, cancel the batches (they are rolled back)."""
        self.shared.stop.set()
        while self.working:
            if hurry:
                for connection in list(self._connections.values()):
                    with suppress(psycopg.Error):
                        connection.cancel_safe(timeout=1)
            for thread in self._threads:
                thread.join(0.1)
        self._threads.clear()

    def _work(self, number: int) -> None:
        paces: dict[int, Pace] = {}
        try:
            while not self.shared.stop.is_set():
                try:
                    part = self._parts.get_nowait()
                except queue.Empty:
                    return
                pace = paces.setdefault(part.leaf.oid, begin(part, self.shared.limits))
                Walk(self._spec, part, self.shared, pace, self._session, lambda: self._connection(number)).run()
        except BaseException as error:  # handed to the job's thread, which raises it
            self.shared.errors.append(error)
            self.shared.stop.set()
        finally:
            connection = self._connections.pop(number, None)
            if connection is not None:
                with suppress(psycopg.Error):
                    connection.close()

    def _connection(self, number: int) -> Connection:
        held = self._connections.get(number)
        if held is None or held.closed or held.broken:
            held = self._connections[number] = self._session.open(self._target)
        return held


def begin(part: Part, limits: Limits) -> Pace:
    """The pace of a worker that comes to a table for the first time."""
    by = "key" if part.leaf.key else "ctid"
    return Pace(limits.batch_time, SMALLEST[by], LARGEST[by], FIRST[by])


class Walk:
    """One worker's way through one part."""

    def __init__(
        self, spec: BackfillSpec, part: Part, shared: Shared, pace: Pace, session: Session,
        connect: Callable[[], Connection],
    ) -> None:  # fmt: skip
        self._spec, self._part, self._shared, self._session, self._connect = spec, part, shared, session, connect
        self._unit = "rows" if part.leaf.key else "pages"
        self._pace = pace
        self._yields = shared.yields
        self._failing_since: float | None = None
        self._failures = 0
        self._reconnects = 0
        self._at = part.cur
        self._narrow = 0
        """Batches of this size look for the row the server rejects; 0 when none was met."""
        self._shares = 1
        """In how many steps the next range is filled."""
        self._left = 1
        """Steps left of the range at hand, of which `_stop` is the end."""
        self._stop: Cursor | None = None
        self._filled, self._slowest = 0, 0.0
        """Rows filled of the range at hand, and seconds of its slowest step."""
        self._cancelled = False
        """The smallest batch there is was cancelled for the time it took."""

    def run(self) -> None:
        """Batch after batch until the part is done or the run is being stopped."""
        while not self._shared.stop.is_set():
            if self._shared.hold.is_set():
                self._shared.stop.wait(0.02)
                continue
            self._steer()
            try:
                done = batch.run(self._connect(), self._spec, self._part, self._step(), self._at)
            except DbkitError:
                if not self._reconnects:
                    raise
                self._again()
            except psycopg.Error as error:
                self._failed(error)
            else:
                self._done(done)
                if done.finished:
                    return
                if self._shared.limits.rest:
                    self._shared.stop.wait(self._shared.limits.rest * done.seconds)

    def _steer(self) -> None:
        self._pace.target = self._shared.limits.batch_time
        if self._shared.yields != self._yields:
            self._yields = self._shared.yields
            self._pace.yielded()

    def _step(self) -> batch.Step:
        if self._narrow:
            return batch.Step(self._narrow)
        smallest = self._cancelled and self._pace.size <= self._pace.smallest
        limit = self._session.limit(self._shared.limits.batch_time, smallest=smallest)
        given = limit if limit != self._session.batch_limit else None
        return batch.Step(self._pace.size, self._left, self._stop, given)

    def _anew(self) -> None:
        """The range at hand is given up or done: the next begins with its first step."""
        self._left, self._stop, self._filled, self._slowest = self._shares, None, 0, 0.0

    def _done(self, done: batch.Done) -> None:
        self._failing_since, self._failures, self._reconnects = None, 0, 0
        if done.size and not done.restarted and self._left > 1 and not self._narrow:
            self._shared.count(done)
            if done.waited:
                self._pace.waited(done.size)
            self._filled, self._slowest = self._filled + done.rows, max(self._slowest, done.seconds)
            self._stop, self._left = done.stop, self._left - 1 if done.rows else 1
            return
        filled, slowest = self._filled + done.rows, max(self._slowest, done.seconds)
        # Shares are worth while where most rows are pending and their new versions may stay in the page.
        self._shares = SHARES if self._part.leaf.hot and not self._part.leaf.key and filled * 2 > done.seen else 1
        self._anew()
        self._at = done.stop
        if done.restarted:
            self._shared.say("restart", object=self._part.leaf.qualified, reason=done.restarted)
            return
        if not done.size:
            return
        self._shared.count(done)
        if self._narrow or done.finished:  # the last batch of a part ends early and says nothing about others
            return
        if done.waited:
            self._pace.waited(done.size)
        else:
            self._pace.ran(done.size, slowest)
        if self._pace.news():
            self._shared.say(
                "size",
                object=self._part.leaf.qualified,
                size=f"{self._pace.size} {self._unit}",
                reason=f"{done.size} {self._unit} took {format_seconds(slowest)}, "
                f"a batch should take {format_seconds(self._pace.aim)}"
                + (", so that others wait less for its rows" if self._pace.aim < self._pace.target else ""),
            )

    def _failed(self, error: psycopg.Error) -> None:
        name = self._part.leaf.qualified
        self._anew()
        if batch.lost(error):
            self._again(error)
            return
        reason = batch.race(error)
        if reason:
            self._raced(reason, error)
            return
        if error.sqlstate == DISK_FULL:
            raise Stopped(
                f"the disk filled up while {name} was filled; the batch was rolled back",
                why=redact(str(error.diag.message_primary)),
                hint="free space (the table needs about its own size once more), then run the same command again",
            ) from None
        size = self._narrow or self._pace.size
        if size > 1 and (error.sqlstate or "")[:2] in ("22", "23", "P0"):
            self._narrow = max(1, size // 2)
            return
        raise self._rejected(error) from None

    def _rejected(self, error: psycopg.Error) -> DbkitError:
        if error.sqlstate == "42P01":
            return Stopped(f"{self._part.leaf.qualified} is gone", hint="run the same command again")
        if error.sqlstate == "42703" and self._shared.batches:
            return Stopped(
                f"a column that is filled in {self._part.leaf.qualified} is gone since the backfill began",
                why=redact(str(error.diag.message_primary)),
                hint="somebody rolled the change back, or contracted it: see `dbkit migrate status`",
            )
        shown = explain(error, f"the server rejects filling {self._part.leaf.qualified}{self._place()}")
        return Broken(
            shown.what,
            why=shown.why,
            hint="mend that row (or the expression) and run the same command again: it goes on there",
        )

    def _place(self) -> str:
        """Where the rejected row is, as far as it can be told."""
        key = self._part.leaf.key
        with suppress(psycopg.Error, DbkitError):
            row, stop = batch.where_it_stands(self._connect(), self._part, 1)
            if key is None:
                return f", page {row['cur'][0]}"
            return ", row " + ", ".join(f"{c} = {v}" for c, v in zip(key.columns, stop, strict=True))
        return ""

    def _raced(self, reason: str, error: psycopg.Error) -> None:
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        self._failures += 1
        self._shared.retries += 1
        size = self._pace.size
        self._cancelled = self._cancelled or (error.sqlstate == "57014" and size <= self._pace.smallest)
        self._pace.lost()
        self._pace.news()
        nap = random.uniform(0.3, 1) * min(LONGEST_SLEEP, 0.05 * 2 ** min(self._failures, 8))  # noqa: S311
        self._shared.say(
            "retry",
            object=self._part.leaf.qualified,
            reason=f"{reason} (SQLSTATE {error.sqlstate})",
            size=f"{size} {self._unit}, now {self._pace.size}",
            waited=round(nap, 3),
        )
        if now - self._failing_since > self._shared.limits.max_hold:
            raise Stopped(
                f"{self._part.leaf.qualified} could not be filled for {format_seconds(now - self._failing_since)}",
                why=f"at {self._pace.size} {self._unit} a batch still ends like this: {reason}",
                hint="`dbkit job show ID` names who held the locks; run the same command again",
            ) from None
        self._shared.stop.wait(nap)

    def _again(self, error: psycopg.Error | None = None) -> None:
        """The connection is gone: a few attempts at a new one. Nothing of the batch was committed, or all of it."""
        if error is not None and not self._reconnects:
            self._shared.say("reconnect", object=self._part.leaf.qualified, reason="the connection was lost")
        self._reconnects += 1
        if self._reconnects > RECONNECTS:
            raise Stopped(
                "the connection to the server was lost",
                why=f"{RECONNECTS} attempts at a new one failed",
                hint="run the same command again: what was committed stays",
            ) from None
        self._shared.stop.wait(0.1 * 2**self._reconnects)
