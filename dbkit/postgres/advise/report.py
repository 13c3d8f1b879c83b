"""The answer as a Report, as a Plan of the same kind as `index plan` makes, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dbkit.exhibits import Bar, Bars, Exhibit, Table, Text
from dbkit.model import Evidence, Finding, Fix, Json, Passed, Report, Skipped, TargetInfo
from dbkit.plan import Plan, Problem, Step
from dbkit.policy import Policy
from dbkit.postgres.advise.advice import Outcome, Proposal
from dbkit.postgres.advise.advise import LABEL, Answer
from dbkit.postgres.advise.rules import advised
from dbkit.postgres.indexes import planning
from dbkit.postgres.indexes.rules.declare import Verdict, comment
from dbkit.sizes import format_bytes, format_seconds

NOTED: Final = 0.95
SHOWN: Final = 200
"""Characters of a statement in a table."""


def report(answer: Answer, policy: Policy) -> Report:
    """Findings, what was looked at, and the tables before and after."""
    name = answer.target.name
    findings = tuple(_finding(v, name, policy) for v in advised(answer.proposals))
    passed = () if findings else (Passed(advised.id, name, f"{advised.ok}: {_coverage_words(answer)}"),)
    return Report(
        command=LABEL,
        targets=(TargetInfo(name, "postgres", answer.facts.server.version_text),),
        findings=findings,
        passed=passed,
        skipped=tuple(Skipped(advised.id, name, reason) for reason in _skips(answer)),
        extra=_data(answer),
        exhibits=tuple(_exhibits(answer)),
    )


def plan(answer: Answer) -> Plan:
    """What `dbkit apply` carries out: the proposals, built concurrently and verified, partition by partition."""
    target = planning.target_of(answer.facts.server, answer.target.name)
    made = planning.plan(answer.observed, answer.target.name) if answer.observed else Plan(kind="index", target=target)
    problems = [*made.problems]
    for proposal in answer.proposals:
        if proposal.invalid is not None:
            problems.append(
                Problem(
                    object=proposal.qualified,
                    rule="pg.index-invalid",
                    message="it is INVALID and has the definition that is advised",
                    hint=f"reindex index concurrently {proposal.qualified}",
                )
            )
        elif answer.observed is None:
            problems.append(
                Problem(
                    object=proposal.qualified,
                    rule=advised.id,
                    message="it could not be compared with what is there, so it is no step of a plan",
                    hint=f"connect to the primary with a role that may make temporary tables, or: {proposal.statement}",
                )
            )
    notes = {p.name: p for p in answer.proposals}
    steps = tuple(_explained(s, notes) for s in made.steps)
    return made.model_copy(update={"steps": steps, "problems": tuple(problems)})


def _explained(step: Step, notes: dict[str, Proposal]) -> Step:
    proposal = notes.get(str(step.data.get("index", "")))
    if proposal is None or not step.action.startswith("create"):
        return step
    said = f"serves {proposal.count}, cost {proposal.before:,.0f} to {proposal.after:,.0f}"
    return step.model_copy(update={"note": "; ".join(filter(None, (step.note, said)))})


def _finding(verdict: Verdict, name: str, policy: Policy) -> Finding:
    remedy = verdict.remedy
    fix = Fix("sql", verdict.fix) if verdict.fix else None
    if remedy is not None:
        lines = [f"{remedy.sql};"]
        if not remedy.undo.startswith("--"):
            lines.append(comment(f"to undo: {remedy.undo};"))
        fix = Fix("sql", "\n".join(lines), remedy.safe)
    return Finding(
        rule=advised.id,
        severity=policy.severity(advised, verdict.severity),
        evidence=Evidence.OBSERVED,
        message=verdict.message,
        target=name,
        object=verdict.object,
        location=verdict.location,
        data=verdict.data,
        fix=fix,
        key=verdict.key,
    )


def _skips(answer: Answer) -> Iterator[str]:
    for unread in (*answer.work.unread, *answer.unplanned):
        yield f"{unread.where} is not analysed: {unread.reason} ({_short(unread.text, 80)})"
    if answer.work.hidden:
        user = answer.facts.server.user
        yield (
            f"{answer.work.hidden} statements of other roles ({answer.work.hidden_ms:,.0f} ms) are hidden: "
            f"grant pg_read_all_stats to {user}"
        )
    for lack in answer.lacks:
        yield f"{lack.table.qualified}: {lack.reason}"
    for candidate, reason in answer.untried:
        yield f"an index on {candidate.table.qualified} {candidate.words()} was not tried: {reason}"
    for rejected in answer.too_dear:
        words = f"{rejected.candidate.table.qualified} {rejected.candidate.words()}"
        yield f"an index on {words} is not advised: {rejected.reason}"


def _coverage(answer: Answer) -> dict[str, Json]:
    analysed = len(answer.queries)
    every = analysed + len(answer.unplanned) + len(answer.work.unread)
    measured = [q.statement.total_ms for q in answer.queries if q.statement.total_ms is not None]
    total = answer.work.total_ms
    return {
        "statements": every,
        "analysed": analysed,
        "share": round(analysed / every, 4) if every else 0.0,
        "time_share": round(sum(measured) / total, 4) if total else None,
        "hidden": answer.work.hidden,
        "left_out": answer.work.rest,
    }


def _coverage_words(answer: Answer) -> str:
    held = _coverage(answer)
    share = held["time_share"]
    time = f", {share:.0%} of the database's measured time" if isinstance(share, float) else ""
    return f"{held['analysed']} of {held['statements']} statements analysed{time}"


def _data(answer: Answer) -> dict[str, Json]:
    return {
        "source": answer.work.source,
        "tried_with": answer.tried,
        "coverage": _coverage(answer),
        "statements": [_statement(o) for o in answer.outcomes],
        "proposals": [dict(p.data()) for p in answer.proposals],
        "notes": list(answer.notes),
    }


def _statement(outcome: Outcome) -> dict[str, Json]:
    statement = outcome.query.statement
    return {
        "fingerprint": statement.fingerprint,
        "text": statement.text,
        "file": statement.file or None,
        "line": statement.line,
        "calls": statement.calls,
        "total_ms": statement.total_ms,
        "cost_before": outcome.query.before.cost,
        "cost_after": outcome.after.cost,
        "plan_before": list(outcome.query.before.steps()),
        "plan_after": list(outcome.steps),
        "indexes": list(outcome.indexes),
    }


def _exhibits(answer: Answer) -> Iterator[Exhibit]:
    helped = [o for o in answer.outcomes if o.indexes and o.after.cost < NOTED * o.query.before.cost]
    if answer.proposals:
        yield _proposed(answer)
    if helped:
        yield _before_after(helped)
        bars = [(o, o.query.before.cost - o.after.cost) for o in helped]
        top = sorted(bars, key=lambda held: -held[1])[:10]
        yield Bars(
            "Planner's cost of the statements helped most",
            "cost",
            tuple(
                bar
                for o, _ in top
                for bar in (
                    _bar(o, "before", o.query.before.cost),
                    _bar(o, "after", o.after.cost),
                )
            ),
        )
        yield _changes(helped)
    notes = [f"{_coverage_words(answer)}. Source: {answer.work.source}. Tried with {answer.tried}."]
    if answer.work.seconds:
        notes.append(f"Statements are counted since {format_seconds(answer.work.seconds)}.")
    notes.append("Costs are the planner's, for generic plans; no statement was executed.")
    notes += [f"{note[0].upper()}{note[1:]}." for note in answer.notes]
    yield Text("How this was found", " ".join(notes))


def _bar(outcome: Outcome, when: str, cost: float) -> Bar:
    label = f"{_short(outcome.query.statement.text, 50)}: {when}"
    return Bar(label, cost, f"{cost:,.0f}", "warn" if when == "before" else "good")


def _proposed(answer: Answer) -> Table:
    return Table(
        "Advised indexes",
        ("index", "on", "statements", "share of workload", "size", "new entries/s", "makes redundant"),
        tuple(
            (
                p.name,
                f"{p.candidate.table.qualified} {p.candidate.words()}",
                str(len(p.helped)),
                f"{p.saved:.1%}",
                format_bytes(p.bytes),
                f"{p.writes.entries:,.1f}",
                ", ".join(i.name for i in p.redundant),
            )
            for p in answer.proposals
        ),
        numeric=frozenset({"statements", "share of workload", "size", "new entries/s"}),
    )


def _before_after(helped: list[Outcome]) -> Table:
    return Table(
        "Cost before and after",
        ("statement", "calls", "ms", "before", "after", "falls by", "with"),
        tuple(
            (
                _short(o.query.statement.text, SHOWN),
                f"{o.query.statement.calls:,}",
                f"{o.query.statement.total_ms:,.0f}" if o.query.statement.total_ms is not None else "",
                f"{o.query.before.cost:,.1f}",
                f"{o.after.cost:,.1f}",
                f"{1 - o.after.cost / o.query.before.cost:.1%}",
                ", ".join(o.indexes),
            )
            for o in helped
        ),
        note="Costs are in the planner's unit: one page read in order.",
        numeric=frozenset({"calls", "ms", "before", "after", "falls by"}),
    )


def _changes(helped: list[Outcome]) -> Table:
    rows: list[tuple[str, ...]] = []
    for outcome in helped:
        before, after = outcome.query.before.steps(), outcome.steps
        rows.append(
            (
                _short(outcome.query.statement.text, 80),
                "; ".join(s for s in before if s not in after),
                "; ".join(s for s in after if s not in before),
            )
        )
    return Table("What changes in the plans", ("statement", "goes", "comes"), tuple(rows))


def _short(text: str, size: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= size else f"{flat[: size - 3]}..."
