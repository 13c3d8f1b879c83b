"""The report of a rehearsal: findings with their places, the statements as JSON, and what the page shows beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dbkit.model import Evidence, Finding, Fix, Json, Location, Passed, Report, Severity, Skipped, TargetInfo
from dbkit.postgres.migrate import lint
from dbkit.postgres.migrate.rehearse import predict
from dbkit.postgres.migrate.rehearse.compare import Comparison, compare
from dbkit.postgres.migrate.rehearse.pictures import exhibits
from dbkit.postgres.migrate.rehearse.rehearsal import Outcome
from dbkit.postgres.migrate.rehearse.rules import REHEARSAL_RULES
from dbkit.postgres.migrate.rehearse.scene import RehearsalRule, Scene, Sight
from dbkit.postgres.migrate.rules import MigrationRule
from dbkit.rules import Selection

COMMAND: Final = "migrate rehearse"


@dataclass(slots=True)
class View:
    """What decides which findings are shown, and how severe they are."""

    selection: Selection
    switched_on: Callable[[MigrationRule | RehearsalRule], bool | None]
    severity: Callable[[MigrationRule | RehearsalRule, Severity | None], Severity]
    max_stall: float | None = None


def report(outcomes: Sequence[Outcome], linted: Sequence[lint.Result], view: View) -> Report:
    """One report over all versions; `linted` holds lint's word for each."""
    rules = [r for r in REHEARSAL_RULES if view.selection.wants(r, switched_on=view.switched_on(r))]
    findings: list[Finding] = []
    passed: list[Passed] = []
    skipped: list[Skipped] = []
    lints: list[Comparison] = []
    for position, outcome in enumerate(outcomes):
        judged = compare(linted[position].found, outcome, _shown(linted[position], view))
        lints.append(judged)
        scene = Scene(outcome, view.max_stall, judged.disagreements, tuple(outcomes[:position]))
        for rule in rules:
            reason = _not_looked(rule, scene, len(outcomes))
            if reason:
                skipped.append(Skipped(rule.id, outcome.target, reason))
                continue
            sights = list(rule.check(scene))
            findings += [_finding(rule, sight, outcome, view) for sight in sights]
            if not sights:
                passed.append(Passed(rule.id, outcome.target, rule.ok))
    return Report(
        command=COMMAND,
        targets=tuple(TargetInfo(o.target, "postgres", o.version) for o in outcomes),
        findings=(*_merged(lints), *_counted(findings)),
        passed=tuple(passed),
        skipped=tuple(skipped),
        extra=_extra(outcomes, linted),
        exhibits=tuple(e for o in outcomes for e in exhibits(o, several=len(outcomes) > 1)),
    )


def empty(reason: str) -> Report:
    """The report when nothing is pending: no server was started."""
    return Report(
        command=COMMAND,
        skipped=tuple(Skipped(r.id, lint.TARGET, reason) for r in REHEARSAL_RULES),
        extra={"statements": [], "migrations": [], "rehearsals": []},
    )


def _shown(linted: lint.Result, view: View) -> frozenset[str]:
    wanted = {f.rule.id for f, _ in linted.found if view.selection.wants(f.rule, switched_on=view.switched_on(f.rule))}
    return frozenset(wanted)


def _not_looked(rule: RehearsalRule, scene: Scene, versions: int) -> str:
    if rule.id == "migrate.application-query-fails" and not scene.outcome.queries:
        return "no queries were given: --app-sql, --app-sql-new"
    if rule.id == "migrate.stall-over-budget" and scene.max_stall is None:
        return "no budget was given: --max-stall 250ms"
    if rule.id == "migrate.versions-differ" and versions < 2:
        return "one version was rehearsed: --pg 15,18 compares two"
    return ""


def _finding(rule: RehearsalRule, sight: Sight, outcome: Outcome, view: View) -> Finding:
    seen = outcome.seen[sight.statement] if sight.statement is not None else None
    location = Location(sight.file, sight.line) if sight.file else None
    data: dict[str, Json] = {}
    if seen is not None:
        location = Location(seen.file, seen.line)
        data["statement"] = " ".join(seen.sql.split())
    key = sight.key or (" ".join(seen.sql.split()) if seen is not None else "")
    return Finding(
        rule=rule.id,
        severity=view.severity(rule, sight.severity),
        evidence=Evidence.OBSERVED,
        message=sight.message,
        target=outcome.target,
        object=sight.object,
        location=location,
        data=data,
        fix=Fix("sql", sight.fix, safe=True) if sight.fix else None,
        key=key,
    )


