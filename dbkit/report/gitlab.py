"""GitLab's code quality report: the Code Climate subset that merge requests show beside the changed lines."""

from __future__ import annotations

import json
from typing import Final

from dbkit.model import Finding, Json, Report, Severity

_SEVERITIES: Final = {Severity.ERROR: "critical", Severity.WARN: "major", Severity.INFO: "info"}


def render(report: Report) -> str:
    """A JSON array, one element an active finding; what is suppressed is left out."""
    return json.dumps([_issue(f) for f in report.active], indent=2, ensure_ascii=False) + "\n"


def _issue(finding: Finding) -> dict[str, Json]:
    place = finding.location
    text = f"{finding.object}: {finding.message}" if finding.object else finding.message
    return {
        "description": text,
        "check_name": finding.rule,
        "fingerprint": finding.fingerprint,
        "severity": _SEVERITIES[finding.severity],
        # GitLab drops an element without a place; a finding on a live object points at its target's name.
        "location": {
            "path": place.file if place else finding.target,
            "lines": {"begin": (place.line if place else None) or 1},
        },
    }
