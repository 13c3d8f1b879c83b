"""The JSON report (DESIGN.md 3): stable, described by dbkit/report/schema.py."""

from __future__ import annotations

from pydantic_core import to_json  # compiled: the standard encoder indents in Python, a third of a large lint run

from dbkit.model import REPORT_SCHEMA, Finding, Json, Report, Severity


def render(report: Report) -> str:
    """The report as indented JSON."""
    return to_json(as_data(report), indent=2, fallback=str).decode() + "\n"


def as_data(report: Report) -> dict[str, Json]:
    """The report as plain data; a command's own keys stand at the top level."""
    summary: dict[str, Json] = {s.value: report.count(s) for s in Severity}
    suppressed = report.suppressed
    summary["suppressed"] = len(suppressed)
    summary["passed"] = len(report.passed)
    summary["skipped"] = len(report.skipped)
    return {
        "schema": REPORT_SCHEMA,
        "tool": report.tool,
        "version": report.version,
        "command": report.command,
        "targets": [{"name": t.name, "engine": t.engine, "server_version": t.server_version} for t in report.targets],
        "summary": summary,
        "findings": [_finding(f) for f in report.active],
        "suppressed": [
            {**_finding(f), "reason": f.suppression.reason, "source": f.suppression.source}
            for f in suppressed
            if f.suppression
        ],
        "passed": [{"rule": p.rule, "target": p.target} for p in report.passed],
        "skipped": [{"rule": s.rule, "target": s.target, "reason": s.reason} for s in report.skipped],
        **report.extra,
    }


def _finding(finding: Finding) -> dict[str, Json]:
    place, fix = finding.location, finding.fix
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "evidence": finding.evidence.value,
        "message": finding.message,
        "target": finding.target,
        "object": finding.object,
        "location": {"file": place.file, "line": place.line} if place else None,
        "data": dict(finding.data),
        "fix": {"kind": fix.kind, "text": fix.text, "safe": fix.safe} if fix else None,
        "fingerprint": finding.fingerprint,
    }
