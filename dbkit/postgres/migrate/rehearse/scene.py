"""What a rule of the rehearsal looks at, and what it hands back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from dbkit.model import Severity
from dbkit.rules import Rule

if TYPE_CHECKING:  # the pages of these rules are printed without a driver
    from dbkit.postgres.migrate.rehearse.compare import Disagreement
    from dbkit.postgres.migrate.rehearse.rehearsal import Outcome


@dataclass(frozen=True, slots=True)
class Scene:
    """One outcome, the stall allowed in seconds (None: any), and where lint and the server said different things."""

    outcome: Outcome
    max_stall: float | None
    disagreements: tuple[Disagreement, ...]
    others: tuple[Outcome, ...]
    """Outcomes on the versions rehearsed before this one."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a rule reports: a sentence about a statement (by position), a query's place, or a relation."""

    message: str
    object: str = ""
    statement: int | None = None
    file: str = ""
    line: int | None = None
    severity: Severity | None = None
    key: str = ""
    fix: str = ""


RehearsalRule: TypeAlias = Rule[[Scene], Iterator[Sight]]
