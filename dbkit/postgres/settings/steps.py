"""Settings as steps of a plan: ALTER SYSTEM for each, then one reload; checked before, verified after, undone.

A step is stale when the setting is neither what it was when the plan was made nor what it is to become.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dbkit.plan import Plan, Problem, Step
from dbkit.postgres.settings import dialects
from dbkit.postgres.settings.rules.declare import Change
from dbkit.postgres.settings.scene import Scene

ALTER: Final = "alter-system"
RELOAD: Final = "reload-settings"
ACTIONS: Final = frozenset({ALTER, RELOAD})
RELOAD_SQL: Final = "select pg_catalog.pg_reload_conf()"
NO_LOCK: Final = "none"
GROUP: Final = "settings"
"""Stands where other steps name their table: settings are changed in order."""


def extend(plan: Plan, scene: Scene, changes: Sequence[Change]) -> Plan:
    """The plan, with a step for each change behind its own, and the reload that brings them into force."""
    if not changes:
        return plan
    if scene.managed is not None:
        hint = "write --fix FILE.sh for the service's own commands"
        told = [
            Problem(object=c.name, rule="pg.setting-off-policy", message="ALTER SYSTEM is not permitted on a managed "
                    f"server ({scene.managed})", hint=hint)
            for c in changes
        ]  # fmt: skip
        return plan.model_copy(update={"problems": (*plan.problems, *told)})
    number = len(plan.steps)
    steps = list(plan.steps)
    problems = list(plan.problems)
    restart: list[str] = []
    for change in sorted(changes, key=lambda c: (dialects.needs_restart(scene, c.name), c.name)):
        held = scene.held.get(change.name.lower())
        if held is not None and held.source in ("command line", "environment variable"):
            problems.append(
                Problem(
                    object=change.name,
                    rule="pg.setting-off-policy",
                    message=f"{change.name} is given on the server's {held.source}, which beats ALTER SYSTEM",
                    hint="change how the server is started",
                )
            )
            continue
        number += 1
        waits = dialects.needs_restart(scene, change.name)
        if waits:
            restart.append(change.name)
        steps.append(
            Step(
                id=str(number),
                action=ALTER,
                object=change.name,
                sql=dialects.statement(scene.major, change),
                table=GROUP,
                lock=NO_LOCK,
                blocks="nobody",
                undo=_undo(scene, change),
                check="in force after the restart" if waits else "in force after the reload",
                note=_note(scene, change, waits=waits),
                before=held.value if held else "",
                data={"setting": change.name, "value": change.value, "restart": waits},
            )
        )
    if number > len(plan.steps):
        waiting = f"; {', '.join(restart)} wait for a restart" if restart else ""
        steps.append(
            Step(
                id=str(number + 1),
                action=RELOAD,
                object="configuration",
                sql=RELOAD_SQL,
                table=GROUP,
                lock=NO_LOCK,
                blocks="nobody",
                undo="-- after the statements above: select pg_reload_conf()",
                check=f"each setting has its new value{waiting}",
                note=f"brings the settings into force{waiting}",
                data={
                    "settings": [s.data for s in steps if s.action == ALTER],
                    "restart": restart,
                },
            )
        )
    return plan.model_copy(update={"steps": tuple(steps), "problems": tuple(problems)})


def _undo(scene: Scene, change: Change) -> str:
    """Back to what ALTER SYSTEM had set before; where it had set nothing, RESET."""
    held = scene.held.get(change.name.lower())
    before = held.value if held is not None and (held.file or "").endswith("postgresql.auto.conf") else None
    return dialects.statement(scene.major, Change(change.name, before))


def _note(scene: Scene, change: Change, *, waits: bool) -> str:
    held = scene.held.get(change.name.lower())
    was = held.shown if held else "not visible"
    shadowed = held is not None and held.file is not None and not held.file.endswith("postgresql.auto.conf")
    shadow = f"; the line {held.file}:{held.line} no longer counts" if held and shadowed else ""
    return f"was {was or 'empty'}{shadow}{'; needs a restart' if waits else ''}"
