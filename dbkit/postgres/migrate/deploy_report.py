"""What became of a run of revisions, as a report: each unit with its waits, and whether the changes stand right."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from dbkit.errors import Unreachable
from dbkit.exhibits import Exhibit, Table
from dbkit.job import Record
from dbkit.model import Evidence, Finding, Json, Passed, Report, Severity, TargetInfo
from dbkit.postgres.connect import Connection, Server
from dbkit.postgres.migrate.changes import proof, standing
from dbkit.postgres.migrate.changes.spec import Change
from dbkit.postgres.migrate.executor.budget import Budget
from dbkit.postgres.migrate.executor.done import Done
from dbkit.postgres.migrate.revisions import Environment
from dbkit.settings import Target
from dbkit.sizes import format_seconds


def report(
    command: str, connection: Connection, found: Server, target: Target, environment: Environment, done: Sequence[Done],
    record: Record | None, seconds: float, budget: Budget,
) -> Report:  # fmt: skip
    """What a run of revisions did, and whether each change it touched is as it should be."""
    findings: list[Finding] = []
    passed: list[Passed] = []
    touched = list(dict.fromkeys(d.revision for d in done))
    try:
        with connection.transaction():  # one moment: another runner may move the change on as soon as this one is done
            connection.execute("set transaction isolation level repeatable read, read only")
            for change in standing.changes(connection, environment):
                if not {change.expand, change.contract} & set(touched):
                    continue
                wrong = proof.missing(connection, change)
                findings += [_finding(w, target, change) for w in wrong]
                if not wrong:
                    told = f"{change.id} is {change.phase.value}, as it should be"
                    passed.append(Passed("migrate.change", target.name, told))
    except (psycopg.Error, Unreachable):
        connection.close()  # lost: what the run itself knows is told all the same
    if done:
        waited = f"others waited {format_seconds(budget.longest)} at the most"
        passed.append(Passed("migrate.change", target.name, f"{command} took {format_seconds(seconds)}; {waited}"))
    else:
        told = "nothing is due" if command != "rollback" else "there was nothing left to take back"
        passed.append(Passed("migrate.change", target.name, told))
    statements: list[Json] = [d.data() for d in done]
    extra: dict[str, Json] = {
        "job": record.id if record else None,
        "seconds": round(seconds, 3),
        "revisions": list(touched),
        "statements": statements,
        "longest_wait_ms": round(budget.longest * 1000, 1),
        "stall_ms": round(budget.spent * 1000, 1),
    }
    return Report(
        command=f"migrate {command}",
        targets=(TargetInfo(target.name, "postgres", found.version_text),),
        findings=tuple(findings),
        passed=tuple(passed),
        extra=extra,
        exhibits=_exhibits(command, done, seconds, budget),
    )


def _finding(message: str, target: Target, change: Change) -> Finding:
    return Finding(
        rule="migrate.change", severity=Severity.ERROR, evidence=Evidence.OBSERVED, message=message,
        target=target.name, object=change.qualified, data={"change": change.id, "phase": change.phase.value},
    )  # fmt: skip


def _exhibits(command: str, done: Sequence[Done], seconds: float, budget: Budget) -> tuple[Exhibit, ...]:
    if not done:
        return ()
    rows = tuple(
        (d.revision, d.told, d.outcome, str(d.attempts), format_seconds(d.seconds), format_seconds(d.stall))
        for d in done
    )
    note = (
        f"{command} took {format_seconds(seconds)}; the longest that others may have waited is "
        f"{format_seconds(budget.longest)}, {format_seconds(budget.spent)} of {format_seconds(budget.total)} in all"
    )
    columns = ("revision", "statement", "outcome", "attempts", "took", "stall")
    return (Table("What was done", columns, rows, note=note, numeric=frozenset({"attempts", "took", "stall"})),)
