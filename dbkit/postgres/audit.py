"""`audit` of one PostgreSQL database: every area that has rules, as one report and one fix plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dbkit.model import Finding, Report
from dbkit.plan import Plan
from dbkit.policy import Policy
from dbkit.postgres.connect import connect, server
from dbkit.postgres.indexes import audit as indexes
from dbkit.postgres.indexes import fixes, planning
from dbkit.postgres.indexes.desired import Wanted
from dbkit.rules import Selection
from dbkit.settings import Target


@dataclass(frozen=True, slots=True)
class Question:
    """What is held against what: the wanted indexes, the policy, the rules chosen, and the standbys that count too."""

    policy: Policy
    selection: Selection = field(default_factory=Selection)
    wanted: Sequence[Wanted] = ()
    replicas: Sequence[Target] = ()
    assumed: bool = False
    """Whether nobody named the wanted indexes: they are those that ship with dbkit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The report, and the plan that mends those of its findings that still count."""

    report: Report
    fix: Callable[[Sequence[Finding]], Plan]


def audit(target: Target, question: Question) -> Answer:
    """Look at a database and judge it; changes nothing. Raises Unreachable when it cannot be reached or read."""
    with connect(target, purpose="audit") as connection:
        place = planning.target_of(server(connection), target.name)
        held = indexes.judge(
            connection,
            target.name,
            question.wanted,
            question.policy,
            question.selection,
            question.replicas,
            assumed=question.assumed,
        )
    return Answer(held.report, lambda findings: fixes.plan(findings, held.remedies, place, held.scene.indexes))