def _counted(findings: Sequence[Finding]) -> list[Finding]:
    """Tell apart findings that would share one identity."""
    counted: dict[str, int] = {}
    made: list[Finding] = []
    for finding in findings:
        number = counted[finding.fingerprint] = counted.get(finding.fingerprint, 0) + 1
        made.append(replace(finding, key=f"{finding.key} #{number}") if number > 1 else finding)
    return made


def _merged(lints: Sequence[Comparison]) -> list[Finding]:
    """Lint's findings of all versions, each once, as observed if any version bore it out."""
    merged: dict[str, Finding] = {}
    for comparison in lints:
        for finding in comparison.findings:
            held = merged.get(finding.fingerprint)
            if held is None or (finding.evidence is Evidence.OBSERVED and held.evidence is not Evidence.OBSERVED):
                merged[finding.fingerprint] = finding
    return list(merged.values())


def _extra(outcomes: Sequence[Outcome], linted: Sequence[lint.Result]) -> dict[str, Json]:
    first: Mapping[str, Json] = linted[0].report.extra if linted else {}
    return {
        "statements": [_statement(o, n) for o in outcomes for n in range(len(o.seen))],
        "rehearsals": [_rehearsal(o) for o in outcomes],
        "migrations": first.get("migrations", []),
        "coverage": first.get("coverage", {}),
    }


def _statement(outcome: Outcome, position: int) -> dict[str, Json]:
    seen = outcome.seen[position]
    names = [*seen.locks]
    row: dict[str, Json] = {
        "target": outcome.target,
        "file": seen.file,
        "line": seen.line,
        "sql": seen.sql,
        "locks": {name: seen.locks[name].words for name in sorted(names)},
        "held_ms": _ms(seen.held),
        "ran_ms": _ms(seen.seconds),
        "rewritten": list(seen.rewritten),
        "scanned": list(seen.scanned),
        "built": list(seen.built),
        "waited_ms": _ms(seen.waited),
        "error": seen.error or None,
        "sqlstate": seen.sqlstate or None,
        "transaction": seen.transaction,
        "in_transaction": not seen.bare,
        "runs": 1 + seen.repeats,
        "caught": seen.caught,
        "unrehearsed": seen.unrehearsed or None,
        "proved": list(seen.proved),
        "stalls": [
            {"relation": s.relation, "probe": s.kind, "ms": _ms(s.seconds)}
            for s in outcome.stalls
            if s.statement == position
        ],
    }
    if outcome.predictions:
        held = predict.held(outcome.seen, outcome.predictions, position)
        row["predicted_ms"] = _interval(outcome.predictions[position])
        row["predicted_held_ms"] = _interval(held) if seen.locks else None
    return row


def _interval(found: predict.Prediction | None) -> Json:
    if found is None:
        return None
    return {"likely": _ms(found.likely), "low": _ms(found.low), "high": _ms(found.high)}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _rehearsal(outcome: Outcome) -> dict[str, Json]:
    return {
        "target": outcome.target,
        "server_version": outcome.version,
        "stopped": {"file": outcome.stop.file, "line": outcome.stop.line, "why": outcome.stop.why}
        if outcome.stop
        else None,
        "seeded": [
            {"table": str(s.table), "rows": s.rows, "wanted": s.wanted, "reason": s.reason or None}
            for s in outcome.sown
        ],
        "unsized": list(outcome.unsized),
        "queries": [
            {
                "version": q.version,
                "file": q.file,
                "line": q.line,
                "sql": q.sql,
                "phases": {
                    p: {"runs": t.runs, "failed": t.failed, "longest_ms": _ms(t.longest), "error": t.error or None}
                    for p, t in q.tallies.items()
                },
            }
            for q in outcome.queries
        ],
        "notes": list(outcome.notes),
    }
