"""Findings that one statement mends, as a Plan of kind `fix`: reviewed, then executed by `dbkit apply`.

Only remedies that stall nobody become steps. The others, which take a lock that does, are listed as problems with their
statement: when to run them is a person's decision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from dbkit.model import Finding
from dbkit.plan import Plan, PlanTarget, Problem, Step
from dbkit.postgres.catalog import Index
from dbkit.postgres.indexes.rules.declare import Remedy

KIND = "fix"


def plan(
    findings: Sequence[Finding], remedies: Mapping[str, Remedy], target: PlanTarget, indexes: Sequence[Index]
) -> Plan:
    """The plan for the findings that count (suppressed ones are left alone); `remedies` is by fingerprint."""
    there = {index.qualified: index for index in indexes}
    chosen: dict[str, tuple[Finding, Remedy]] = {}
    for finding in findings:
        remedy = remedies.get(finding.fingerprint)
        if remedy is not None and finding.suppression is None:
            chosen.setdefault(_subject(remedy), (finding, remedy))
    safe = [(f, r) for f, r in chosen.values() if r.safe]
    # What is built goes before what is dropped: there is no moment in which less is served than before or after.
    ordered = sorted(safe, key=lambda held: (held[1].action != "create-index", held[1].table, held[1].object))
    return Plan(
        kind=KIND,
        target=target,
        steps=tuple(_step(n, f, r, there.get(r.object)) for n, (f, r) in enumerate(ordered, start=1)),
        problems=tuple(_problem(f, r) for f, r in chosen.values() if not r.safe),
    )


def fingerprint(index: Index | None) -> str:
    """What a step was made from: a changed definition, validity or identity makes it stale; None is no such index."""
    if index is None:
        return "absent"
    parts = (index.qualified, str(index.oid), index.definition, str(index.is_valid), str(index.is_live))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _subject(remedy: Remedy) -> str:
    """Two findings about one object want one step; two new indexes are the same when their columns are."""
    return remedy.sql.partition(" on ")[2] if remedy.action == "create-index" else remedy.object


def _step(number: int, finding: Finding, remedy: Remedy, index: Index | None) -> Step:
    return Step(
        id=str(number),
        action=remedy.action,
        object=remedy.object,
        sql=remedy.sql,
        lock=remedy.lock,
        blocks=remedy.blocks,
        undo=remedy.undo,
        check=remedy.check,
        table=remedy.table,
        note=f"{finding.rule}: {finding.message}",
        before=fingerprint(index),
        data={"rule": finding.rule, "oid": index.oid if index else None, "bytes": index.bytes if index else 0},
    )


def _problem(finding: Finding, remedy: Remedy) -> Problem:
    return Problem(
        object=remedy.object,
        rule=finding.rule,
        message=f"{finding.message}. The statement takes {remedy.lock}",
        hint=f"{remedy.sql}; ({remedy.note})" if remedy.note else remedy.sql,
    )
