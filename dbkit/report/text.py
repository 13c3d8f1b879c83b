"""The report for people: one finding a line, its fix below it; words first, colour only on a terminal."""

from __future__ import annotations

from typing import Final

from dbkit.exhibits import Table, Text
from dbkit.model import Finding, Report, Severity

_COLOURS: Final = {Severity.ERROR: "\x1b[31m", Severity.WARN: "\x1b[33m", Severity.INFO: "\x1b[36m"}
MANY: Final = 8
"""Rules skipped for one and the same reason that are still named one by one."""


def text(report: Report, *, colour: bool = False, verbose: bool = False) -> str:
    """The report, ending with one sentence that counts everything, the healthy checks included."""
    lines: list[str] = []
    for exhibit in report.exhibits:
        if isinstance(exhibit, Table) and (verbose or exhibit.headline):
            lines += [_flat(exhibit.title), *(f"  {line}" for line in table(exhibit)), ""]
        elif isinstance(exhibit, Text) and verbose:
            lines += [_flat(exhibit.title), *(f"  {_flat(line)}" for line in exhibit.body.splitlines()), ""]
    several = len(report.targets) > 1
    for finding in report.active:
        lines += _finding(finding, colour, several=several)
    if verbose:
        lines += [f"passed {_on(p.target, several)}{p.rule}: {_flat(p.sentence)}" for p in report.passed]
        lines += [f"suppressed {_on(f.target, several)}{f.rule} {_flat(f.object)}" for f in report.suppressed]
    reasons: dict[tuple[str, str], list[str]] = {}
    for skip in report.skipped:
        reasons.setdefault((skip.target, skip.reason), []).append(skip.rule)
    lines += [
        f"skipped {_on(target, several)}{_rules(rules, verbose)}: {_flat(reason)}"
        for (target, reason), rules in reasons.items()
    ]
    return "\n".join([*lines, _summary(report)]) + "\n"


def _rules(rules: list[str], verbose: bool) -> str:
    """The rules skipped for one reason; many are only counted, unless all is to be told."""
    return ", ".join(rules) if verbose or len(rules) <= MANY else f"{len(rules)} rules (-v names them)"


def table(exhibit: Table) -> list[str]:
    """A table in columns wide enough for their longest entry; nothing is cut."""
    rows = [exhibit.columns, *exhibit.rows]
    widths = [max(len(_flat(row[n])) for row in rows) for n in range(len(exhibit.columns))]
    return [
        "  ".join(
            _flat(cell).rjust(width) if name in exhibit.numeric else _flat(cell).ljust(width)
            for cell, width, name in zip(row, widths, exhibit.columns, strict=True)
        ).rstrip()
        for row in rows
    ]


def _on(target: str, several: bool) -> str:
    """Whose line it is, where there is more than one target."""
    return f"{_flat(target)}: " if several else ""


def _finding(finding: Finding, colour: bool, *, several: bool) -> list[str]:
    word = finding.severity.value
    if colour:
        word = f"{_COLOURS[finding.severity]}{word}\x1b[0m"
    where = f"{finding.location.file}:{finding.location.line or 1}: " if finding.location else ""
    whose = _on(finding.target, several)
    lines = [f"{word} {whose}{finding.rule} {_flat(finding.object)}: {where}{_flat(finding.message)}"]
    if finding.fix:
        lines += [f"    fix: {line}" for line in finding.fix.text.splitlines()]
    return lines


def _summary(report: Report) -> str:
    counts = ", ".join(f"{report.count(s)} {s.value}" for s in Severity)
    rest = f"{len(report.passed)} passed, {len(report.skipped)} skipped, {len(report.suppressed)} suppressed"
    verdict = "nothing to report" if not report.active else counts
    return f"{report.command}: {verdict}; {rest}"


def _flat(value: str) -> str:
    """One line without control characters: a name must not be able to forge a second finding."""
    return "".join(c if c.isprintable() else " " for c in value)
