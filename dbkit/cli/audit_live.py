"""The looks of `dbkit audit` at live targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dbkit.cli import targets
from dbkit.cli.audit_files import Machine
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
    machine: Machine = field(default_factory=Machine)


def chosen(names: list[str], dsn: str | None, held: Settings) -> tuple[Target, ...]:
    """The targets of the run. Raises UsageError for an engine that `audit` does not know."""
    found = held.choose(tuple(names), dsn)
    for target in found:
        if target.engine not in AUDITED:
            raise UsageError(f"target {target.name!r} is {target.engine}, which audit does not know yet")
    return found


def postgres(held: Settings, one: Target, flags: Flags, peers: Sequence[Target] = ()) -> Look:
    """The look at one PostgreSQL target; what its configuration lacks is an error before any connection is made."""
    from dbkit.postgres import audit as engine
    from dbkit.postgres.settings import documents

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
        assumed=not (flags.indexes or one.indexes),
        size=flags.machine.size(one.memory, one.cpus, one.storage),
        settings=documents.load(flags.machine.settings or (held.directory / one.settings if one.settings else None)),
        managed=flags.machine.managed,
        upgrade_to=flags.machine.later(),
        baseline=flags.machine.earlier(),
        pools=flags.machine.pools,
        peers=[peer for peer in peers if peer.name != one.name],
    )

    def look() -> Looked:
        answer = engine.audit(one, question)

        def plan(findings: Sequence[Finding]) -> Draft:
            made = answer.fix(findings)
            return Draft(made.to_json(), _plan_note(made, flags.fix))

        def script(findings: Sequence[Finding]) -> Draft:
            made = answer.fix(findings)
            return Draft(made.to_sql(), _plan_note(made, None))

        def commands(findings: Sequence[Finding]) -> Draft:
            held = answer.settings
            service = held.scene.managed if held else None
            if held is None or service is None:
                raise UsageError("this server does not look managed", hint="add --managed aws, azure or gcp")
            return Draft(held.commands(findings, service), "review it, then run it with sh")

        return Looked(answer.report, {".json": plan, ".sql": script, ".sh": commands})

    return Look(TargetInfo(one.name, one.engine), policy, look, "pg")


def _plan_note(plan: Plan, file: Path | None) -> str:
    more = f"; {len(plan.problems)} need a person" if plan.problems else ""
    then = f"dbkit apply {file}" if file else "run it with psql"
    return f"{len(plan.steps)} steps{more}. Review it, then: {then}"
