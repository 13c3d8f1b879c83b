"""The watcher: a second session that reads the migration's locks again and again while a statement runs."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg

from dbkit import assets
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.rehearse.observed import MODES

if TYPE_CHECKING:
    from dbkit.postgres.migrate.rehearse.brakes import Brakes

QUICK: Final = 0.001
SLOW: Final = 0.01
KNOT: Final = 0.1
"""Seconds of waiting after which it is looked whether those in the way wait for the migration in turn."""
QUICK_FOR: Final = 0.5
"""Seconds for which a statement is looked at every millisecond; a longer one holds its locks long enough."""


@dataclass(slots=True)
class Sighting:
    """What was seen of one statement from outside."""

    modes: dict[int, Mode] = field(default_factory=dict[int, Mode])
    """Strongest mode by relation, granted or asked for: what a statement that succeeded asked for, it was granted."""
    asked: dict[int, Mode] = field(default_factory=dict[int, Mode])
    """Of these, what it had asked for and was not seen to get: a statement that failed never held them."""
    granted_at: float = 0.0
    """When the first lock worth the name was granted, in `time.monotonic`; 0.0 when none was seen."""
    waited: float = 0.0
    """Seconds it waited for others, brakes left out."""


class Watcher:
    """Looks at one session from a thread of its own. Use `watch` around a statement."""

    def __init__(self, dsn: str, pid: int) -> None:
        self._connection = psycopg.connect(
            dsn, autocommit=True, application_name="dbkit rehearse: watcher", prepare_threshold=1
        )
        self._pid = pid
        self._wanted = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._closed = False
        self._brakes: Brakes | None = None
        self._next_knot = 0.0
        self.sighting = Sighting()
        self.failure: psycopg.Error | None = None
        self._thread = threading.Thread(target=self._run, name="dbkit rehearse: watcher", daemon=True)
        self._thread.start()

    def begin(self, brakes: Brakes | None = None) -> None:
        """Look from now on."""
        self.sighting = Sighting()
        self._brakes = brakes
        self._idle.clear()
        self._wanted.set()

    def end(self) -> Sighting:
        """Stop looking; what was seen."""
        self._wanted.clear()
        self._idle.wait()
        return self.sighting

    def close(self) -> None:
        """End the thread and its session."""
        self._closed = True
        self._wanted.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            if self._closed:
                return
            try:
                self._look_on()
            except psycopg.Error as error:
                self.failure = error
                self._idle.set()
                return
            self._idle.set()

    def _look_on(self) -> None:
        began = last = time.monotonic()
        while self._wanted.is_set() and not self._closed:
            rows: list[tuple[Any, ...]] = self._connection.execute(
                assets.query("postgres/rehearsed_locks"), [self._pid]
            ).fetchall()
            now = time.monotonic()
            self._note(rows, now, now - last)
            last = now
            time.sleep(QUICK if now - began < QUICK_FOR or self._brakes is not None else SLOW)

    def _note(self, rows: list[tuple[Any, ...]], now: float, since: float) -> None:
        seen = self.sighting
        waits = False
        for kind, oid, mode_name, granted, blockers in rows:
            mode = MODES.get(str(mode_name), Mode.ACCESS_SHARE)
            if kind == "relation":
                seen.modes[oid] = max(mode, seen.modes.get(oid, mode))
                if granted:
                    if seen.asked.get(oid) == mode:
                        del seen.asked[oid]
                    if mode >= Mode.SHARE_UPDATE_EXCLUSIVE and not seen.granted_at:
                        seen.granted_at = now
                else:
                    seen.asked[oid] = mode
            if not granted:
                in_the_way = cast("list[int]", blockers)
                if self._brakes is None or not self._brakes.release(in_the_way):
                    waits = waits or bool(in_the_way)
        if waits:
            seen.waited += since
            if now > self._next_knot + KNOT:
                self._next_knot = now
                # As the server would, but never at the cost of the migration, which is to be seen to its end.
                self._connection.execute(assets.query("postgres/rehearsed_deadlock"), [self._pid])
