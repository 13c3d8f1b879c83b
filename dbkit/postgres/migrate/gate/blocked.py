"""What keeps the gate closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Blocked:
    """One reason. It is accepted by its kind (`statement`) or by itself (`statement:-42`, `view:public.v`)."""

    what: str
    """`statement`, `all columns`, `observation`, `view`, `function`, `transaction` ..."""
    who: str
    """Which one, for people."""
    hint: str
    key: str = ""
    """What tells it from others of its kind: a query id, a qualified name, a pid."""
    under: str = ""
    """A wider kind that accepts it, too: who does without observation does without that of a standby."""

    @property
    def names(self) -> tuple[str, ...]:
        """The words by which `--accept` may name it."""
        dashed = self.what.replace(" ", "-")
        kinds = (*((self.under,) if self.under else ()), self.what, dashed)
        return (*kinds, f"{dashed}:{self.key}", f"{self.what}:{self.key}") if self.key else kinds

    def accepted(self, accept: Sequence[str]) -> str:
        """The word that accepts it, or an empty string."""
        return next((word for word in accept if word in self.names), "")
