"""Findings and the Report that holds them: the one shape every reader produces and every renderer prints.

Nothing here does I/O. A Report also carries what was checked and found good (`passed`) and what could not be checked
(`skipped`, each with its reason): a report without these is no evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Final, TypeAlias

from dbkit import __version__
from dbkit.exhibits import Exhibit

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"

REPORT_SCHEMA: Final = 1


class Severity(StrEnum):
    """How bad a finding is: `error` breaks or endangers, `warn` costs, `info` is worth knowing."""

    ERROR = "error"
    WARN = "warn"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the worst; for sorting and for comparing with a threshold."""
        return _RANKS[self]


_RANKS: Final = {severity: rank for rank, severity in enumerate(Severity)}


class Evidence(StrEnum):
    """How a finding is known: read from the source, source plus a known schema, or executed and measured."""

    TEXT = "text"
    SCHEMA = "schema"
    OBSERVED = "observed"


@dataclass(frozen=True, slots=True)
class Location:
    """The file (relative to where dbkit runs, if below it) and the 1-based line a finding points at."""

    file: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Fix:
    """What to do about a finding. `safe` means: takes no lock that stalls traffic and loses nothing."""

    kind: str
    """What `text` is: `sql`, `conf`, `ini`, `command` or `rewrite`."""
    text: str
    safe: bool = False


@dataclass(frozen=True, slots=True)
class Suppression:
    """Why a finding does not count: `source` is `policy`, `comment` or `baseline`."""

    source: str
    reason: str
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact worth a person's time, said in a sentence with the object's own name."""

    rule: str
    severity: Severity
    evidence: Evidence
    message: str
    target: str
    object: str = ""
    location: Location | None = None
    data: Mapping[str, Json] = field(default_factory=dict[str, Json])
    fix: Fix | None = None
    key: str = ""
    """Tells apart two findings of one rule on one object, such as two statements on one table; part of the identity."""
    suppression: Suppression | None = None

    @property
    def fingerprint(self) -> str:
        """The same in every run for the same problem: 16 hex digits over rule, target, object, file and key."""
        file = self.location.file if self.location else ""
        text = "\0".join((self.rule, self.target, self.object, file, self.key))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def suppressed_by(self, suppression: Suppression) -> Finding:
        """This finding, kept but not counted."""
        return replace(self, suppression=suppression)


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What a report was made from: a server, pooler, cluster or file, and the version it runs (None if unknown)."""

    name: str
    engine: str
    server_version: str | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """A rule that looked and found nothing wrong; `sentence` says so in words."""

    rule: str
    target: str
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A rule that could not look, and why; the reason names what would open it (a GRANT, an extension)."""

    rule: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one command. `extra` holds the command's own JSON keys, `exhibits` what the page shows beside."""

    command: str
    targets: tuple[TargetInfo, ...] = ()
    findings: tuple[Finding, ...] = ()
    passed: tuple[Passed, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    extra: Mapping[str, Json] = field(default_factory=dict[str, Json])
    exhibits: tuple[Exhibit, ...] = ()
    tool: str = "dbkit"
    version: str = __version__

    @property
    def active(self) -> tuple[Finding, ...]:
        """Findings that count, worst first, then by rule and object."""
        return _sorted(f for f in self.findings if f.suppression is None)

    @property
    def suppressed(self) -> tuple[Finding, ...]:
        """Findings set aside by policy, comment or baseline."""
        return _sorted(f for f in self.findings if f.suppression is not None)

    def count(self, severity: Severity) -> int:
        """How many active findings have exactly this severity."""
        return sum(1 for f in self.findings if f.suppression is None and f.severity is severity)

    def reaches(self, threshold: Severity | None) -> bool:
        """Whether any active finding is at or above the threshold; None means never."""
        if threshold is None:
            return False
        return any(f.suppression is None and f.severity.rank <= threshold.rank for f in self.findings)


def merge(command: str, reports: Iterable[Report]) -> Report:
    """One report over several targets; JSON keys of `extra` that hold lists are joined, others keep the first value."""
    parts = list(reports)
    extra: dict[str, Json] = {}
    for part in parts:
        for name, value in part.extra.items():
            held = extra.get(name)
            extra[name] = (
                [*held, *value] if isinstance(held, list) and isinstance(value, list) else extra.get(name, value)
            )
    return Report(
        command=command,
        targets=tuple(t for p in parts for t in p.targets),
        findings=tuple(f for p in parts for f in p.findings),
        passed=tuple(x for p in parts for x in p.passed),
        skipped=tuple(x for p in parts for x in p.skipped),
        extra=extra,
        exhibits=tuple(e for p in parts for e in p.exhibits),
    )


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(
        sorted(
            findings,
            key=lambda f: (
                f.severity.rank,
                f.rule,
                f.location.file if f.location else "",
                (f.location.line or 0) if f.location else 0,
                f.object,
            ),
        )
    )
