"""The looks of `dbkit audit` at live targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbkit.cli import targets
from dbkit.cli.audit_looks import Draft, Look, Looked
from dbkit.errors import UsageError
from dbkit.model import TargetInfo

if TYPE_CHECKING:
    from dbkit.model import Finding
    from dbkit.plan import Plan
    from dbkit.rules import Selection
    from dbkit.settings import Settings, Target


AUDITED = ("postgres", "pgbouncer")


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of a run that every live look heeds."""

    policy: str | None
    selection: Selection
    indexes: list[Path] | None
    fix: Path | None = None


def chosen(names: list[str], dsn: str | None, held: Settings) -> tuple[Target, ...]:
    """The targets of the run. Raises UsageError for an engine that `audit` does not know."""
    found = held.choose(tuple(names), dsn)
    for target in found:
        if target.engine not in AUDITED:
            raise UsageError(f"target {target.name!r} is {target.engine}, which audit does not know yet")
    return found


def postgres(held: Settings, one: Target, flags: Flags) -> Look:
    """The look at one PostgreSQL target; what its configuration lacks is an error before any connection is made."""
    from dbkit.postgres import audit as engine

    replicas = held.choose(one.replicas) if one.replicas else ()
    for target in (one, *replicas):
        target.dsn()
    policy = targets.policy_of(held, one, flags.policy)
    flags.selection.validate()
    question = engine.Question(
        policy,
        flags.selection,
        targets.wanted(held, one, flags.indexes),
        replicas,
        not (flags.indexes or one.indexes),
    )

    def look() -> Looked:
        answer = engine.audit(one, question)

        def plan(findings: Sequence[Finding]) -> Draft:
            made = answer.fix(findings)
            return Draft(made.to_json(), _plan_note(made, flags.fix))

        def script(findings: Sequence[Finding]) -> Draft:
            made = answer.fix(findings)
            return Draft(made.to_sql(), _plan_note(made, None))

        return Looked(answer.report, {".json": plan, ".sql": script})

    return Look(TargetInfo(one.name, one.engine), policy, look, "pg")


def _plan_note(plan: Plan, file: Path | None) -> str:
    more = f"; {len(plan.problems)} need a person" if plan.problems else ""
    then = f"dbkit apply {file}" if file else "run it with psql"
    return f"{len(plan.steps)} steps{more}. Review it, then: {then}"
