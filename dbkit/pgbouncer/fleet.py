"""Several poolers of one run held against each other, as one more report."""

from __future__ import annotations

from collections.abc import Sequence

from dbkit.model import Finding, Passed, Report
from dbkit.pgbouncer.audit import Question, finding, runs
from dbkit.pgbouncer.exhibits import fleet_bars
from dbkit.pgbouncer.rules import FLEET_RULES
from dbkit.pgbouncer.rules.declare import Verdict
from dbkit.pgbouncer.rules.fleet import Member


def judge(members: Sequence[Member], question: Question) -> Report:
    """The rules about several poolers; findings stand under the first of them. Files that do not load are left out."""
    held = [m for m in members if m.scene.live is not None or m.scene.ini is None or m.scene.ini.loads]
    findings: list[Finding] = []
    passed: list[Passed] = []
    for rule in FLEET_RULES if len(held) > 1 else ():
        if not question.selection.wants(rule, switched_on=question.policy.switched_on(rule)):
            continue
        found = [v for v in runs(rule, held, question.policy) if isinstance(v, Verdict)]
        findings += [finding(rule, verdict, held[0].name, question.policy) for verdict in found]
        if not found:
            passed.append(Passed(rule.id, held[0].name, rule.ok))
    return Report(
        command="audit",
        targets=(),
        findings=tuple(findings),
        passed=tuple(passed),
        exhibits=tuple(fleet_bars([(m.name, m.scene) for m in held])) if len(held) > 1 else (),
    )
