"""The report of a rehearsal: findings with their places, the statements as JSON, and what the page shows beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from dbkit.exhibits import Exhibit, Lane, Span, Table, Text, Timeline, Tone
from dbkit.model import Evidence, Finding, Fix, Json, Location, Passed, Report, Severity, Skipped, TargetInfo
from dbkit.postgres.migrate import lint
from dbkit.postgres.migrate.locks import Mode
from dbkit.postgres.migrate.rehearse import predict
from dbkit.postgres.migrate.rehearse.compare import Comparison, compare
from dbkit.postgres.migrate.rehearse.observed import Observation
from dbkit.postgres.migrate.rehearse.rehearsal import Outcome
from dbkit.postgres.migrate.rehearse.rules import REHEARSAL_RULES, RehearsalRule, Scene, Sight, interval
from dbkit.postgres.migrate.rules import MigrationRule
from dbkit.rules import Selection
from dbkit.sizes import format_seconds

COMMAND: Final = "migrate rehearse"
SHOWN_SQL: Final = 72


@dataclass(slots=True)
class View:
    """What decides which findings are shown, and how severe they are."""

    selection: Selection
    switched_on: lint.Callable[[MigrationRule | RehearsalRule], bool | None]
    severity: lint.Callable[[MigrationRule | RehearsalRule, Severity | None], Severity]
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
            reason = _not_looked(rule, scene)
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
        exhibits=tuple(e for o in outcomes for e in _exhibits(o, several=len(outcomes) > 1)),
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


def _not_looked(rule: RehearsalRule, scene: Scene) -> str:
    if rule.id == "migrate.application-query-fails" and not scene.outcome.queries:
        return "no queries were given: --app-sql, --app-sql-new"
    if rule.id == "migrate.stall-over-budget" and scene.max_stall is None:
        return "no budget was given: --max-stall 250ms"
    if rule.id == "migrate.versions-differ" and not scene.others:
        return "only compared with the versions before it: --pg 15,18"
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
    first = linted[0].report.extra if linted else {}
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


def _exhibits(outcome: Outcome, *, several: bool) -> list[Exhibit]:
    on = f" on PostgreSQL {outcome.version}"
    made: list[Exhibit] = [_statements(outcome, on)]
    if outcome.holds:
        made.append(_timeline(outcome, on))
    if outcome.queries:
        made.append(_queries(outcome, on))
    short = [s for s in outcome.sown if s.rows < s.wanted]
    rows = [(str(s.table), f"{s.rows:,}", f"{s.wanted:,}", s.reason) for s in (short or outcome.sown)]
    if rows and not several or short:
        title = f"Tables with fewer rows than wanted{on}" if short else f"Seeded rows{on}"
        made.append(Table(title, ("table", "rows", "wanted", "why"), tuple(rows), numeric=frozenset(("rows", "wanted"))))
    if outcome.notes or outcome.unsized:
        sentences = [*outcome.notes]
        if outcome.unsized:
            sentences.append(f"the statistics know no size of {', '.join(outcome.unsized)}")
        made.append(Text(f"Notes{on}", ". ".join(s[:1].upper() + s[1:] for s in sentences) + "."))
    return made


def _statements(outcome: Outcome, on: str) -> Table:
    predicted = bool(outcome.predictions)
    columns = ("at", "statement", "lock", "held", "does", *(("at production size",) if predicted else ()))
    rows = [
        (
            f"{s.file}:{s.line}",
            _short(s.sql),
            _locks(s, outcome),
            format_seconds(s.held) if s.locks else "",
            _does(s),
            *((_predicted(outcome, n),) if predicted else ()),
        )
        for n, s in enumerate(outcome.seen)
    ]
    note = "Locks are held to the end of the transaction. "
    if predicted:
        note += (
            "Predictions rest on times measured in this run, on this machine, with the tables in memory; a cold table"
            " takes what its storage takes."
        )
    return Table(
        f"Statements{on}", columns, tuple(rows), note=note.strip(), numeric=frozenset(("held",)), headline=True
    )


def _short(sql: str) -> str:
    flat = " ".join(sql.split())
    return flat if len(flat) <= SHOWN_SQL else f"{flat[: SHOWN_SQL - 3]}..."


def _locks(seen: Observation, outcome: Outcome) -> str:
    """Table locks, the strongest first; those on indexes are in the JSON."""
    shown = [
        (name, mode)
        for name, mode in sorted(seen.locks.items(), key=lambda x: (-x[1], x[0]))
        if name not in outcome.before or not outcome.before[name].is_index
    ]
    by_mode: dict[Mode, list[str]] = {}
    for name, mode in shown:
        by_mode.setdefault(mode, []).append(name)
    return "; ".join(f"{mode.words} on {', '.join(names)}" for mode, names in by_mode.items()) or "none"


def _does(seen: Observation) -> str:
    if seen.error:
        return f"FAILS: {seen.error}"
    parts = [f"rewrites {', '.join(seen.rewritten)}"] if seen.rewritten else []
    parts += [f"reads {', '.join(seen.scanned)}"] if seen.scanned else []
    made = [b for b in seen.built if b not in seen.rewritten]
    parts += [f"builds {', '.join(made)}"] if made else []
    if seen.proved and not seen.scanned:
        parts.append("checks nothing: proved by constraints")
    if seen.waited >= 0.005:
        parts.append(f"waited {format_seconds(seen.waited)}")
    return "; ".join(parts) or "brief"


def _predicted(outcome: Outcome, position: int) -> str:
    seen = outcome.seen[position]
    if seen.error:
        return ""
    own = outcome.predictions[position]
    if own is None:
        return "size not known"
    words = interval(own) if seen.work or seen.tables else "as here"
    held = predict.held(outcome.seen, outcome.predictions, position)
    if held is not None and seen.locks and held.likely > own.likely * 1.5 and held.likely - own.likely > 0.01:
        words += f"; lock held {format_seconds(held.likely)}"
    return words


_TONES: Final[dict[Mode, Tone]] = {Mode.ACCESS_EXCLUSIVE: "bad", Mode.EXCLUSIVE: "warn", Mode.SHARE_ROW_EXCLUSIVE: "warn",
                                   Mode.SHARE: "warn"}  # fmt: skip


def _timeline(outcome: Outcome, on: str) -> Timeline:
    """One lane a relation, coloured by what its lock keeps out; below them the probes that had to wait."""
    start = min((s.start for s in outcome.seen), default=0.0)
    lanes: list[Lane] = []
    tables = [h.relation for h in sorted(outcome.holds, key=lambda h: (-h.mode, h.start))]
    for relation in dict.fromkeys(tables):
        if relation in outcome.before and outcome.before[relation].is_index:
            continue
        spans = tuple(
            Span(
                max(h.start - start, 0.0),
                h.end - start,
                f"{h.mode.words} {_taken_at(outcome, h.statement)}",
                _TONES.get(h.mode, "neutral" if h.mode < Mode.SHARE_UPDATE_EXCLUSIVE else "good"),
            )
            for h in sorted(outcome.holds, key=lambda h: h.start)
            if h.relation == relation
        )
        lanes.append(Lane(relation, spans))
    for stall in outcome.stalls:
        span = Span(
            max(stall.start - start, 0.0), stall.start + stall.seconds - start, f"{stall.kind} waits", "bad"
        )
        lanes.append(Lane(f"{stall.kind} of {stall.relation} waits", (span,)))
    note = (
        "Red keeps readers and writers out, amber writers, green only other schema changes and VACUUM. The bars below"
        " the relations are the longest waits of a probing reader and writer on each table."
    )
    if not outcome.stalls:
        note = note.partition(" The bars")[0] + " No probing reader or writer had to wait."
    return Timeline(f"Locks{on}", tuple(lanes), note=note)


def _taken_at(outcome: Outcome, position: int) -> str:
    if not 0 <= position < len(outcome.seen):
        return ""
    seen = outcome.seen[position]
    return f"by {seen.file}:{seen.line} {_short(seen.sql)}"


def _queries(outcome: Outcome, on: str) -> Table:
    rows = [
        (
            q.version,
            _short(q.sql),
            *(f"{t.runs} runs, {t.failed} failed, longest {format_seconds(t.longest)}" for t in q.tallies.values()),
            next((t.error for t in q.tallies.values() if t.error), ""),
        )
        for q in outcome.queries
    ]
    return Table(
        f"Application queries{on}",
        ("version", "query", "before", "during", "after", "first error"),
        tuple(rows),
        headline=True,
    )
