"""Drift: what changed since an earlier report, what a file would change on its server, standbys below their primary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Final

from dbkit.model import Severity
from dbkit.postgres.conf.values import written
from dbkit.postgres.settings.rules.declare import Change, Verdict, Verdicts, place, setting_rule
from dbkit.postgres.settings.scene import FILE, Held, Scene, Unseen

CATEGORY = "state"
OF_RECOVERY: Final = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
"""A hot standby needs at least as much of these as its primary (the manual, 26.4.3)."""


@setting_rule(
    "setting-changed",
    Severity.WARN,
    CATEGORY,
    ok="No setting has changed since the baseline",
    bad="-- an earlier report as --baseline, and work_mem changed since",
    good="-- an earlier report as --baseline, and nothing changed since",
)
def changed(scene: Scene) -> Verdicts:
    """A setting, or one of a role or database, is not what it was in the report given as baseline.

    Why: somebody changed it, by hand or by ALTER SYSTEM, and nobody wrote it down.

    Fix: take it back, or make a new baseline: `dbkit audit ... --format json > baseline.json`.

    Not reported when: there is no --baseline, or it does not hold this server or file; what an upgrade to another major
    version changed by itself (a default) is left out.

    See: the `servers` and `files` of the JSON report.
    """
    if scene.earlier is None:
        raise Unseen("no earlier report holds this server's settings: give one with --baseline")
    here = {name: held for name, held in scene.held.items() if held.parameter.context != "internal"}
    same_version = scene.earlier.version in ("", str(scene.major))
    for name, held in sorted(here.items()):
        old = scene.earlier.settings.get(name)
        if old is None and (scene.live or held.file is None):
            continue  # not visible then, or the default now as then
        was = old if old is not None else held.parameter.boot or ""
        if was == held.value or (held.is_default and held.file is None and not same_version):
            continue
        yield _changed(scene, held, was)
    yield from _overrides(scene)


def _changed(scene: Scene, held: Held, was: str) -> Verdict:
    name, where = held.parameter.name, held.source
    if held.file:
        where = f"{PurePath(held.file).name}:{held.line}"
    elif held.source == "default":
        where = "the default: nothing sets it any more"
    waits = ", and another value waits for a restart" if held.pending_restart else ""
    return Verdict(
        f"{name} was {written(held.parameter, was) or 'empty'}, is {held.shown or 'empty'} ({where}{waits})",
        name,
        # A report holds no password: what it hides cannot be written back.
        changes=(Change(name, was),) if held.source != "command line" and "***" not in was else (),
        location=place(scene, name),
        data={"old": was, "new": held.value, "unit": held.parameter.unit, "source": held.source},
        key=f"{was}->{held.value}",
    )


def _overrides(scene: Scene) -> Iterator[Verdict]:
    if scene.earlier is None or not scene.live:
        return
    before = scene.earlier.overrides
    now = {(o.role or "", o.database or "", o.name): o.value for o in scene.overrides}
    for role, database, name in sorted(before.keys() | now.keys()):
        old, new = before.get((role, database, name)), now.get((role, database, name))
        if old == new:
            continue
        parts = (f"role {role}" if role else "", f"database {database}" if database else "")
        whose = " in ".join(part for part in parts if part) or "every role"
        yield Verdict(
            f"{name} of {whose} was {old if old is not None else 'not set'}, "
            f"is {new if new is not None else 'not set'}",
            f"{whose}: {name}",
            data={"old": old, "new": new, "role": role or None, "database": database or None},
            key=f"{old}->{new}",
        )


@setting_rule(
    "file-not-in-force",
    Severity.INFO,
    CATEGORY,
    ok="The server runs with what the file says",
    bad="-- a target and a --pg-conf that sets work_mem = 8MB, the server running with 4MB",
    good="-- a target and its own postgresql.conf as --pg-conf",
)
def not_in_force(scene: Scene) -> Verdicts:
    """The file given beside a server says something else than what the server runs with.

    Why: it shows what putting the file in place would do, and which part of it needs a restart or never counts.

    Fix: put the file in place, then reload or restart as the finding says; what ALTER SYSTEM or the command line sets
    beats it: `alter system reset NAME`.

    Not reported when: no server, or more than one, is audited in the same run. A warning when a restart is needed or
    something beats the file.

    See: `dbkit audit prod --pg-conf postgresql.conf`.
    """
    if scene.live:
        return
    if scene.server is None:
        raise Unseen(scene.server_unseen or "no server to compare with: name its target beside --pg-conf")
    node, there = scene.server
    for name, held in sorted(scene.held.items()):
        running = there.get(name)
        if running is None or name in ("transaction_isolation", "in_hot_standby") or _alike(held, running):
            continue
        if held.parameter.context == "internal" or (held.file is None and not _from_its_file(running)):
            continue
        beaten = held.file is not None and _beats(running)
        takes = "nothing" if beaten else _takes(held)
        yield Verdict(
            f"{held.parameter.name} is {held.shown or 'empty'} {'in the file' if held.file else 'without a line'}, "
            f"{running.shown or 'empty'} on {node} ({_where(running)}): {_WORDS[takes].format(what=_where(running))}",
            held.parameter.name,
            severity=Severity.WARN if takes in ("restart", "nothing") else None,
            location=place(scene, name),
            data={"file": held.value, "server": running.value, "takes": takes, "source": running.source},
        )


_WORDS: Final = {
    "restart": "it needs a restart",
    "reload": "a reload brings it",
    "new sessions": "a reload brings it for new sessions",
    "nothing": "the file's line never counts while {what} sets it",
}


def _alike(one: Held, other: Held) -> bool:
    if one.parameter.kind == "string":
        return one.value.replace(" ", "") == other.value.replace(" ", "")
    return one.value == other.value


def _from_its_file(running: Held) -> bool:
    """Whether a line of the server's own file would be gone with another file, and its value with it."""
    return running.source == "configuration file" and not _beats(running)


