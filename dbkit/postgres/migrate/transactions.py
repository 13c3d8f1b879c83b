"""The session a script runs in: transaction blocks, who opened them, locks held in them, and settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.names import Name


class Wrap(Enum):
    """Whether the tool that runs a script puts a transaction around it."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """A plain SQL file: psql would not, most migration tools would."""


@dataclass(slots=True)
class Held:
    """A lock taken in the open transaction, by the statement on `line`."""

    table: Name
    mode: Mode
    line: int
    fresh: bool
    """The table was made by this script, so nobody waits for it."""


@dataclass(slots=True)
class Session:
    """State between the statements of one script."""

    wrap: Wrap
    one_message: bool = False
    """The tool sends the whole script as one message: an implicit transaction even where it opens none."""
    explicit: bool = False
    opened_at: int = 0
    runner_ended: bool = False
    """The script committed or rolled back the transaction the tool had opened."""
    block: int = 1
    held: dict[tuple[str, str], Held] = field(default_factory=dict[tuple[str, str], Held])
    """The strongest lock of each table that the open transaction has taken so far."""
    _strongest: Held | None = None
    """Of those on tables that others use: kept, as a file of 100,000 statements asks for it after each."""
    settings: dict[str, str | None] = field(default_factory=dict[str, str | None])
    local: dict[str, str | None] = field(default_factory=dict[str, str | None])

    @property
    def in_transaction(self) -> bool | None:
        """Whether statements share a transaction; None when that depends on the tool that runs the file."""
        if self.explicit or (self.wrap is Wrap.YES and not self.runner_ended) or self.one_message:
            return True
        return False if self.wrap is Wrap.NO or self.runner_ended else None

    def setting(self, name: str) -> str | None:
        """The value a SET of this script gave, None when it gave none."""
        return self.local.get(name, self.settings.get(name))

    def set(self, action: a.SetVariable) -> None:
        """Take note of SET, SET LOCAL, RESET."""
        if action.name == "all":
            self.settings.clear()
            self.local.clear()
        elif action.local:
            if self.in_transaction is not False:  # outside a block SET LOCAL does nothing
                self.local[action.name] = action.value
        else:
            self.settings[action.name] = action.value
            self.local.pop(action.name, None)

    def hold(self, key: tuple[str, str], lock: Held) -> None:
        """Take note of a lock; of two as strong the earlier counts."""
        before = self.held.get(key)
        if before is None or lock.mode > before.mode:
            self.held[key] = lock
            if not lock.fresh and (self._strongest is None or lock.mode > self._strongest.mode):
                self._strongest = lock

    def worst(self, least: Mode = Mode.ACCESS_EXCLUSIVE) -> Held | None:
        """The strongest lock of a table that others use, the first of several; None if none is as strong as `least`."""
        found = self._strongest
        return found if found is not None and found.mode >= least else None

    def begin(self, line: int) -> None:
        """BEGIN."""
        if not self.explicit:
            self._new_block()
            self.explicit, self.opened_at = True, line

    def end(self, *, chain: bool) -> None:
        """COMMIT or ROLLBACK."""
        if not self.explicit and self.wrap is not Wrap.NO:
            self.runner_ended = True
        self.explicit = chain
        self._new_block()

    def after_statement(self) -> None:
        """In autocommit every statement is its own transaction."""
        if self.in_transaction is False:
            self._new_block()

    def _new_block(self) -> None:
        self.block += 1
        self.held.clear()
        self._strongest = None
        self.local.clear()

    def milliseconds(self, name: str) -> float | None:
        """A timeout setting in milliseconds; 0 means no limit, None that the script did not set it."""
        value = self.setting(name)
        if value is None:
            return None
        match = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)?\s*", value)
        if match is None:
            return None
        factor = {"us": 0.001, "ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6, "d": 8.64e7}[match[2] or "ms"]
        return float(match[1]) * factor
