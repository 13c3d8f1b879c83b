"""How a rule about a pooler is declared, and what it returns: a Verdict with its Edits, or Blind when it could not
look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, ParamSpec, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict

from dbkit.model import Evidence, Json, Location, Severity
from dbkit.rules import Rule, rule

P = ParamSpec("P")
R = TypeVar("R")
Needs: TypeAlias = Literal["config", "file", "console", "reload", "fleet"]
NEEDS: Final[dict[str, Needs]] = {}
"""What each rule must see, by its id; without it the rule is skipped, with the reason."""


class Limits(BaseModel):
    """What a policy may turn for a rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of the file: give a key of `[pgbouncer]` a value, or rewrite or drop the line at `at`."""

    key: str = ""
    value: str = ""
    at: Location | None = None
    line: str | None = None
    """With `at`: the new text of the line; None drops it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule found: a sentence, the object (a key, a database, a server), and the edits that mend it."""

    message: str
    object: str
    severity: Severity | None = None
    """The rule's view of this case; None is the rule's own severity."""
    hint: str = ""
    """What to do, where no edit of the file does it by itself."""
    edits: tuple[Edit, ...] = ()
    restart: bool = False
    """Whether RELOAD is not enough for the edits."""
    location: Location | None = None
    data: Mapping[str, Json] = field(default_factory=dict[str, Json])
    key: str = ""


@dataclass(frozen=True, slots=True)
class Blind:
    """A rule could not look, or not everywhere; the reason names what would open it."""

    reason: str


def pooler_rule(
    name: str,
    category: str,
    severity: Severity,
    *,
    ok: str,
    bad: str,
    good: str,
    needs: Needs = "config",
    evidence: Evidence | None = None,
    equivalents: Mapping[str, tuple[str, ...]] | None = None,
    limits: type[BaseModel] | None = None,
) -> Callable[[Callable[P, R]], Rule[P, R]]:
    """Register a rule as `pgbouncer.<name>`.

    The examples are pgbouncer.ini files. Comments that begin with `;;` say what else there is to see: `;; version
    1.24`, `;; show pools: database=a user=u cl_waiting=3` (a row of the console), `;; server: host=a
    max_connections=200`, `;; uses: LISTEN` (of that server), `;; userlist: "u" "secret"`, `;; connections: {poolers:
    {processes: 2}}`. A rule that needs a `fleet` judges several poolers, whose files `;; next pooler` separates.
    """
    NEEDS[f"pgbouncer.{name}"] = needs
    return rule(
        f"pgbouncer.{name}",
        engine="pgbouncer",
        category=category,
        severity=severity,
        evidence=evidence or (Evidence.OBSERVED if needs == "console" else Evidence.TEXT),
        ok=ok,
        bad=bad,
        good=good,
        equivalents=equivalents,
        limits=limits,
    )
