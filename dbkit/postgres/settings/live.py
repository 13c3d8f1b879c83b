"""The settings part of `audit`: one look at a server and its other nodes, judged, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dbkit.capacity import PoolShare
from dbkit.errors import DbkitError
from dbkit.model import Finding, Report, Skipped
from dbkit.plan import Plan
from dbkit.policy import Policy
from dbkit.postgres.conf import parameters
from dbkit.postgres.connect import Connection, connect, require_supported, server
from dbkit.postgres.settings import audit, dialects, fixes, observe, steps
from dbkit.postgres.settings.documents import Wanted
from dbkit.postgres.settings.drift import Baseline
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
    baseline: Baseline | None = None
    pools: PoolShare | None = None


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
    earlier = view.baseline.of_server(scene.name) if view.baseline else None
    scene = replace(scene, others=others, upgrade_to=view.upgrade_to, earlier=earlier, pools=view.pools)
    judged = audit.judge(scene, policy, selection)
    report = replace(
        judged.report,
        skipped=(*judged.report.skipped, *lost),
        extra={"servers": [observe.as_data(scene)]},
    )
    return Judgement(report, scene, judged.mends)


def _others(target: Target, view: View) -> tuple[dict[str, Mapping[str, Held]], list[Skipped]]:
    """The settings of the other nodes; one that cannot be reached is a skip."""
    found: dict[str, Mapping[str, Held]] = {}
    lost: list[Skipped] = []
    for node in view.nodes:
        if node.name == target.name:
            continue
        try:
            _, found[node.name] = settings_of(node)
        except DbkitError as error:
            reason = f"{node.name} could not be asked: {error.what}"
            lost.append(Skipped("pg.setting-differs-between-nodes", target.name, reason))
            lost.append(Skipped("pg.standby-below-primary", target.name, reason))
    return found, lost


def settings_of(target: Target) -> tuple[int, Mapping[str, Held]]:
    """The major version and the settings of one server and nothing else. Raises Unreachable."""
    with connect(target, purpose="audit") as connection:
        found = server(connection)
        return min(found.major, parameters.VERSIONS[-1]), observe.settings_of(connection, found)
