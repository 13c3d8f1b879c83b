"""What became of one unit of a revision, as the report and the history tell it."""

from __future__ import annotations

from dataclasses import dataclass, field

from dbkit.model import Json


@dataclass
class Done:
    """What became of one unit."""

    revision: str
    direction: str
    unit: int
    told: str
    began: float
    seconds: float = 0.0
    attempts: int = 0
    waited: float = 0.0
    """Seconds spent looking out for others while nobody had to wait for us."""
    stall: float = 0.0
    """The longest that one attempt queued for, or held, a lock that stops others."""
    outcome: str = "running"
    blockers: list[str] = field(default_factory=list[str])

    def data(self) -> dict[str, Json]:
        """The unit as JSON."""
        return {
            "revision": self.revision,
            "direction": self.direction,
            "unit": self.unit,
            "statement": self.told,
            "outcome": self.outcome,
            "began": round(self.began, 3),
            "seconds": round(self.seconds, 3),
            "attempts": self.attempts,
            "waited": round(self.waited, 3),
            "stall_ms": round(self.stall * 1000, 1),
            "blockers": list(self.blockers),
        }
