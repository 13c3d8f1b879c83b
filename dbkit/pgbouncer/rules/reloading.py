"""What RELOAD would do with the file, for `dbkit audit --reload-check`."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Location, Severity
from dbkit.pgbouncer.reload import Change
from dbkit.pgbouncer.rules.declare import Verdict, pooler_rule
from dbkit.pgbouncer.scene import Scene
from dbkit.secrets import redact

_GRAVE = ("pool_mode", "auth_type", "max_db_connections", "default_pool_size", "max_client_conn", "server_tls_sslmode")


@pooler_rule(
    "reload-breaks",
    "reload",
    Severity.ERROR,
    needs="reload",
    ok="RELOAD would take the whole file",
    bad="""
    ;; show config: key=pool_mode value=transaction changeable=yes
    [databases]
    jobs = host=db
    [pgbouncer]
    log_connections = yes
    pool_mode = transaction
    """,
    good="""
    ;; show config: key=pool_mode value=transaction changeable=yes
    [databases]
    jobs = host=db
    [pgbouncer]
    log_connections = 1
    pool_mode = transaction
    """,
)
def reload_breaks(scene: Scene) -> Iterator[Verdict]:
    """RELOAD would stop half-way and leave the pooler with settings that nobody wrote.

    Why: lines before the mistake are applied, and keys after it fall back to their defaults: pool_mode goes from
    transaction to session under live traffic. Releases up to 1.24 answer RELOAD with success all the same (pgbouncer
    issue 1482).

    Fix: correct the line, run this again, then RELOAD.

    Not reported when: the file loads as a whole.

    See: pgbouncer.file-rejected for the mistake itself.
    """
    outcome, ini = scene.outcome, scene.ini
    if outcome is None or ini is None or outcome.ok:
        return
    problem = ini.problems[0]
    lost = [c for c in outcome.changes if c.by_accident]
    grave = sorted(lost, key=lambda c: c.name not in _GRAVE)
    said = "; ".join(_said(c) for c in grave[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
    answer = "reports the error" if outcome.reports_error else "answers with success all the same"
    yield Verdict(
        f"RELOAD stops at {problem.file}:{problem.line} ({problem.message}) and {answer}"
        + (f"; falls back to defaults: {said}" if lost else ""),
        "RELOAD",
        location=Location(problem.file, problem.line or None),
        data={"defaults": [c.name for c in lost]},
    )


@pooler_rule(
    "reload-changes",
    "reload",
    Severity.INFO,
    needs="reload",
    ok="RELOAD would change nothing",
    bad="""
    ;; show config: key=default_pool_size value=20 changeable=yes
    ;; show databases: name=old host=db port=5432 pool_size=20
    [databases]
    jobs = host=db
    [pgbouncer]
    default_pool_size = 25
    """,
    good="""
    ;; show config: key=default_pool_size value=25 changeable=yes
    ;; show databases: name=jobs host=db port=5432 pool_size=25
    [databases]
    jobs = host=db
    [pgbouncer]
    default_pool_size = 25
    """,
)
def reload_changes(scene: Scene) -> Iterator[Verdict]:
    """RELOAD would change these settings and databases.

    Why: the list is what to expect, and what to look for afterwards. A database that is taken out is removed once its
    clients are gone; one whose host changes closes its server connections as they come free.

    Fix: nothing, if the list is what you want. SET values of the console that the file does not hold are lost.

    Not reported when: what runs is what the file says.

    See: pgbouncer.config-drift.
    """
    outcome = scene.outcome
    if outcome is None:
        return
    for change in outcome.changes:
        if not change.by_accident:
            yield Verdict(f"RELOAD changes {_said(change)}", change.name, location=_place(scene, change.name))
    for name in outcome.added:
        yield Verdict(f"RELOAD adds database {name}", name, key="added")
    for name in outcome.removed:
        yield Verdict(f"RELOAD removes database {name}", name, severity=Severity.WARN, key="removed")


@pooler_rule(
    "reload-ignores",
    "reload",
    Severity.WARN,
    needs="reload",
    ok="RELOAD would apply everything that the file says",
    bad="""
    ;; show config: key=listen_port value=6432 changeable=no
    [databases]
    jobs = host=db
    [pgbouncer]
    listen_port = 5432
    """,
    good="""
    ;; show config: key=listen_port value=6432 changeable=no
    [databases]
    jobs = host=db
    [pgbouncer]
    listen_port = 6432
    """,
)
def reload_ignores(scene: Scene) -> Iterator[Verdict]:
    """The file holds changes that RELOAD passes over in silence.

    Why: listen addresses, sockets, the pid file, pkt_buf, so_reuseport and track_extra_parameters are read at the start
    only; auth_file, auth_user and others without a default keep their value when they are taken out of the file. The
    change then strikes at the next restart, long after anybody remembers.

    Fix: restart at a time of your choosing: with so_reuseport start the new process first, then end the old one.

    Not reported when: the running value is the same.

    See: pgbouncer issue 274.
    """
    outcome = scene.outcome
    if outcome is None:
        return
    for change in outcome.ignored:
        yield Verdict(
            f"RELOAD ignores {_said(change)}: it takes a restart", change.name, location=_place(scene, change.name)
        )
    for name in outcome.kept:
        yield Verdict(
            f"{name} is not in the file any more, and RELOAD keeps it: it takes a restart",
            name,
            severity=Severity.INFO,
        )


def _place(scene: Scene, name: str) -> Location | None:
    return scene.file_config.location(name) if scene.file_config else None


def _said(change: Change) -> str:
    if change.name == "auth_ldap_options":
        return change.name
    return f"{change.name} {redact(change.before) or 'empty'} -> {redact(change.after) or 'empty'}"
