"""Runs a backfill and reports what became of it: called by `dbkit migrate backfill`, `deploy` and `job resume`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from dbkit.errors import DbkitError, Refused, Stopped, Unreachable
from dbkit.exhibits import Table
from dbkit.job import Hooks, Record, Tick, run
from dbkit.model import Evidence, Finding, Fix, Json, Passed, Report, Severity, TargetInfo
from dbkit.postgres.catalog import quoted
from dbkit.postgres.connect import PRIMARY, Connection, Server, connect, require_supported, server
from dbkit.postgres.indexes import failure
from dbkit.postgres.jobstore import PostgresStore
from dbkit.postgres.migrate.backfill import state
from dbkit.postgres.migrate.backfill.job import BackfillJob, Knobs
from dbkit.postgres.migrate.changes.spec import BackfillSpec
from dbkit.settings import Target
from dbkit.sizes import format_seconds

RULE = "migrate.backfill-incomplete"


@dataclass(frozen=True, slots=True)
class Filled:
    """The report of a run, and the error it ended with (None when all went well)."""

    report: Report
    error: DbkitError | None = None


def fill(
    spec: BackfillSpec,
    target: Target,
    knobs: Knobs | None = None,
    *,
    ours: bool = True,
    progress: Callable[[Record, Tick], None] = lambda record, tick: None,
) -> Filled:
    """Fill the rows of one spec. `ours`: dbkit wrote it and its triggers stand.

    Raises Refused, Unreachable or UsageError when nothing was changed.
    """
    how = knobs or Knobs()
    with connect(target, purpose="backfill") as connection:
        version = preflight(connection).version_text
        store = PostgresStore(connection, resume=how.resume)
        store.prepare()
        state.prepare(connection)
        job = BackfillJob(spec, target, how, ours=ours)
        seen: list[Record] = []

        def follow(record: Record, tick: Tick) -> None:
            job.number = record.id
            seen[:] = [replace(record, done=tick.done, total=tick.total, note=tick.note)]
            progress(record, tick)

        error: DbkitError | None = None
        try:
            run(job, store, Hooks(progress=follow, deadline=how.deadline))
        except DbkitError as raised:
            if not seen:
                raise
            error = raised
            if isinstance(raised, Unreachable) and job.shared.batches:  # exit 3 would say that nothing was changed
                error = Stopped(raised.what, why=raised.why, hint=raised.hint)
        except psycopg.Error as raised:  # of the connection that keeps account of the run
            error = failure.of_build(raised, "keeping account of the run")
        if error is None and job.left and job.left.differing:
            error = Stopped(
                f"{job.left.differing} rows are pending again",
                why="they were written while the backfill ran, by an application that does not fill them",
                hint="deploy the application that writes the new value, then run the same command again",
            )
        return Filled(_report(spec, target, version, job, seen[0] if seen else None, error), error)


def resume(record: Record, target: Target, knobs: Knobs, progress: Callable[[Record, Tick], None]) -> Filled:
    """Go on with a stored job, with what it was started with; limits of `knobs` replace the stored ones."""
    spec = spec_of(record.spec)
    how = replace(
        knobs,
        resume=record.id,
        workers=int(record.spec.get("workers", 1)),
        by=str(record.spec.get("by", "auto")),
        triggers=str(record.spec.get("triggers", "auto")),
    )
    return fill(spec, target, how, ours=bool(record.spec.get("ours")), progress=progress)


def spec_of(held: Mapping[str, Any]) -> BackfillSpec:
    """The spec a job was started with."""
    plan: dict[str, Any] = dict(held["plan"])
    columns = tuple(plan.pop("columns"))
    return BackfillSpec(columns=columns, **plan)


def preflight(connection: Connection) -> Server:
    """The server. Raises Refused where a backfill cannot be: on a standby, through a pooler, on an old version."""
    found = server(connection)
    require_supported(found)
    if found.in_recovery:
        raise Refused("this server is a standby", hint=PRIMARY)
    if not found.direct:
        raise Refused(
            "this connection goes through a pooler: timeouts and locks of a session would not hold",
            hint="connect to PostgreSQL itself, usually port 5432",
        )
    return found


def _report(
    spec: BackfillSpec, target: Target, version: str, job: BackfillJob, record: Record | None, error: DbkitError | None
) -> Report:
    name = quoted(spec.schema, spec.table)
    shared = job.shared
    findings: list[Finding] = []
    passed: list[Passed] = []
    if error is None:
        counted = " and counted: none is left" if job.left else ""
        passed.append(Passed(RULE, target.name, f"{name}: every row of the ranges is filled{counted}"))
    else:
        sample: list[Json] = list(job.left.sample) if job.left else []
        findings.append(
            Finding(
                rule=RULE,
                severity=Severity.ERROR,
                evidence=Evidence.OBSERVED,
                message=f"{error.what}{f': {error.why}' if error.why else ''}",
                target=target.name,
                object=name,
                data={"sample": sample},
                fix=Fix("rewrite", error.hint) if error.hint else None,
                key=spec.change,
            )
        )
    facts: dict[str, Json] = {
        "change": spec.change,
        "table": name,
        "job": record.id if record else None,
        "rows_filled": shared.rows,
        "rows_done": round(record.done) if record else 0,
        "rows_total": round(record.total) if record and record.total is not None else None,
        "batches": shared.batches,
        "retries": shared.retries,
        "longest_batch_ms": round(shared.longest * 1000, 1),
        "batches_waited_for": shared.waited,
        "held_seconds": {n: round(s, 3) for n, s in job.held.items()},
        "pending": job.left.differing if job.left else None,
        "complete": error is None,
    }
    rows = (
        ("rows filled", f"{shared.rows:,}"),
        ("batches", f"{shared.batches:,}"),
        ("tried again", f"{shared.retries:,}"),
        ("longest batch", format_seconds(shared.longest)),
        ("batches others waited for", f"{shared.waited:,}"),
        *((f"held by {n}", format_seconds(s)) for n, s in job.held.items() if s),
    )
    return Report(
        command="migrate backfill",
        targets=(TargetInfo(target.name, "postgres", version),),
        findings=tuple(findings),
        passed=tuple(passed),
        extra={"backfills": [facts]},
        exhibits=(Table(f"Backfill of {name}", ("what", "figure"), rows, numeric=frozenset({"figure"})),),
    )
