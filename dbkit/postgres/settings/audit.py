"""The setting rules over one scene: findings, what passed, what could not be seen, and the page beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dbkit.model import Evidence, Finding, Fix, Location, Passed, Report, Skipped
from dbkit.policy import Policy
from dbkit.postgres.settings import dashboard, dialects
from dbkit.postgres.settings.repair import Edit
from dbkit.postgres.settings.rules import SETTING_RULES
from dbkit.postgres.settings.rules.declare import AnyRule, Change, Verdict
from dbkit.postgres.settings.scene import Scene, Unseen
from dbkit.printable import printable, utf8
from dbkit.rules import Selection
from dbkit.secrets import redact


@dataclass(frozen=True, slots=True)
class Mend:
    """What mends one finding."""

    changes: tuple[Change, ...] = ()
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """The report on one scene, with what mends its findings, by fingerprint."""

    report: Report
    mends: Mapping[str, Mend] = field(default_factory=dict[str, Mend])


def judge(scene: Scene, policy: Policy, selection: Selection) -> Judged:
    """Everything the selected setting rules say of a scene. Reads nothing."""
    findings: list[Finding] = []
    passed: list[Passed] = []
    skipped: list[Skipped] = []
    mends: dict[str, Mend] = {}
    for rule in SETTING_RULES:
        if not selection.wants(rule, switched_on=policy.switched_on(rule)):
            continue
        verdicts, blind = _say(rule, scene, policy)
        for verdict in verdicts:
            finding = _finding(rule, verdict, scene, policy)
            findings.append(finding)
            if verdict.changes or verdict.edits:
                mends[finding.fingerprint] = Mend(verdict.changes, verdict.edits)
        if blind:
            skipped.append(Skipped(rule.id, scene.name, blind))
        elif not verdicts:
            passed.append(Passed(rule.id, scene.name, rule.ok))
    report = Report(
        command="audit",
        findings=tuple(findings),
        passed=tuple(passed),
        skipped=tuple(skipped),
        exhibits=dashboard.exhibits(scene),
    )
    return Judged(report, mends)


def _say(rule: AnyRule, scene: Scene, policy: Policy) -> tuple[list[Verdict], str]:
    """What a rule says, and why it could not see everything (empty when it could)."""
    said: list[Verdict] = []
    try:
        found = rule(scene, policy.limits(rule, rule.limits)) if rule.limits is not None else rule(scene)
        said.extend(found)
    except Unseen as unseen:
        return said, str(unseen)
    return said, ""


def _finding(rule: AnyRule, verdict: Verdict, scene: Scene, policy: Policy) -> Finding:
    return Finding(
        rule=rule.id,
        severity=policy.severity(rule, verdict.severity),
        evidence=rule.evidence if scene.live else Evidence.TEXT,
        message=redact(utf8(verdict.message)),
        target=scene.name,
        object=utf8(verdict.object),
        location=_location(verdict.location),
        data={name: printable(value) for name, value in verdict.data.items()},
        fix=_fix(verdict, scene),
        key=utf8(verdict.key),
    )


def _location(place: Location | None) -> Location | None:
    return Location(utf8(place.file), place.line) if place else None


def _fix(verdict: Verdict, scene: Scene) -> Fix | None:
    if verdict.changes:
        if scene.live:
            return Fix("sql", "\n".join(dialects.sql(scene, change) for change in verdict.changes), safe=True)
        return Fix("conf", "\n".join(dialects.conf(scene, change) for change in verdict.changes), safe=True)
    if verdict.edits:
        lines = [
            f"{edit.line}: {f'# {_was(scene, edit)}' if edit.text is None else edit.text}" for edit in verdict.edits
        ]
        return Fix("conf", redact(utf8("\n".join(lines))), safe=True)
    return Fix(verdict.kind, utf8(verdict.fix)) if verdict.fix else None


def _was(scene: Scene, edit: Edit) -> str:
    return scene.conf.line(edit.file, edit.line).strip() if scene.conf else ""
