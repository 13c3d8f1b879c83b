"""The index part of `audit` and `index status`: one look at the server, judged by the index rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dbkit.exhibits import Bar, Bars, Exhibit, Table
from dbkit.model import Evidence, Finding, Fix, Json, Location, Passed, Report, Skipped, TargetInfo
from dbkit.policy import Policy
from dbkit.postgres.connect import Connection, require_supported, server
from dbkit.postgres.indexes import snapshot
from dbkit.postgres.indexes.compare import observe
from dbkit.postgres.indexes.desired import Wanted
from dbkit.postgres.indexes.rules import HEALTH_RULES, WANTED_RULES, wanted
from dbkit.postgres.indexes.rules.bloat import BloatLimits, bloated
from dbkit.postgres.indexes.rules.declare import Blind, Remedy, Verdict, comment
from dbkit.postgres.indexes.rules.documented import undocumented
from dbkit.postgres.indexes.rules.scene import Scene
from dbkit.postgres.indexes.rules.usage import documented_unused
from dbkit.postgres.indexes.states import IndexState, State
from dbkit.rules import Rule, Selection
from dbkit.settings import Target
from dbkit.sizes import format_bytes

SHOWN: Final = 15
STATES: Final = "Wanted indexes"
"""The title of the table that `index status` prints."""
WASTE: Final = {
    "pg.index-invalid": "invalid",
    "pg.index-duplicate": "duplicate",
    "pg.index-redundant-prefix": "beginning of another",
    "pg.index-unused": "unused",
    "pg.index-bloated": "empty pages",
}


NEED_COMPARISON: Final = (wanted.missing, wanted.other_definition, wanted.cannot_build)
NEED_WISHES: Final = (*WANTED_RULES, documented_unused, undocumented)


@dataclass(frozen=True, slots=True)
class Judged:
    """A report on one database, with what a fix plan needs: remedies by fingerprint, and the scene."""

    report: Report
    remedies: Mapping[str, Remedy]
    scene: Scene


def audit(
    connection: Connection,
    name: str,
    wishes: Sequence[Wanted],
    policy: Policy,
    selection: Selection,
    replicas: Sequence[Target] = (),
) -> Report:
    """Everything the index rules have to say about one database."""
    return judge(connection, name, wishes, policy, selection, replicas).report


def judge(
    connection: Connection,
    name: str,
    wishes: Sequence[Wanted],
    policy: Policy,
    selection: Selection,
    replicas: Sequence[Target] = (),
    *,
    assumed: bool = False,
) -> Judged:
    """As `audit`, with the remedies. `assumed`: nobody named these wishes, they are those that ship with dbkit."""
    found = server(connection)
    require_supported(found)
    states = observe(connection, found, wishes).states
    strange = _strange(states) if assumed else ""
    states = () if strange else states
    sizes = policy.limits(bloated, BloatLimits) if _wants(bloated, policy, selection) else None
    scene = snapshot.read(connection, found, name, states, snapshot.Asked(replicas, sizes))
    report, remedies = apply_rules(scene, name, policy, selection, strange)
    report = replace(report, targets=(TargetInfo(name, "postgres", found.version_text),))
    return Judged(report, remedies, scene)


def apply_rules(
    scene: Scene, name: str, policy: Policy, selection: Selection, no_wishes: str = ""
) -> tuple[Report, dict[str, Remedy]]:
    """What the selected rules say of a scene, and the remedies by fingerprint. Reads nothing.

    `no_wishes` says why there is no wanted set to hold the database against.
    """
    findings: list[Finding] = []
    passed: list[Passed] = []
    skipped: list[Skipped] = []
    remedies: dict[str, Remedy] = {}
    for rule in (*WANTED_RULES, *HEALTH_RULES):
        if not _wants(rule, policy, selection):
            continue
        if no_wishes and rule in NEED_WISHES:
            skipped.append(Skipped(rule.id, name, no_wishes))
            continue
        said = list(_say(rule, scene, policy))
        for verdict in said:
            if isinstance(verdict, Blind):
                skipped.append(Skipped(rule.id, name, verdict.reason))
                continue
            finding = _finding(rule, verdict, name, policy)
            findings.append(finding)
            if verdict.remedy:
                remedies[finding.fingerprint] = verdict.remedy
        if not said:
            passed.append(Passed(rule.id, name, rule.ok))
    report = Report(
        command="audit",
        findings=tuple(findings),
        passed=tuple(passed),
        skipped=tuple(skipped),
        exhibits=_exhibits(scene, name, findings),
    )
    return report, remedies


def status(report: Report, states: Sequence[IndexState]) -> Report:
    """The same report as `index status` shows it: a row for every wanted index, and what their authors remark."""
    rows = [row(s) for s in states]
    remarks = Table(
        "Where the wanted set departs from its document, and what else its authors remark",
        ("index", "origin", "remark"),
        tuple((s.wanted.name, s.wanted.origin, s.wanted.remark) for s in states if s.wanted.remark),
    )
    table = Table(
        STATES,
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
        exhibits=(table, remarks) if remarks.rows else (table,),
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
        "note": state.wanted.note,
    }


def settled(state: IndexState) -> bool:
    """Whether nothing is left to do for a wanted index."""
    return state.state in (State.OK, State.OTHER_NAME)


def _strange(states: Sequence[IndexState]) -> str:
    """Why the documents that ship with dbkit are not about this database; empty when they may be."""
    tables = {s.wanted.written_table for s in states}
    absent = {s.wanted.written_table for s in states if s.state is State.NO_TABLE}
    if 2 * len(absent) <= len(tables):
        return ""
    return (
        f"{len(absent)} of the {len(tables)} documented tables are not here, so the documents that ship with dbkit are "
        "not about this database: name your own create index files with --file or in `indexes` of the target"
    )


def _wants(rule: Rule[..., Any], policy: Policy, selection: Selection) -> bool:
    return selection.wants(rule, switched_on=policy.switched_on(rule))


def _say(rule: Rule[..., Any], scene: Scene, policy: Policy) -> Iterator[Verdict | Blind]:
    if rule in WANTED_RULES:
        for state in scene.states:
            verdict = rule(state)
            if verdict is not None:
                yield replace(verdict, location=Location(state.wanted.file, state.wanted.line))
        unjudged = [state for state in scene.states if state.state is State.NOT_COMPARED]
        if unjudged and rule in NEED_COMPARISON:
            count = f"{len(unjudged)} of {len(scene.states)} wanted indexes could not be compared"
            yield Blind(f"{count}: {unjudged[0].detail}")
    elif rule.limits is not None:
        yield from rule(scene, policy.limits(rule, rule.limits))
    else:
        yield from rule(scene)


def _finding(rule: Rule[..., Any], verdict: Verdict, target: str, policy: Policy) -> Finding:
    return Finding(
        rule=rule.id,
        severity=policy.severity(rule, verdict.severity),
        evidence=Evidence.OBSERVED,
        message=verdict.message,
        target=target,
        object=verdict.object,
        location=verdict.location,
        data={**verdict.data, **({"hint": verdict.hint} if verdict.hint else {})},
        fix=_fix(verdict),
        key=verdict.key,
    )


def _fix(verdict: Verdict) -> Fix | None:
    if verdict.remedy is None:
        return Fix("sql", verdict.fix, verdict.safe) if verdict.fix else None
    remedy = verdict.remedy
    lines = [comment(remedy.note)] if remedy.note and not remedy.safe else []
    lines.append(f"{remedy.sql};")
    if not remedy.undo.startswith("--"):
        lines.append(comment(f"to undo: {remedy.undo};"))
    return Fix("sql", "\n".join(lines), remedy.safe)


def _exhibits(scene: Scene, name: str, findings: Sequence[Finding]) -> tuple[Exhibit, ...]:
    largest = sorted((i for i in scene.indexes if not i.is_partitioned), key=lambda i: (-i.bytes, i.qualified))[:SHOWN]
    rows = tuple(
        (
            i.qualified,
            i.table,
            i.method,
            format_bytes(i.bytes),
            f"{u.scans:,}",
            f"{u.last:%Y-%m-%d %H:%M}" if u.last else "",
        )
        for i, u in ((i, scene.usage(i)) for i in largest)
    )
    since = f"Scans since {scene.primary.since:%Y-%m-%d %H:%M}" if scene.primary else "Scans are not counted"
    servers = ", ".join(reads.server for reads in scene.replicas)
    total = sum(i.bytes for i in scene.indexes)
    table = Table(
        f"Largest indexes of {name}",
        ("index", "table", "method", "size", "scans", "last scan"),
        rows,
        note=f"{since}{f', {servers} included' if servers else ''}. {len(scene.indexes)} indexes take "
        f"{format_bytes(total)} in all. The time of the last scan is kept by 16 and newer.",
        numeric=frozenset({"size", "scans"}),
    )
    bars = _waste(findings)
    if not rows:
        return ()
    return (table, Bars(f"Room of {name} that could be freed", "MB", bars)) if bars else (table,)


def _waste(findings: Sequence[Finding]) -> tuple[Bar, ...]:
    """Bytes by reason; an index with two reasons counts for the first, so that the bars may be added up."""
    counted: set[str] = set()
    held: dict[str, int] = {}
    for rule_id in WASTE:
        for finding in findings:
            size = finding.data.get("bytes")
            if finding.rule == rule_id and finding.object not in counted and isinstance(size, int):
                counted.add(finding.object)
                held[rule_id] = held.get(rule_id, 0) + size
    return tuple(
        Bar(WASTE[rule_id], size / 2**20, format_bytes(size), "warn") for rule_id, size in held.items() if size
    )
