"""The one door for changes: executes a plan as a job, under its lock, with its state kept in the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from dbkit.errors import DbkitError, Stopped, UsageError
from dbkit.exhibits import Table
from dbkit.job import Hooks, Record, Tick, run
from dbkit.model import Json, Report, TargetInfo
from dbkit.plan import Plan
from dbkit.postgres.connect import connect, explain
from dbkit.postgres.indexes.execute import IndexJob, Outcome, prepare
from dbkit.postgres.jobstore import PostgresStore
from dbkit.settings import Target
from dbkit.sizes import format_seconds


@dataclass(frozen=True, slots=True)
class Knobs:
    """How a plan is executed; times in seconds."""

    jobs: int = 1
    wait: float = 30.0
    """How long to let old transactions end before each build."""
    deadline: float = 21600.0
    """The longest one build may take."""


def apply(plan: Plan, target: Target, knobs: Knobs, progress: Callable[[Record, Tick], None]) -> Report:
    """Execute a plan. Raises Refused before anything is changed, Stopped or Broken when it ended part-way."""
    if plan.kind != "index":
        raise UsageError(f"this dbkit cannot apply a plan of kind {plan.kind!r}")
    with connect(target, purpose="apply") as connection:
        prepare(connection, plan)
        job = IndexJob(plan, target, jobs=knobs.jobs, wait=knobs.wait, deadline=knobs.deadline)
        if not plan.steps:
            return _report(plan, target, job.outcomes, None)
        store = PostgresStore(connection)
        store.prepare()
        try:
            record = run(job, store, Hooks(progress=progress))
        except DbkitError as error:
            done = sum(o.state == "ok" for o in job.outcomes)
            if job.outcomes:
                error.what = f"{error.what}; {done} of {len(job.outcomes)} indexes are as wanted"
            raise
        except psycopg.OperationalError as error:
            shown = explain(error, "the connection to the server was lost")
            raise Stopped(
                shown.what, why=shown.why, hint="run the same command again: what is done stays done"
            ) from None
        return _report(plan, target, job.outcomes, record)


def _report(plan: Plan, target: Target, outcomes: list[Outcome], record: Record | None) -> Report:
    rows: list[dict[str, Json]] = [
        {"object": o.name, "table": o.table, "outcome": o.state, "seconds": round(o.seconds, 3), "statements": o.steps}
        for o in outcomes
    ]
    table = Table(
        "What was done",
        ("index", "table", "outcome", "took"),
        tuple((o.name, o.table, o.state, format_seconds(o.seconds)) for o in outcomes),
        numeric=frozenset({"took"}),
    )
    return Report(
        command="apply",
        targets=(TargetInfo(target.name, "postgres", plan.target.server_version),),
        extra={"job": record.id if record else None, "steps": rows},
        exhibits=(table,) if outcomes else (),
    )
