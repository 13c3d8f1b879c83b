"""`dbkit job`: long pieces of work, seen from outside."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dbkit.cli import targets
from dbkit.cli.options import Config, Dsn, Format, OutputFormat, Quiet, TargetNames
from dbkit.errors import Refused, UsageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, inspect, pause, resume and abort jobs.")
JobId = Annotated[int, typer.Argument(help="The number that `dbkit job list` shows.")]


@app.command("list")
def list_(target: TargetNames = None, dsn: Dsn = None, config: Config = None, fmt: OutputFormat = Format.TEXT) -> None:
    """List the jobs of a database, newest first.

    Examples:

      dbkit job list -t prod
    """
    from dbkit.postgres.connect import connect
    from dbkit.postgres.jobstore import PostgresStore

    _, chosen = targets.one_target(target, dsn, config)
    with connect(chosen, purpose="job") as connection:
        records = PostgresStore(connection).records()
    if fmt is Format.JSON:
        rows = [{"id": r.id, "kind": r.kind, "status": state(r), "done": r.done, "total": r.total} for r in records]
        print(json.dumps(rows, indent=2))
        return
    for r in records:
        print(f"{r.id}  {r.kind}  {state(r)}  {r.done:g}/{r.total or 0:g}  {r.updated}  {r.note}")
    if not records:
        print("no job has run in this database")


@app.command()
def show(job_id: JobId, target: TargetNames = None, dsn: Dsn = None, config: Config = None) -> None:
    """Tell the story of one job: what was decided, when and why.

    Examples:

      dbkit job show 3 -t prod
    """
    from dbkit.postgres.connect import connect
    from dbkit.postgres.jobstore import PostgresStore

    _, chosen = targets.one_target(target, dsn, config)
    with connect(chosen, purpose="job") as connection:
        store = PostgresStore(connection)
        record = store.get(job_id)
        events = store.events(job_id)
    print(f"job {record.id}: {record.kind}, {state(record)}, {record.done:g} of {record.total or 0:g}; {record.note}")
    print(f"run by {record.runner}, started {record.started}, last heard of {record.updated}")
    for event in events:
        print(f"  {event['at']}  {event['event']}  {json.dumps(event['detail'])}")


@app.command()
def pause(job_id: JobId, target: TargetNames = None, dsn: Dsn = None, config: Config = None) -> None:
    """Ask the runner of a job to stop in a safe state.

    Examples:

      dbkit job pause 3 -t prod
    """
    _ask(job_id, "pause", target, dsn, config)


@app.command()
def abort(job_id: JobId, target: TargetNames = None, dsn: Dsn = None, config: Config = None) -> None:
    """Ask the runner of a job to stop for good; it removes what it left half-built.

    Examples:

      dbkit job abort 3 -t prod
    """
    _ask(job_id, "abort", target, dsn, config)


@app.command()
def resume(
    job_id: JobId, target: TargetNames = None, dsn: Dsn = None, config: Config = None, quiet: Quiet = False
) -> None:
    """Go on with a job that was paused, interrupted or killed.

    Examples:

      dbkit job resume 3 -t prod
    """
    from dbkit.cli.apply import execute
    from dbkit.plan import from_data
    from dbkit.postgres.connect import connect
    from dbkit.postgres.jobstore import PostgresStore

    _, chosen = targets.one_target(target, dsn, config)
    with connect(chosen, purpose="job") as connection:
        record = PostgresStore(connection).get(job_id)
    if record.status.value in ("done", "aborted"):
        raise Refused(f"job {job_id} is {record.status.value}", hint="make a new plan")
    if "plan" not in record.spec:
        raise UsageError(f"job {job_id} holds no plan")
    plan = from_data(record.spec["plan"], f"job {job_id}")
    jobs = int(record.spec.get("jobs", 1))
    execute(plan, chosen, jobs=jobs, wait="30s", deadline="6h", fmt=Format.TEXT, outputs=None, quiet=quiet)


def state(record: object) -> str:
    """The status as people see it: a running row that nobody runs is interrupted."""
    status, alive = str(getattr(record, "status", "")), bool(getattr(record, "alive", False))
    return "interrupted" if status == "running" and not alive else status


def _ask(job_id: int, what: str, target: list[str] | None, dsn: str | None, config: Config) -> None:
    from dbkit.postgres.connect import connect
    from dbkit.postgres.jobstore import PostgresStore

    _, chosen = targets.one_target(target, dsn, config)
    with connect(chosen, purpose="job") as connection:
        store = PostgresStore(connection)
        record = store.get(job_id)
        if state(record) != "running":
            raise Refused(f"job {job_id} is {state(record)}, nobody runs it", hint="`dbkit job list`")
        store.request(job_id, what)
    print(f"job {job_id} was asked to {what}")
