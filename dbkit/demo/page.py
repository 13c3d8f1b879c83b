"""The demo's report: what was found, what was done, and what it cost the traffic, as one Report for every renderer."""

from __future__ import annotations

from typing import Any

from dbkit.demo.tour import Outcome
from dbkit.demo.traffic import Result
from dbkit.exhibits import Bar, Bars, Exhibit, Lane, Span, Table, Text, Timeline, Tone
from dbkit.model import Evidence, Finding, Fix, Passed, Report, Severity, Skipped, TargetInfo
from dbkit.sizes import format_seconds

STALL_BUDGET_MS = 250.0


def report(outcome: Outcome) -> Report:
    """The state after the tour as findings, with the comparison and the state before as exhibits."""
    after = outcome.after
    return Report(
        command="demo",
        targets=(TargetInfo("demo", "postgres", outcome.server),),
        findings=tuple(_finding(f) for f in after["findings"]),
        passed=tuple(Passed(p["rule"], "demo") for p in after["passed"]),
        skipped=tuple(Skipped(s["rule"], "demo", s["reason"]) for s in after["skipped"]),
        extra={"traffic": {"plain": _numbers(outcome.plain), "dbkit": _numbers(outcome.ours)}},
        exhibits=_exhibits(outcome),
    )


def longest_ms(result: Result) -> float:
    """The longest wait of any statement, in milliseconds."""
    return max(result.longest("read")[0], result.longest("write")[0]) * 1000


def _exhibits(outcome: Outcome) -> tuple[Exhibit, ...]:
    return (
        Text(
            "What was done",
            f"PostgreSQL {outcome.server} with {outcome.rows:,} rows, readers and writers at work. All documented "
            "indexes were built twice: by plain CREATE INDEX on one copy of the database, and by dbkit on another that "
            "had first been broken. Both runs had the same traffic; what follows is the traffic's own account.",
        ),
        _waits(outcome),
        _per_statement(outcome),
        _timeline(outcome),
        Table(
            "What was broken",
            ("fault",),
            tuple((fault,) for fault in outcome.faults),
        ),
        Table(
            "Findings before",
            ("severity", "rule", "object", "what"),
            tuple((f["severity"], f["rule"], f["object"], f["message"]) for f in outcome.before["findings"]),
        ),
        Table(
            "The documented indexes now",
            ("index", "table", "state", "definition"),
            tuple((i["name"], i["table"], i["state"], i["definition"] or "") for i in outcome.indexes),
        ),
    )


def _waits(outcome: Outcome) -> Bars:
    bars: list[Bar] = []
    for label, result in (("plain CREATE INDEX", outcome.plain), ("dbkit", outcome.ours)):
        for kind in ("read", "write"):
            seconds, name = result.longest(kind)
            tone: Tone = "bad" if seconds * 1000 > STALL_BUDGET_MS else "good"
            bars.append(Bar(f"{label}, {kind}s", seconds * 1000, f"{format_seconds(seconds)} ({name})", tone))
    return Bars(
        "Longest wait of one statement of the application",
        "ms",
        tuple(bars),
        limit=STALL_BUDGET_MS,
        limit_label="250 ms",
        note=f"plain: {outcome.plain.count:,} statements in {format_seconds(outcome.plain_seconds)}; dbkit: "
        f"{outcome.ours.count:,} statements in {format_seconds(outcome.ours_seconds)}, "
        f"{outcome.ours.failed} failed. Both sides ran on this machine, one after the other.",
    )


def _per_statement(outcome: Outcome) -> Table:
    rows = tuple(
        (
            name,
            format_seconds(outcome.plain.statements[name].longest),
            format_seconds(outcome.ours.statements[name].longest),
            f"{outcome.plain.statements[name].count:,}",
            f"{outcome.ours.statements[name].count:,}",
        )
        for name in outcome.plain.statements
    )
    columns = ("statement", "longest wait, plain", "longest wait, dbkit", "runs, plain", "runs, dbkit")
    return Table("By statement", columns, rows, numeric=frozenset(columns[1:]))


def _timeline(outcome: Outcome) -> Timeline:
    spans: list[Span] = []
    at = 0.0
    for name, seconds in outcome.plain_statements:
        spans.append(Span(at, at + seconds, name, "bad"))
        at += seconds
    return Timeline(
        "Plain CREATE INDEX: each bar is a time in which nobody could write to one table",
        (Lane("SHARE lock", tuple(spans)),),
    )


def _numbers(result: Result) -> dict[str, Any]:
    return {
        "statements": result.count,
        "failed": result.failed,
        "longest_read_ms": round(result.longest("read")[0] * 1000, 1),
        "longest_write_ms": round(result.longest("write")[0] * 1000, 1),
    }


def _finding(data: dict[str, Any]) -> Finding:
    fix = data["fix"]
    return Finding(
        rule=data["rule"],
        severity=Severity(data["severity"]),
        evidence=Evidence(data["evidence"]),
        message=data["message"],
        target="demo",
        object=data["object"],
        data=data["data"],
        fix=Fix(fix["kind"], fix["text"], fix["safe"]) if fix else None,
    )
