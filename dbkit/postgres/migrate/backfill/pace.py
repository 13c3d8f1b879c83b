"""How many rows (or pages) a batch takes: steered by how long batches take, halved when one loses a lock race.

Growth is fast at first (twice a batch, as long as batches stay under half the target), then by at most half; after a
failure it is by a tenth for a while, so that traffic which has just shown itself is not run into again at once.

How long a batch should take is steered, too, by what writers see: each batch that somebody waited for halves it, each
that nobody did lets it grow by a fiftieth, until about one in thirty is waited for or the target is reached.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

CALM: Final = 8
"""Batches after a failure in which the size grows by a tenth only."""
SHRINK: Final = 0.7
"""A batch that took long may only have lost the processor for a moment: it is made smaller by steps."""
EASED: Final = 1.02
SHORTEST: Final = 0.01
"""Seconds; under this the work around a batch costs more than the batch."""
NOTEWORTHY: Final = 1.5
"""A size this many times larger or smaller than the last one told is told again."""


@dataclass
class Pace:
    """The size of the next batch. `target` is the time one batch should take at the most, in seconds."""

    target: float
    smallest: int
    largest: int
    size: int
    _calm: int = field(default=0, init=False)
    _starting: bool = field(default=True, init=False)
    _told: float = field(default=0.0, init=False)
    _ease: float = field(default=1.0, init=False)

    @property
    def aim(self) -> float:
        """The time a batch should take now, in seconds."""
        return max(min(self.target, SHORTEST), self.target * self._ease)

    def ran(self, size: int, seconds: float) -> None:
        """A batch of this size took so long."""
        if self._calm:
            self._calm -= 1
        most = 1.1 if self._calm else 2.0 if self._starting else 1.5
        self._ease = min(1.0, self._ease * EASED)
        ideal = self.aim / max(seconds, 0.0001)
        if ideal < 2.0:
            self._starting = False
        # A batch cut short by the end of its range says nothing about larger ones: never grow past what was tried.
        self._set(min(max(size, self.size if ideal < 1 else size) * min(max(ideal, SHRINK), most), self.largest))

    def lost(self) -> None:
        """A batch gave up on a lock, its time, or a deadlock."""
        self._starting = False
        self._calm = CALM
        self._set(self.size / 2)

    def waited(self, size: int) -> None:
        """Somebody waited for a batch of this size: the next ones are shorter."""
        self._starting = False
        self._ease = max(self._ease / 2, min(1.0, SHORTEST / self.target))
        self._set(min(self.size, max(size / 2, self.size * SHORTEST / self.target)))

    def yielded(self) -> None:
        """Somebody was seen to wait for us: the next batches are shorter."""
        self.waited(self.size)
        self._calm = CALM

    def news(self) -> bool:
        """Whether the size has changed enough since it was last told to be worth a line of the history."""
        if self._told and 1 / NOTEWORTHY < self.size / self._told < NOTEWORTHY:
            return False
        self._told = self.size
        return True

    def _set(self, size: float) -> None:
        self.size = max(self.smallest, min(self.largest, round(size)))
