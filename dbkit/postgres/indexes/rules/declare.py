"""How an index rule is declared, and what it returns: a Verdict with its Remedy, or Blind when it could not look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ParamSpec, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from dbkit.model import Evidence, Json, Location, Severity
from dbkit.rules import Rule, rule
from dbkit.sizes import parse_bytes

P = ParamSpec("P")
R = TypeVar("R")


def _size(value: Any) -> Any:
    return parse_bytes(value) if isinstance(value, str) else value


Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9.]+ ?[kMGT]?B$"}]}
    ),
]
"""Bytes, or a size such as 64MB."""


class Limits(BaseModel):
    """What a policy may turn for a rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Remedy:
    """One statement that mends a finding; a safe one takes no lock that stalls traffic and can be undone as it says."""

    action: str
    object: str
    table: str
    sql: str
    lock: str
    blocks: str
    undo: str
    check: str
    safe: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule found: a sentence, the object, and the statement that mends it.

    `remedy` becomes a step of a plan; `fix` is for what a plan should not do by itself.
    """

    message: str
    object: str
    hint: str = ""
    fix: str = ""
    safe: bool = False
    severity: Severity | None = None
    """The rule's view of this case; None is the rule's own severity."""
    remedy: Remedy | None = None
    location: Location | None = None
    data: Mapping[str, Json] = field(default_factory=dict[str, Json])
    key: str = ""


@dataclass(frozen=True, slots=True)
class Blind:
    """A rule could not look, or not everywhere; the reason names what would open it."""

    reason: str


def comment(text: str) -> str:
    """The text as SQL comments: psql ends one at any line break, and a quoted name may hold one."""
    return "\n".join(f"-- {line.removeprefix('-- ')}" for line in text.splitlines())


def index_rule(
    name: str,
    severity: Severity,
    *,
    ok: str,
    bad: str,
    good: str,
    equivalents: Mapping[str, tuple[str, ...]] | None = None,
    limits: type[BaseModel] | None = None,
    evidence: Evidence = Evidence.OBSERVED,
) -> Callable[[Callable[P, R]], Rule[P, R]]:
    """Register an index rule as `pg.<name>`.

    The examples run on an empty database. `-- wanted:` lines are the wanted set, `-- policy:` the rule's limits,
    `-- session N` starts what another session runs, `-- fails:` says that the next statement is meant to fail,
    `-- audited by a role without rights` that the auditor is not the owner, and `-- workload:` is what advice is for.
    """
    return rule(
        f"pg.{name}",
        engine="postgres",
        category="index",
        severity=severity,
        evidence=evidence,
        ok=ok,
        bad=bad,
        good=good,
        equivalents=equivalents,
        limits=limits,
    )
