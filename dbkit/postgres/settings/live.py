"""The settings part of `audit`: one look at a server and its other nodes, judged, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dbkit.errors import DbkitError
from dbkit.model import Finding, Report, Skipped
from dbkit.plan import Plan
from dbkit.policy import Policy
from dbkit.postgres.connect import Connection, connect, require_supported, server
from dbkit.postgres.settings import audit, dialects, fixes, observe, steps
from dbkit.postgres.settings.documents import Wanted
from dbkit.postgres.settings.scene import Held, Scene, Size
from dbkit.rules import Selection
from dbkit.settings import Target


@dataclass(frozen=True, slots=True)
class View:
    """What a server's settings are held against: the machine, the wishes, the service, and the other nodes."""

    size: Size
    wanted: Wanted
    managed: str | None = None
    nodes: Sequence[Target] = ()
    upgrade_to: int | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The report on a server's settings, and what mends those of its findings that still count."""

    report: Report
    scene: Scene
    mends: Mapping[str, audit.Mend]

    def script(self, findings: Sequence[Finding]) -> str:
        """A psql script of ALTER SYSTEM statements."""
        return dialects.script(self.scene, fixes.collect(findings, self.mends).changes)

    def commands(self, findings: Sequence[Finding], service: str) -> str:
        """The commands of a managed service."""
        return dialects.commands(self.scene, fixes.collect(findings, self.mends).changes, service)

    def extend(self, plan: Plan, findings: Sequence[Finding]) -> Plan:
        """The plan with the steps that set what is to be set, behind its own."""
        return steps.extend(plan, self.scene, fixes.collect(findings, self.mends).changes)


def judge(connection: Connection, target: Target, view: View, policy: Policy, selection: Selection) -> Judgement:
    """Everything the setting rules have to say about one server. Reads only."""
    found = server(connection)
    require_supported(found)
    others, lost = _others(target, view)
    scene = observe.scene_of(connection, found, target.name, view.size, view.wanted, view.managed)
    judged = audit.judge(replace(scene, others=others, upgrade_to=view.upgrade_to), policy, selection)
    report = replace(
        judged.report,
        skipped=(*judged.report.skipped, *lost),
        extra={"servers": [observe.as_data(scene)]},
    )
    return Judgement(report, scene, judged.mends)


def _others(target: Target, view: View) -> tuple[dict[str, dict[str, Held]], list[Skipped]]:
    """The settings of the other nodes; one that cannot be reached is a skip."""
    found: dict[str, dict[str, Held]] = {}
    lost: list[Skipped] = []
    for node in view.nodes:
        if node.name == target.name:
            continue
        try:
            with connect(node, purpose="audit") as connection:
                there = observe.scene_of(connection, server(connection), node.name, view.size, view.wanted)
        except DbkitError as error:
            reason = f"{node.name} could not be asked: {error.what}"
            lost.append(Skipped("pg.setting-differs-between-nodes", target.name, reason))
        else:
            found[node.name] = dict(there.held)
    return found, lost
