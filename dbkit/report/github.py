"""Annotations of a GitHub Actions run. GitHub shows ten a level, so the worst come first and the rest are counted."""

from __future__ import annotations

from typing import Final

from dbkit.model import Finding, Report, Severity

SHOWN: Final = 10
_COMMANDS: Final = {Severity.ERROR: "error", Severity.WARN: "warning", Severity.INFO: "notice"}


def render(report: Report) -> str:
    """Workflow commands, one a line."""
    lines: list[str] = []
    for severity in Severity:
        found = [f for f in report.active if f.severity is severity]
        lines += [_line(f) for f in found[:SHOWN]]
        if len(found) > SHOWN:
            left = f"{len(found) - SHOWN} more {severity.value} findings are not shown here"
            lines.append(f"::{_COMMANDS[severity]}::{left}")
    return "".join(f"{line}\n" for line in lines)


def _line(finding: Finding) -> str:
    place = finding.location
    where = f"file={_property(place.file)},line={place.line or 1}," if place else ""
    text = f"{finding.object}: {finding.message}" if finding.object else finding.message
    return f"::{_COMMANDS[finding.severity]} {where}title={_property(finding.rule)}::{_data(text)}"


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
