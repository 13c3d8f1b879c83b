"""The index part of `audit` and `index status`: one look at the server, judged by the index rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dbkit import assets
from dbkit.exhibits import Table
from dbkit.model import Evidence, Finding, Fix, Json, Location, Passed, Report, Skipped, TargetInfo
from dbkit.policy import Policy
from dbkit.postgres import catalog
from dbkit.postgres.connect import Connection, fetch, require_supported, server
from dbkit.postgres.indexes.compare import IndexState, Observed, State, observe
from dbkit.postgres.indexes.desired import Wanted
from dbkit.postgres.indexes.rules import health, wanted
from dbkit.postgres.indexes.rules.declare import Verdict
from dbkit.postgres.indexes.rules.health import Scene, UnusedLimits
from dbkit.rules import Rule, Selection


def audit(connection: Connection, name: str, wishes: Sequence[Wanted], policy: Policy, selection: Selection) -> Report:
    """Everything the index rules have to say about one database."""
    found = server(connection)
    require_supported(found)
    observed = observe(connection, found, wishes)
    scene = Scene(
        indexes=observed.indexes,
        foreign_keys=catalog.foreign_keys(connection),
        builds=observed.builds,
        states=observed.states,
        stats_since=fetch(connection, assets.query("postgres/stats_since"))[0]["stats_reset"],
        sees_builds=found.reads_all_stats or not any(b.table_oid is None for b in observed.builds),
    )
    findings: list[Finding] = []
    passed: list[Passed] = []
    skipped: list[Skipped] = []
    for rule, verdicts in _verdicts(scene, policy):
        if not selection.wants(rule, switched_on=policy.switched_on(rule)):
            continue
        held = [_finding(rule, v, place, name, policy) for v, place in verdicts]
        findings += held
        blind = rule.id in ("pg.index-invalid", "pg.index-building") and not scene.sees_builds
        if blind:
            reason = f"other roles' builds are hidden: grant pg_read_all_stats to {catalog.quote(found.user)}"
            skipped.append(Skipped(rule.id, name, reason))
        elif not held:
            passed.append(Passed(rule.id, name, rule.ok))
    return Report(
        command="audit",
        targets=(TargetInfo(name, "postgres", found.version_text),),
        findings=tuple(findings),
        passed=tuple(passed),
        skipped=tuple(skipped),
        exhibits=(_largest(observed),),
    )


def status(report: Report, observed_states: Iterable[IndexState]) -> Report:
    """The same report as `index status` shows it: with a row for every wanted index."""
    rows = [row(s) for s in observed_states]
    table = Table(
        "Wanted indexes",
        ("index", "table", "state"),
        tuple((str(r["name"]), str(r["table"]), str(r["state"])) for r in rows),
    )
    return Report(
        command="index status",
        targets=report.targets,
        findings=report.findings,
        passed=report.passed,
        skipped=report.skipped,
        extra={"indexes": rows},
        exhibits=(table,),
    )


def row(state: IndexState) -> dict[str, Json]:
    """One wanted index as `index status --format json` lists it."""
    held = state.actual or state.equal
    return {
        "name": state.wanted.name,
        "table": state.table.qualified if state.table else state.wanted.written_table,
        "state": state.state.value,
        "valid": held.is_valid if held else False,
        "definition": held.definition if held else None,
        "origin": state.wanted.origin,
        "deviates": state.wanted.deviates,
    }


def _verdicts(scene: Scene, policy: Policy) -> Iterable[tuple[Rule[..., Any], list[tuple[Verdict, Location | None]]]]:
    for rule in wanted.RULES:
        found = [(s, rule(s)) for s in scene.states]
        yield rule, [(v, Location(s.wanted.file, s.wanted.line)) for s, v in found if v is not None]
    for scene_rule in health.SCENE_RULES:
        yield scene_rule, [(v, None) for v in scene_rule(scene)]
    for limited in health.LIMIT_RULES:
        yield limited, [(v, None) for v in limited(scene, policy.limits(limited, UnusedLimits))]


def _finding(rule: Rule[..., Any], verdict: Verdict, place: Location | None, target: str, policy: Policy) -> Finding:
    return Finding(
        rule=rule.id,
        severity=policy.severity(rule),
        evidence=Evidence.OBSERVED,
        message=verdict.message,
        target=target,
        object=verdict.object,
        location=place,
        data={"hint": verdict.hint} if verdict.hint else {},
        fix=Fix("sql", verdict.fix, verdict.safe) if verdict.fix else None,
    )


def _largest(observed: Observed) -> Table:
    largest = sorted(observed.indexes, key=lambda i: -i.bytes)[:15]
    rows = tuple((i.qualified, i.table, f"{i.bytes / 2**20:,.1f}", f"{i.scans:,}") for i in largest)
    return Table("Largest indexes", ("index", "table", "MB", "scans"), rows, numeric=frozenset({"MB", "scans"}))


def settled(state: IndexState) -> bool:
    """Whether nothing is left to do for a wanted index."""
    return state.state in (State.OK, State.OTHER_NAME)