def _beats(running: Held) -> bool:
    auto = running.file is not None and PurePath(running.file).name == "postgresql.auto.conf"
    return auto or running.source in ("command line", "environment variable")


def _takes(held: Held) -> str:
    context = held.parameter.context
    if context == "postmaster":
        return "restart"
    return "new sessions" if context in ("backend", "superuser-backend") else "reload"


def _where(running: Held) -> str:
    return f"{PurePath(running.file).name}:{running.line}" if running.file else running.source


@setting_rule(
    "standby-below-primary",
    Severity.ERROR,
    CATEGORY,
    ok="The standby has room for all that its primary may do",
    bad="-- a standby with max_connections = 50 of a primary with max_connections = 100",
    good="-- a standby with the max_connections of its primary",
)
def below_primary(scene: Scene) -> Verdicts:
    """A standby has less of a limit than its primary: it stops replaying, or does not start.

    Why: replay must be able to hold every session, prepared transaction and lock of the primary. A standby that has
    less pauses replay as soon as the primary's greater value reaches it (14 and newer) and then cannot be started.

    Fix: raise it on the standby first and restart it, then on the primary; lower it in the other order.

    Not reported when: no standby is among the servers of the run.

    See: max_connections, max_worker_processes, max_wal_senders, max_prepared_transactions, max_locks_per_transaction.
    """
    if not scene.live:
        raise Unseen(FILE)
    if not scene.others:
        raise Unseen("there is one node: name several targets, or `replicas` of the target")
    for name in OF_RECOVERY:
        own = scene.setting(name)
        for node, settings in scene.others.items():
            other = settings.get(name)
            if other is None or _standby(settings) == _standby(scene.held):
                continue
            mine, low = _standby(scene.held), float(own.value) < float(other.value)
            if mine and low:
                yield Verdict(
                    f"{name} is {own.value} on the standby {scene.name}, {other.value} on its primary {node}",
                    name,
                    changes=(Change(name, other.value),),
                    location=place(scene, name),
                    data={"standby": own.value, "primary": other.value, "node": node},
                    key=node,
                )
            elif not mine and float(other.value) < float(own.value):
                yield Verdict(
                    f"{name} is {other.value} on the standby {node}, {own.value} on its primary {scene.name}: raise it "
                    "on the standby and restart that",
                    name,
                    data={"standby": other.value, "primary": own.value, "node": node},
                    key=node,
                )


def _standby(settings: Mapping[str, Held]) -> bool:
    held = settings.get("in_hot_standby")
    return held is not None and held.value == "on"


RULES = (changed, not_in_force, below_primary)
