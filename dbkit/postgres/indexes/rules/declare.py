"""How an index rule is declared: `@index_rule` is `@rule` with what all of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from pydantic import BaseModel

from dbkit.model import Evidence, Severity
from dbkit.rules import Rule, rule

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule found: a sentence, the object, a hint, and the statement that mends it (empty if none)."""

    message: str
    object: str
    hint: str = ""
    fix: str = ""
    safe: bool = False


def index_rule(
    name: str,
    severity: Severity,
    *,
    ok: str,
    bad: str,
    good: str,
    equivalents: Mapping[str, tuple[str, ...]] | None = None,
    limits: type[BaseModel] | None = None,
) -> Callable[[Callable[P, R]], Rule[P, R]]:
    """Register an index rule as `pg.<name>`."""
    return rule(
        f"pg.{name}",
        engine="postgres",
        category="index",
        severity=severity,
        evidence=Evidence.OBSERVED,
        ok=ok,
        bad=bad,
        good=good,
        equivalents=equivalents,
        limits=limits,
    )
