"""The one door for changes: carries out a plan as a job, under its lock, with its state kept in the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from dbkit.errors import DbkitError, Stopped
from dbkit.exhibits import Exhibit, Text
from dbkit.job import Hooks, Record, Tick, run
from dbkit.model import Evidence, Finding, Fix, Json, Location, Passed, Report, Severity, Skipped, TargetInfo
from dbkit.plan import Plan
from dbkit.postgres.connect import Connection, connect, explain, server
from dbkit.postgres.indexes import outcome, planning, preflight, wishes
from dbkit.postgres.indexes.audit import settled
from dbkit.postgres.indexes.compare import observe
from dbkit.postgres.indexes.execute import PlanJob
from dbkit.postgres.indexes.outcome import Outcome
from dbkit.postgres.indexes.states import IndexState, State
from dbkit.postgres.indexes.watch import Limits
from dbkit.postgres.jobstore import PostgresStore
from dbkit.rules import REGISTRY
from dbkit.secrets import redact
from dbkit.settings import Target

_RULES: Final = {
    **planning.RULES,
    State.MISSING: "pg.index-missing",
    State.INVALID_PARENT: "pg.index-missing",
    State.INVALID: "pg.index-invalid",
    State.INVALID_ENFORCING: "pg.index-invalid",
    State.BUILDING: "pg.index-building",
}


@dataclass(frozen=True, slots=True)
class Knobs:
    """How a plan is carried out. `resume` is the number of the job to take up."""

    jobs: int = 1
    limits: Limits = field(default_factory=Limits)
    resume: int | None = None

    @classmethod
    def of_spec(cls, spec: Mapping[str, Any], resume: int) -> Knobs:
        """The knobs a job was started with."""
        default = Limits()
        limits = Limits(
            wait=float(spec.get("wait", default.wait)),
            max_wait=float(spec.get("max_wait", default.max_wait)),
            deadline=float(spec.get("deadline", default.deadline)),
        )
        return cls(jobs=int(spec.get("jobs", 1)), limits=limits, resume=resume)


@dataclass(frozen=True, slots=True)
class Applied:
    """The report of a run, and the error it ended with (None when all went well): shown both, in this order."""

    report: Report
    error: DbkitError | None = None


def apply(plan: Plan, target: Target, knobs: Knobs, progress: Callable[[Record, Tick], None]) -> Applied:
    """Carry out a plan. Raises Refused, Unreachable or UsageError when nothing was changed."""
    with connect(target, purpose="apply") as connection:
        preflight.check(connection, plan)
        job = PlanJob(plan, target, jobs=knobs.jobs, limits=knobs.limits)
        if not plan.steps:
            return Applied(_report(connection, plan, target, job, None))
        store = PostgresStore(connection, resume=knobs.resume)
        store.prepare()
        seen: list[Record] = []

        def follow(record: Record, tick: Tick) -> None:
            seen[:] = [record]
            progress(record, tick)

        try:
            record = run(job, store, Hooks(progress=follow))
        except DbkitError as error:
            if not seen:  # it never began
                raise
            return Applied(_report(connection, plan, target, job, seen[0]), error)
        except psycopg.OperationalError as error:
            shown = explain(error, "the connection to the server was lost")
            hint = "run the same command again: what is done stays done, and a build that still runs is waited for"
            lost = Stopped(shown.what, why=shown.why, hint=hint)
            return Applied(_report(connection, plan, target, job, seen[0] if seen else None), lost)
        return Applied(_report(connection, plan, target, job, record))


def _report(connection: Connection, plan: Plan, target: Target, job: PlanJob, record: Record | None) -> Report:
    findings, passed, skipped = _verified(connection, plan, target, job.outcomes)
    exhibits: tuple[Exhibit, ...] = outcome.exhibits(job.outcomes)
    if job.leftovers:
        exhibits += (Text("Left over from interrupted REINDEX CONCURRENTLY runs", "\n".join(job.leftovers)),)
    results: list[Json] = [o.data() for o in job.outcomes]
    extra: dict[str, Json] = {
        "job": {"id": record.id, "kind": record.kind, "runner": record.runner} if record else None,
        "steps": outcome.steps_data(job.outcomes),
        "results": results,
        "leftovers": list(job.leftovers),
    }
    return Report(
        command="apply",
        targets=(TargetInfo(target.name, "postgres", plan.target.server_version),),
        findings=tuple(findings),
        passed=tuple(passed),
        skipped=tuple(skipped),
        extra=extra,
        exhibits=exhibits,
    )


def _verified(
    connection: Connection, plan: Plan, target: Target, outcomes: Sequence[Outcome]
) -> tuple[list[Finding], list[Passed], list[Skipped]]:
    """What a fresh look says after the run; where there can be none, what the run itself knows."""
    errors = {o.object: o.error for o in outcomes if o.error is not None}
    states: Sequence[IndexState] = ()
    skipped: list[Skipped] = []
    if plan.kind == "index":
        try:
            states = observe(connection, server(connection), list(wishes.of_plan(plan).values())).states
        except (DbkitError, psycopg.Error) as error:
            reason = f"not looked at again after the run: {' '.join(str(error).split())}"
            skipped.append(Skipped("pg.index-missing", target.name, redact(reason)))
    if not states:
        rules = {step.object: str(step.data.get("rule", "")) for step in plan.steps}
        known = [_finding(rules.get(n) or "pg.index-missing", n, target, error) for n, error in errors.items()]
        return known, [], skipped
    findings = [
        _finding(_RULES[s.state], s.object, target, errors.get(s.wanted.name), s) for s in states if not settled(s)
    ]
    told = f"All {len(states)} wanted indexes are there, valid and equal"
    return findings, [] if findings else [Passed("pg.index-missing", target.name, told)], []


def _finding(
    rule: str, name: str, target: Target, error: DbkitError | None, state: IndexState | None = None
) -> Finding:
    said = f"{error.what}: {error.why}" if error else ""
    detail = state.detail or state.state.value if state else ""
    hint = (error.hint if error else None) or (state.hint if state else "")
    known = REGISTRY.get(rule)
    return Finding(
        rule=rule,
        severity=known.severity if known and error is None else Severity.ERROR,
        evidence=Evidence.OBSERVED,
        message=redact(said or detail),
        target=target.name,
        object=name,
        location=Location(state.wanted.file, state.wanted.line) if state and state.wanted.file else None,
        data={"state": state.state.value} if state else {},
        fix=Fix("rewrite", redact(hint)) if hint else None,
    )
