"""A verification as a report."""

from __future__ import annotations

from typing import Final

from dbkit.exhibits import Table
from dbkit.model import Evidence, Finding, Fix, Json, Passed, Report, Severity, Skipped, TargetInfo
from dbkit.postgres.catalog import quoted
from dbkit.postgres.migrate.verify import Verdict, Verified
from dbkit.sizes import format_seconds

RULE: Final = "migrate.rows-differ"


def report(done: Verified, target: str) -> Report:
    """Proved fills as passed, differing rows as findings, what was not reached as skipped."""
    findings: list[Finding] = []
    passed: list[Passed] = []
    skipped: list[Skipped] = []
    for verdict in done.verdicts:
        name = quoted(verdict.spec.schema, verdict.spec.table)
        if verdict.verified:
            passed.append(Passed(RULE, target, f"{name}: {_counted(verdict)}{verdict.note}"))
        elif verdict.found.differing:
            findings.append(_finding(verdict, name, target))
        else:
            why = done.error.what if done.error else "it was not reached"
            skipped.append(Skipped(RULE, target, f"{name}: {why}"))
    rows = tuple(
        (quoted(v.spec.schema, v.spec.table), v.spec.tie or "-", f"{v.found.rows:,}", f"{v.found.differing:,}",
         "yes" if v.verified else "no", format_seconds(v.seconds))
        for v in done.verdicts
    )  # fmt: skip
    columns = ("table", "check", "rows counted", "differ", "verified", "took")
    facts: list[Json] = [v.data() for v in done.verdicts]
    return Report(
        command="migrate verify",
        targets=(TargetInfo(target, "postgres", done.server_version),),
        findings=tuple(findings),
        passed=tuple(passed),
        skipped=tuple(skipped),
        extra={"verifications": facts, "verified": done.whole, "job": done.job},
        exhibits=(Table("Verified", columns, rows, numeric=frozenset({"rows counted", "differ", "took"})),),
    )


def _counted(verdict: Verdict) -> str:
    return f"{verdict.found.rows:,} rows counted, none differs; " if verdict.found.rows else ""


def _finding(verdict: Verdict, name: str, target: str) -> Finding:
    sample: list[Json] = list(verdict.found.sample)
    first = f", such as {verdict.found.sample[0]}" if verdict.found.sample else ""
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        evidence=Evidence.OBSERVED,
        message=f"{verdict.found.differing:,} of {verdict.found.rows:,} rows differ{first}",
        target=target,
        object=name,
        data={"differing": verdict.found.differing, "rows": verdict.found.rows, "sample": sample},
        fix=Fix("command", f"dbkit migrate backfill {verdict.spec.change}") if verdict.spec.assignments else None,
        key=verdict.spec.tie,
    )
