"""Carries out the settings steps of a plan: ALTER SYSTEM, reload, and a look whether each value is in force.

The statement is made again from the step's data and must be the one that was reviewed; nothing else is run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from dbkit import assets
from dbkit.errors import Broken, Refused, Unreachable, UsageError
from dbkit.plan import Step
from dbkit.postgres.catalog import quote
from dbkit.postgres.conf import parameters
from dbkit.postgres.connect import Connection, Server, connect, fetch
from dbkit.postgres.indexes.build import Builder
from dbkit.postgres.indexes.outcome import Outcome
from dbkit.postgres.settings import dialects
from dbkit.postgres.settings.rules.declare import Change
from dbkit.postgres.settings.steps import ALTER, RELOAD_SQL
from dbkit.settings import Target

PATIENCE: Final = 15.0
"""Seconds in which the postmaster and this session must have read the files again."""


def check(connection: Connection, found: Server, step: Step) -> None:
    """Raise Refused, Unreachable or UsageError unless this step may be taken here and now."""
    _reviewed(found, step)
    rights = fetch(connection, assets.query("postgres/system_rights"))[0]
    if not rights["allowed"]:
        raise Refused(
            "ALTER SYSTEM is switched off on this server (allow_alter_system)",
            hint="patch the configuration file instead: dbkit audit --pg-conf FILE --fix FILE.patch",
        )
    if not rights["may_reload"]:
        raise Unreachable(
            "this role may not reload the configuration",
            hint=f"grant execute on function pg_reload_conf() to {quote(found.user)}",
        )
    if step.action != ALTER:
        return
    if not rights["superuser"]:
        name = str(step.data["setting"])
        held = (
            found.major >= 15 and fetch(connection, assets.query("postgres/parameter_right"), {"name": name})[0]["held"]
        )
        if not held:
            raise Unreachable(
                f"this role may not change {name} for the server",
                hint=f"grant alter system on parameter {name} to {quote(found.user)}"
                if found.major >= 15
                else "connect as a superuser",
            )
    now = _now(connection, step)
    if now is not None and not now["own"] and now["value"] not in (step.before, step.data["value"]):
        raise Refused(
            f"the plan is stale: {step.object} is {now['value']}, it was {step.before} when the plan was made",
            hint="make a new plan, review it, and apply that",
        )


def take(builder: Builder, step: Step, outcome: Outcome) -> None:
    """Take one step and verify it."""
    _reviewed(builder.server, step)
    if step.action == ALTER:
        now = _now(builder.connection, step)
        if now is not None and not now["own"] and not now["pending_restart"] and now["value"] == step.data["value"]:
            return
        builder.run(step, outcome, "pg_catalog", 0)
        return
    settings: list[Mapping[str, Any]] = list(step.data.get("settings", ()))
    if not _waiting(builder.target, settings):
        return
    builder.run(step, outcome, "pg_catalog", 0)
    until = time.monotonic() + PATIENCE
    while (waiting := _waiting(builder.target, settings)) and time.monotonic() < until:
        time.sleep(0.2)
    if waiting:
        raise Broken(
            f"the reload did not bring {', '.join(waiting)} into force",
            why="the server may have refused another line of its files, and then it takes none of them",
            hint="select * from pg_file_settings where error is not null; then: select pg_reload_conf()",
        )
    builder.watch.say("verified", object=step.object, state=step.check)


def _waiting(target: Target, settings: list[Mapping[str, Any]]) -> list[str]:
    """Settings that are neither in force nor waiting for a restart as they should, as a new session finds them.

    A session that is there already keeps what was in force when it began for some of them (log_connections).
    """
    found: list[str] = []
    with connect(target, purpose="verify") as connection:
        for setting in settings:
            rows = fetch(connection, assets.query("postgres/one_setting"), {"name": setting["setting"]})
            if not rows or rows[0]["own"] or setting["value"] is None:
                continue
            pending = setting["restart"] and rows[0]["pending_restart"]
            if not pending and not _equal(rows[0]["value"], setting["value"]):
                found.append(str(setting["setting"]))
    return found


def _equal(one: str | None, other: object) -> bool:
    return (one or "").replace(" ", "") == str(other).replace(" ", "")


def _now(connection: Connection, step: Step) -> Mapping[str, Any] | None:
    rows = fetch(connection, assets.query("postgres/one_setting"), {"name": step.data["setting"]})
    return rows[0] if rows else None


def _reviewed(found: Server, step: Step) -> None:
    """Raise UsageError unless the statement is what the step's data say."""
    expected = RELOAD_SQL
    if step.action == ALTER:
        name, value = step.data.get("setting"), step.data.get("value")
        major = min(found.major, parameters.VERSIONS[-1])
        known = isinstance(name, str) and name.lower() in parameters.load(major)
        expected = dialects.statement(major, Change(str(name), None if value is None else str(value))) if known else ""
    if step.sql != expected:
        raise UsageError(
            f"step {step.id} of the plan is not what its data say",
            why=f"it would run: {step.sql}",
            hint="the file was changed by hand: make the plan again",
        )
