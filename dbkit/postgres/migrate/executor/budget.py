"""How long others may be kept waiting: per attempt, per held lock, and in the whole run."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

SMALLEST: Final = 0.01
"""Seconds: with less than this left no attempt is worth while."""


@dataclass
class Budget:
    """Times in seconds. `spent` and `longest` grow while the run goes on."""

    max_stall: float = 0.1
    """One attempt gives up its place in a lock queue after this."""
    total: float = 5.0
    """All attempts of the run together: queueing for locks, and holding those that stop others."""
    max_hold: float = 2.0
    """One statement under a lock that stops others is cancelled after this."""
    patience: float = 600.0
    """How long to look out for blockers to leave, for one unit, while nobody is kept waiting."""
    spent: float = 0.0
    longest: float = 0.0
    pause: float = field(default=0.1)

    @property
    def left(self) -> float:
        """What may still be spent."""
        return max(0.0, self.total - self.spent)

    @property
    def allowance(self) -> float:
        """The lock timeout of the next attempt; 0 when the budget is used up."""
        allowed = min(self.max_stall, self.left)
        return allowed if allowed >= SMALLEST else 0.0

    def spend(self, seconds: float) -> None:
        """Account for one attempt."""
        self.spent += seconds
        self.longest = max(self.longest, seconds)

    def backoff(self, attempt: int) -> float:
        """How long to stay away before the next attempt: growing, with jitter, so that two runs do not keep step."""
        most = min(2.0, self.pause * 2 ** min(attempt, 6))
        return random.uniform(most / 2, most)  # noqa: S311 - jitter is no secret
