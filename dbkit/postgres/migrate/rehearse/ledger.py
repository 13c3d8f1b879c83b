"""The ledger of a rehearsal: the statements seen so far, and from when to when each lock was held."""

from __future__ import annotations

from dataclasses import dataclass, field

from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.rehearse.clock import Clock
from dbkit.postgres.migrate.rehearse.observed import Hold, Observation, Relation


@dataclass(slots=True)
class Ledger:
    """Statements and locks in the order in which they came."""

    clock: Clock = field(default_factory=Clock)
    seen: list[Observation] = field(default_factory=list[Observation])
    holds: list[Hold] = field(default_factory=list[Hold])
    visible: dict[int, Relation] = field(default_factory=dict[int, Relation])
    """What others can see since before the open transaction: a lock on anything else keeps nobody waiting."""
    transaction: int = 0
    """The number that statements of the open transaction share."""
    _taken: dict[str, tuple[Mode, float, int]] = field(default_factory=dict[str, tuple[Mode, float, int]])

    def began(self, visible: dict[int, Relation] | None) -> None:
        """A transaction begins; None when nobody looks."""
        if visible is not None:
            self.visible = visible
        self.transaction += 1
        self._taken.clear()

    def ended(self) -> None:
        """The transaction is over: give every lock its end."""
        now = self.clock.now()
        for relation, (mode, start, statement) in self._taken.items():
            self.holds.append(Hold(relation, mode, start, now, statement))
        for one in self.seen:
            if one.transaction == self.transaction and not one.released:
                one.released = now
        self._taken.clear()
        self.transaction += 1

    def lock(self, seen: Observation, relation: Relation | None, mode: Mode, since: float) -> None:
        """Note a lock of the last statement, or one that it raises to a stronger mode."""
        if relation is None or relation.oid not in self.visible or mode is Mode.ACCESS_SHARE:
            return
        name = str(relation.name)
        seen.locks[name] = seen.taken[name] = mode
        held = self._taken.get(name)
        position = len(self.seen) - 1
        if held is None:
            self._taken[name] = (mode, since, position)
        elif mode > held[0]:
            self.holds.append(Hold(name, held[0], held[1], since, held[2]))
            self._taken[name] = (mode, since, position)
