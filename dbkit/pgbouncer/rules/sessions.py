"""What an application was seen to leave in sessions that do not belong to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from dbkit.capacity import ServerFacts, SessionUse
from dbkit.model import Evidence, Severity
from dbkit.pgbouncer.rules.declare import Blind, Limits, Verdict, pooler_rule
from dbkit.pgbouncer.scene import Config, Pooled, Scene

_HARM: Final = {
    "SET": "the setting stays with the server connection and meets the next client",
    "SET SESSION CHARACTERISTICS": "the next client's transactions get this isolation, or are read-only",
    "set_config": "with false as its third argument, which is not to be seen here, it is a SET that meets the next "
    "client; with true it is a SET LOCAL and does no harm",
    "LOAD": "the library is missing on the next connection",
    "LISTEN": "notifications go to whoever holds the connection then",
    "advisory lock": "the lock stays with the connection: others hold it by accident, and unlocking fails",
    "temporary table": "the table is seen by the next client and missing for its maker",
    "PREPARE": "the statement is missing on the next connection, or exists there already",
    "cursor WITH HOLD": "the cursor stays on a connection that the next statement does not get",
}
_SEVERITY: Final = {"LISTEN": Severity.ERROR, "advisory lock": Severity.ERROR, "set_config": Severity.INFO}

ALWAYS_FOLLOWED: Final = frozenset(
    {"application_name", "client_encoding", "datestyle", "timezone", "standard_conforming_strings"}
)
REPORTED: Final = {
    "intervalstyle": 14,
    "session_authorization": 14,
    "default_transaction_read_only": 14,
    "scram_iterations": 16,
    "search_path": 18,
}
"""Settings that PostgreSQL reports to its clients from a version on: without that no pooler can follow them."""


class SessionLimits(Limits):
    """Knobs of pgbouncer.session-features."""

    direct_roles: tuple[str, ...] = ()
    """Roles that never come through a pooler, such as the backup's and the migrations'."""


def followed(config: Config, major: int) -> frozenset[str]:
    """Settings that this PgBouncer gives back to each client with every connection, before a server of this version.

    Observed on 1.18, 1.24 and 1.26 before 15 and 18: from 1.26 on all that the server reports, from 1.20 on those of
    track_extra_parameters that it reports.
    """
    reported = {name for name, since in REPORTED.items() if since <= (major or min(REPORTED.values()))}
    if config.version.minor < 26:
        reported &= {word.lower() for word in config.words("track_extra_parameters")}
    return ALWAYS_FOLLOWED | reported


@pooler_rule(
    "session-features",
    "sharing",
    Severity.ERROR,
    evidence=Evidence.OBSERVED,
    ok="The application uses nothing that needs a session of its own",
    bad="""
    ;; server: host=db max_connections=200
    ;; uses: LISTEN
    [databases]
    jobs = host=db
    [pgbouncer]
    pool_mode = transaction
    """,
    good="""
    ;; server: host=db max_connections=200
    ;; uses: LISTEN
    [databases]
    jobs = host=db
    [pgbouncer]
    pool_mode = session
    """,
    limits=SessionLimits,
)
def session_features(scene: Scene, limits: SessionLimits) -> Iterator[Verdict | Blind]:
    """The application uses session features through a pool that lends connections for one transaction.

    Why: SET, LISTEN, session advisory locks, temporary tables and PREPARE live in the server connection. In transaction
    mode the next transaction gets another one, and the next client gets yours with all that is left in it. Observed on
    1.18 to 1.26: SET leaks, LISTEN receives nothing, locks are released by others.

    Fix: SET LOCAL and pg_advisory_xact_lock inside a transaction, `on commit drop` for temporary tables, LISTEN and
    migrations over a direct connection or an entry with pool_mode=session. Which settings PgBouncer follows depends on
    both versions: search_path only from 1.26 on before PostgreSQL 18, or where track_extra_parameters names it.

    Not reported when: no database lends by transaction, or pg_stat_statements shows none of them, or only settings that
    this PgBouncer follows. It cannot tell which clients come through the pooler: the roles are named, and those of
    `direct_roles` in the policy do not count. What runs inside functions is not seen, nor what dbkit
    itself and pg_dump send.

    See: https://www.pgbouncer.org/features.html
    """
    lending = scene.config.lends_by_transaction
    if not lending:
        return
    if not scene.servers:
        yield Blind("no PostgreSQL server was looked at: name its target beside this one (`servers` in dbkit.toml)")
        return
    for server in scene.servers:
        behind = [d for d in lending if any(server.answers(host, port) for host, port in d.servers)]
        if not behind:
            continue
        if server.session_uses is None:
            yield Blind(f"{server.name}: {server.blind or 'pg_stat_statements was not asked'}")
            continue
        for uses in _together(scene.config, server, limits):
            lent = [d for d in behind if not uses[0].database or d.name == "*" or d.dbname == uses[0].database]
            if lent:
                yield _verdict(scene, server, uses, lent)


def _together(config: Config, server: ServerFacts, limits: SessionLimits) -> Iterator[list[SessionUse]]:
    """The uses of one feature in one database, the most frequent first; those that do no harm are left out."""
    harmless = followed(config, server.major)
    found: defaultdict[tuple[str, str], list[SessionUse]] = defaultdict(list)
    for use in server.session_uses or ():
        if use.setting in harmless or (use.roles and set(use.roles) <= set(limits.direct_roles)):
            continue
        found[use.feature, use.database].append(use)
    for uses in found.values():
        yield sorted(uses, key=lambda use: -use.calls)


def _verdict(scene: Scene, server: ServerFacts, uses: list[SessionUse], lent: list[Pooled]) -> Verdict:
    first, calls = uses[0], sum(use.calls for use in uses)
    settings = [use.setting for use in uses if use.setting]
    roles = sorted({role for use in uses for role in use.roles})
    of = f" of {_some(settings)}" if settings else ""
    where = f" in {first.database}" if first.database else ""
    by = f" by {_some(roles)}" if roles else ""
    return Verdict(
        f"{first.feature}{of} was run {calls:,} time{'s' * (calls != 1)}{by}{where} on {server.name}, which "
        f"{_some([d.name for d in lent])} lends by transaction: {_HARM[first.feature]}; for example: {first.example}",
        first.feature,
        severity=_SEVERITY.get(first.feature, Severity.WARN),
        location=scene.config.location("pool_mode"),
        data={
            "calls": calls,
            "server": server.name,
            "database": first.database,
            "settings": settings,
            "roles": roles,
        },
        key=f"{server.name}/{first.database}",
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
