"""`audit` of one PostgreSQL database: every area that has rules, as one report and one fix plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dbkit.capacity import PoolShare
from dbkit.model import Finding, Report, TargetInfo, merge
from dbkit.plan import Plan
from dbkit.policy import Policy
from dbkit.postgres.connect import connect, server
from dbkit.postgres.indexes import audit as indexes
from dbkit.postgres.indexes import fixes, planning
from dbkit.postgres.indexes.desired import Wanted
from dbkit.postgres.indexes.rules import INDEX_RULES
from dbkit.postgres.settings import documents, live
from dbkit.postgres.settings.drift import Baseline
from dbkit.postgres.settings.rules import SETTING_RULES
from dbkit.postgres.settings.scene import Size
from dbkit.rules import Rule, Selection
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
    size: Size = field(default_factory=Size)
    """The server's machine, as the target's configuration or the flags say."""
    settings: documents.Wanted | None = None
    """The wanted settings; None is those that ship with dbkit."""
    managed: str | None = None
    """The service that runs it (aws, azure, gcp), when it does not show by itself."""
    peers: Sequence[Target] = ()
    """Other targets of the run, whose settings should be the same."""
    upgrade_to: int | None = None
    """The major version an upgrade is planned to."""
    baseline: Baseline | None = None
    """An earlier report, for what has changed since."""
    pools: PoolShare | None = None
    """What the pools of the same run may open on the server."""

    def view(self) -> live.View:
        """What the settings are held against."""
        nodes = (*self.replicas, *self.peers)
        wanted = self.settings or documents.load()
        return live.View(self.size, wanted, self.managed, nodes, self.upgrade_to, self.baseline, self.pools)


@dataclass(frozen=True, slots=True)
class Answer:
    """The report, and the plan that mends those of its findings that still count."""

    report: Report
    fix: Callable[[Sequence[Finding]], Plan]
    settings: live.Judgement | None
    """None when no setting rule was chosen."""


def audit(target: Target, question: Question) -> Answer:
    """Look at a database and judge it; changes nothing. Raises Unreachable when it cannot be reached or read."""
    with connect(target, purpose="audit") as connection:
        found = server(connection)
        place = planning.target_of(found, target.name)
        info = TargetInfo(target.name, "postgres", found.version_text)
        reports = [Report("audit", targets=(info,))]
        settings = held = None
        if _wants(SETTING_RULES, question):
            settings = live.judge(connection, target, question.view(), question.policy, question.selection)
            reports.append(settings.report)
        if _wants(INDEX_RULES, question):
            held = indexes.judge(
                connection,
                target.name,
                question.wanted,
                question.policy,
                question.selection,
                question.replicas,
                assumed=question.assumed,
            )
            reports.append(replace(held.report, targets=()))

    def fix(findings: Sequence[Finding]) -> Plan:
        made = fixes.plan(findings, held.remedies, place, held.scene.indexes) if held else None
        made = made or Plan(kind=fixes.KIND, target=place)
        return settings.extend(made, findings) if settings else made

    return Answer(merge("audit", reports), fix, settings)


def _wants(rules: Iterable[Rule[..., Any]], question: Question) -> bool:
    """Whether any rule of a part is chosen: a part of which none is, is not even read."""
    return any(question.selection.wants(rule, switched_on=question.policy.switched_on(rule)) for rule in rules)
