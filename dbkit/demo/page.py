"""The demo's report: what was found, what was done, and what it cost the traffic, as one Report for every renderer."""

from __future__ import annotations

from typing import Any

from dbkit.demo import shop
from dbkit.demo.broken import FAULTS
from dbkit.demo.tour import Outcome
from dbkit.demo.traffic import Result
from dbkit.exhibits import Bar, Bars, Exhibit, Lane, Span, Table, Text, Timeline, Tone
from dbkit.model import Evidence, Finding, Fix, Passed, Report, Severity, Skipped, TargetInfo
from dbkit.postgres.indexes.rules import HEALTH_RULES, WANTED_RULES
from dbkit.sizes import format_seconds

STALL_BUDGET_MS = 250.0
MANY = 4
"""Findings of one rule beyond which they share a row."""


def report(outcome: Outcome) -> Report:
    """The state after the tour as findings, with the comparison and the state before as exhibits."""
    after = outcome.after
    sentences = {rule.id: rule.ok for rule in (*WANTED_RULES, *HEALTH_RULES)}
    return Report(
        command="demo",
        targets=(TargetInfo("demo", "postgres", outcome.server),),
        findings=tuple(_finding(f) for f in after["findings"]),
        passed=tuple(Passed(p["rule"], "demo", sentences.get(p["rule"], "")) for p in after["passed"]),
        skipped=tuple(Skipped(s["rule"], "demo", s["reason"]) for s in after["skipped"]),
        extra={
            "traffic": {"plain": _numbers(outcome.plain), "dbkit": _numbers(outcome.ours)},
            "change": {"plain": _change_numbers(outcome.change_plain), "dbkit": _change_numbers(outcome.change_ours)},
        },
        exhibits=_exhibits(outcome),
    )


def longest_ms(result: Result) -> float:
    """The longest wait of any statement, in milliseconds."""
    return max(result.longest("read")[0], result.longest("write")[0]) * 1000


def _exhibits(outcome: Outcome) -> tuple[Exhibit, ...]:
    plain, ours = (format_seconds(longest_ms(r) / 1000) for r in (outcome.plain, outcome.ours))
    columns = ("fault", "found by", "what became of it")
    return (
        Text(
            f"The application waited {plain} at most under plain CREATE INDEX, and {ours} under dbkit",
            f"PostgreSQL {outcome.server} with {outcome.rows:,} rows, readers and writers at work. All documented "
            "indexes were built twice: by plain CREATE INDEX on one copy of the database, and by dbkit on another that "
            "had first been broken. Both runs had the same traffic; what follows is the traffic's own account.",
        ),
        _waits(outcome),
        _plain_timeline(outcome),
        _our_timeline(outcome),
        Table(
            "What was broken, and what became of it",
            columns,
            tuple((fault.told, fault.found_by, fault.cure) for fault in FAULTS),
        ),
        _per_statement(outcome),
        _before(outcome),
        Table(
            "The documented indexes now",
            ("index", "table", "state", "definition"),
            tuple((i["name"], i["table"], i["state"], i["definition"] or "") for i in outcome.indexes),
        ),
        *_change(outcome.change_plain, outcome.change_ours),
    )


def _change(plain: shop.Side, ours: shop.Side) -> tuple[Exhibit, ...]:
    """The last chapter: what two changes of a busy table cost its application."""
    sides = (("plain Alembic", plain), ("dbkit", ours))
    bars = tuple(
        Bar(
            f"{label}, {change}",
            side.longest(change) * 1000,
            format_seconds(side.longest(change)),
            "bad" if side.longest(change) * 1000 > STALL_BUDGET_MS else "good",
        )
        for change in shop.WORDS
        for label, side in sides
    )
    rows = tuple(
        (
            label,
            format_seconds(sum(side.took.values())),
            f"{side.result.count:,}",
            f"{side.result.failed:,}",
            next((e for seen in side.result.statements.values() for e in seen.errors), ""),
        )
        for label, side in sides
    )
    columns = ("way", "took", "statements", "failed", "first error")
    return (
        Text(
            f"A rename and an int-to-bigint: {plain.result.failed:,} statements failed under plain Alembic, "
            f"{ours.result.failed:,} under dbkit",
            f"orders ({shop.ROWS:,} rows) has its column customer renamed to buyer and its key made bigint, first by "
            "`alembic upgrade`, then by `dbkit migrate new`, `deploy --phase pre` and `deploy --phase post`. The "
            "application has an old version, which knows customer, and a new one, which knows buyer. Under dbkit both "
            "are at work for a second; under plain Alembic the old one fails from the rename until it is replaced.",
        ),
        Bars(
            "Longest wait of one statement while the table was changed",
            "ms",
            bars,
            limit=STALL_BUDGET_MS,
            limit_label="250 ms",
            note="Both sides ran on this machine, one after the other. A plain rename makes nobody wait: it fails.",
        ),
        Table("What it cost the application", columns, rows, numeric=frozenset(columns[1:4])),
    )


def _before(outcome: Outcome) -> Table:
    """The findings before, those of a rule with many cases in one row."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for finding in outcome.before["findings"]:
        groups.setdefault((finding["severity"], finding["rule"]), []).append(finding)
    rows: list[tuple[str, ...]] = []
    for (severity, rule), found in groups.items():
        if len(found) > MANY:
            names = ", ".join(f["object"].removeprefix("public.") for f in found)
            rows.append((severity, rule, f"{len(found)} objects", names))
        else:
            rows += [(severity, rule, f["object"], f["message"]) for f in found]
    return Table("Findings before", ("severity", "rule", "object", "what"), tuple(rows))


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


def _plain_timeline(outcome: Outcome) -> Timeline:
    tables = {i["name"]: i["table"] for i in outcome.indexes}
    lanes: dict[str, list[Span]] = {}
    at = 0.0
    for name, seconds in outcome.plain_statements:
        lanes.setdefault(tables[name], []).append(Span(at, at + seconds, name, "bad"))
        at += seconds
    return Timeline(
        "Plain CREATE INDEX: each bar is a time in which nobody could write to that table",
        tuple(Lane(table, tuple(spans)) for table, spans in lanes.items()),
    )


def _our_timeline(outcome: Outcome) -> Timeline:
    lanes: dict[str, list[Span]] = {}
    for step in outcome.applied["steps"]:
        tone: Tone = "warn" if step["waited"] > 1 else "good"
        span = Span(step["began"], step["began"] + step["seconds"], f"{step['action']} {step['object']}", tone)
        lanes.setdefault(step["table"], []).append(span)
    return Timeline(
        f"dbkit: no reader and no writer waited longer than {format_seconds(longest_ms(outcome.ours) / 1000)}",
        tuple(Lane(table, tuple(spans)) for table, spans in lanes.items()),
        note="amber: the build itself waited for the report that held an old snapshot; nobody waited for it",
    )


def _numbers(result: Result) -> dict[str, Any]:
    return {
        "statements": result.count,
        "failed": result.failed,
        "longest_read_ms": round(result.longest("read")[0] * 1000, 1),
        "longest_write_ms": round(result.longest("write")[0] * 1000, 1),
    }


def _change_numbers(side: shop.Side) -> dict[str, Any]:
    waits = {change.replace(" ", "_"): round(side.longest(change) * 1000, 1) for change in shop.WORDS}
    return {"statements": side.result.count, "failed": side.result.failed, "longest_wait_ms": waits}


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
