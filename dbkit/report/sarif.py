"""SARIF 2.1.0.

GitHub rejects a file in which one result has no location, so a finding about a live object points at the policy that
asked for it.
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

from dbkit.model import Finding, Report, Severity
from dbkit.rules import REGISTRY

_LEVELS: Final = {Severity.ERROR: "error", Severity.WARN: "warning", Severity.INFO: "note"}


def render(report: Report) -> str:
    """The report as one SARIF run."""
    rules = sorted({f.rule for f in report.findings})
    run = {
        "tool": {
            "driver": {
                "name": report.tool,
                "version": report.version,
                "rules": [_rule(rule_id) for rule_id in rules],
            }
        },
        "invocations": [{"executionSuccessful": True}],
        "results": [_result(f, rules) for f in (*report.active, *report.suppressed)],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2, default=str) + "\n"


def _rule(rule_id: str) -> dict[str, Any]:
    rule = REGISTRY.get(rule_id)
    if rule is None:
        return {"id": rule_id}
    return {
        "id": rule_id,
        "shortDescription": {"text": rule.title or rule_id},
        "help": {"text": rule.body or rule.title or rule_id},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _result(finding: Finding, rules: list[str]) -> dict[str, Any]:
    place = finding.location
    region = {"region": {"startLine": max(place.line or 1, 1)}} if place else {"region": {"startLine": 1}}
    file = place.file if place else "policies/default.yaml"
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": quote(file)}, **region}}
    if finding.object:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.object}]
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [location],
        "partialFingerprints": {"dbkit/v1": finding.fingerprint},
    }
    if finding.suppression:
        result["suppressions"] = [{"kind": "external", "justification": finding.suppression.reason}]
    return result
