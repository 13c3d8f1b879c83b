"""Markdown for a pull request or a ticket."""

from __future__ import annotations

import html
import re

from dbkit.exhibits import Bars, Stack, Table, Text, Timeline
from dbkit.model import Finding, Report, Severity


def render(report: Report) -> str:
    """Summary, findings as a table, fixes as code, exhibits as tables."""
    counts = ", ".join(f"{report.count(s)} {s.value}" for s in Severity)
    lines = [
        f"## dbkit {_cell(report.command)}",
        "",
        f"{counts}; {len(report.passed)} passed, {len(report.skipped)} skipped",
    ]
    if report.active:
        lines += ["", "| severity | rule | object | finding |", "|---|---|---|---|"]
        lines += [_row(finding, several=len(report.targets) > 1) for finding in report.active]
    for finding in report.active:
        lines += _fix(finding)
    for exhibit in report.exhibits:
        lines += ["", f"### {_cell(exhibit.title)}", "", *_exhibit(exhibit)]
    return "\n".join(lines) + "\n"


def _row(finding: Finding, *, several: bool) -> str:
    where = f"{finding.location.file}:{finding.location.line or 1}: " if finding.location else ""
    named = f"{finding.object} on {finding.target}" if several else finding.object
    return f"| {finding.severity.value} | {finding.rule} | {_cell(named)} | {_cell(where + finding.message)} |"


def _fix(finding: Finding) -> list[str]:
    if finding.fix is None:
        return []
    longest = max((len(run) for run in re.findall("`+", finding.fix.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return ["", f"**{_cell(finding.object)}**", "", f"{fence}sql", *finding.fix.text.splitlines(), fence]


def _exhibit(exhibit: Table | Bars | Stack | Timeline | Text) -> list[str]:
    if isinstance(exhibit, Text):
        return [_cell(exhibit.body)]
    if isinstance(exhibit, Table):
        rows = exhibit.rows
        columns = exhibit.columns
    elif isinstance(exhibit, Timeline):
        columns = ("lane", "from, s", "to, s", "what")
        rows = tuple((x.label, f"{s.start:.1f}", f"{s.end:.1f}", s.label) for x in exhibit.lanes for s in x.spans)
    else:
        parts = exhibit.bars if isinstance(exhibit, Bars) else exhibit.parts
        columns = ("", exhibit.unit, "")
        rows = tuple((b.label, f"{b.value:,.1f}", b.caption) for b in parts)
    return [
        "| " + " | ".join(map(_cell, columns)) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(map(_cell, row)) + " |" for row in rows),
    ]


def _cell(value: str) -> str:
    flat = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return re.sub(r"([\\`|*_\[\]])", r"\\\1", html.escape(flat, quote=False))
