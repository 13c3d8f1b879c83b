"""The rehearsal's clock: it stops while we look, so that looking does not count as time under a lock."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager


class Clock:
    """Seconds since the start, pauses left out. Any thread may turn a moment of `time.monotonic` into clock time."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._pauses: list[tuple[float, float]] = []

    def now(self) -> float:
        """This moment."""
        return self.at(time.monotonic())

    def at(self, moment: float) -> float:
        """A moment of `time.monotonic`; one that lies in a pause is the pause's beginning."""
        lost = 0.0
        for start, end in self._pauses:
            if start >= moment:
                break
            lost += min(end, moment) - start
        return moment - self._began - lost

    @contextmanager
    def paused(self) -> Generator[None]:
        """Stop the clock for as long as the block runs."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.leave_out(start, time.monotonic())

    def leave_out(self, start: float, end: float) -> None:
        """Count a stretch of `time.monotonic` as a pause, afterwards."""
        if end > start:
            self._pauses.append((start, end))
