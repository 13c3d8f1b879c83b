"""Poolers of one run held against each other: those before the same server, and those that share a port."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from dbkit.model import Json, Severity
from dbkit.pgbouncer.demand import Demand, Together, together
from dbkit.pgbouncer.rules.declare import Verdict, pooler_rule
from dbkit.pgbouncer.rules.fit import banded, spelled
from dbkit.pgbouncer.rules.seen import shown
from dbkit.pgbouncer.scene import Pooled, Scene

_GRAVE: Final = (
    *("pool_mode", "auth_type", "auth_query", "server_reset_query", "server_reset_query_always"),
    *("ignore_startup_parameters", "track_extra_parameters", "max_prepared_statements"),
    *("client_tls_sslmode", "server_tls_sslmode", "query_timeout", "idle_transaction_timeout", "transaction_timeout"),
)
"""What an application notices when it meets the other pooler."""
_QUIET: Final = (
    *("default_pool_size", "min_pool_size", "reserve_pool_size", "reserve_pool_timeout", "max_db_connections"),
    *("max_user_connections", "max_client_conn", "query_wait_timeout", "client_idle_timeout", "server_idle_timeout"),
    *("server_lifetime", "server_connect_timeout", "server_login_retry", "server_check_query", "server_check_delay"),
)
_LISTS: Final = ("ignore_startup_parameters", "track_extra_parameters")


@dataclass(frozen=True, slots=True)
class Member:
    """One pooler of the run."""

    name: str
    scene: Scene


@pooler_rule(
    "siblings-differ",
    "fleet",
    Severity.WARN,
    needs="fleet",
    ok="Poolers that serve the same database are set alike",
    bad="""
    [databases]
    jobs = host=db
    [pgbouncer]
    pool_mode = transaction
    ;; next pooler
    [databases]
    jobs = host=db
    [pgbouncer]
    pool_mode = session
    """,
    good="""
    [databases]
    jobs = host=db
    [pgbouncer]
    pool_mode = transaction
    ;; next pooler
    [databases]
    jobs = host=db
    [pgbouncer]
    pool_mode = transaction
    """,
)
def siblings_differ(members: Sequence[Member]) -> Iterator[Verdict]:
    """Poolers that serve the same database of the same server are set differently.

    Why: behind a load balancer a client meets either. With another pool_mode, reset query, startup list or timeout the
    same application works on one and fails on the other, which looks like chance. Other sizes mean another share of the
    server than the one that was planned.

    Fix: one file for all of them, with what must differ (listen_addr, peer_id) in an %include of its own; or an
    `ignore` entry where two ports are meant to be pooled differently.

    Not reported when: the poolers have no database name on a server in common. What names a machine (addresses, files,
    ports) may differ.

    See: pgbouncer.poolers-over-server for the sum.
    """
    for group in _siblings(members):
        for key in (*_GRAVE, *_QUIET):
            held = {m.name: _comparable(key, m.scene.config.text(key)) for m in group if key in m.scene.config.values}
            if len(set(held.values())) > 1:
                yield _differing(key, key, held, _shared(group), group)
        yield from _databases(group)


def _siblings(members: Sequence[Member]) -> list[list[Member]]:
    """Groups in which each serves a database that another of the group serves."""
    groups: list[list[Member]] = []
    for member in members:
        near = [g for g in groups if any(_common(member, other) for other in g)]
        groups = [g for g in groups if g not in near] + [[*(m for g in near for m in g), member]]
    return [g for g in groups if len(g) > 1]


def _served(member: Member) -> set[tuple[str, str, int]]:
    return {(d.name, host, port) for d in member.scene.config.databases for host, port in d.servers}


def _common(one: Member, other: Member) -> set[tuple[str, str, int]]:
    return _served(one) & _served(other)


def _shared(group: Sequence[Member]) -> str:
    """In words, what they have in common."""
    found = sorted({place for one, other in combinations(group, 2) for place in _common(one, other)})
    names = ", ".join(f"{name} of {host or 'the local socket'}:{port}" for name, host, port in found[:3])
    return names + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _comparable(key: str, value: str) -> str:
    if key in _LISTS:
        return ", ".join(sorted({word.strip().lower() for word in value.split(",") if word.strip()}))
    return value


def _databases(group: Sequence[Member]) -> Iterator[Verdict]:
    """What the lines of a shared database say otherwise; a global setting that differs has been said already."""
    names = sorted({d.name for m in group for d in m.scene.config.databases})
    for name in names:
        held = {m.name: d for m in group for d in m.scene.config.databases if d.name == name}
        for attribute, key, overall in (
            ("dbname", "dbname", ""),
            ("forced_user", "user", ""),
            ("pool_mode", "pool_mode", "pool_mode"),
            ("pool_size", "pool_size", "default_pool_size"),
            ("reserve", "reserve_pool_size", "reserve_pool_size"),
            ("max_connections", "max_db_connections", "max_db_connections"),
        ):
            values = {pooler: str(getattr(d, attribute)) for pooler, d in held.items()}
            own = not overall or any(_gives(d, key) for d in held.values())
            if own and len(set(values.values())) > 1:
                yield _differing(name, key, values, f"database {name}", group)


def _gives(database: Pooled, key: str) -> bool:
    return bool({key, key.replace("reserve_pool_size", "reserve_pool")} & database.given)


def _differing(subject: str, key: str, held: dict[str, str], what: str, group: Sequence[Member]) -> Verdict:
    said = ", ".join(f"{shown(key, value)} on {name}" for name, value in held.items())
    values: dict[str, Json] = {name: shown(key, value) for name, value in held.items()}
    return Verdict(
        f"{key} is {said}, and each serves {what}",
        subject,
        severity=Severity.WARN if key in _GRAVE or key in ("dbname", "user") else Severity.INFO,
        location=group[0].scene.config.location(key) if group[0].scene.ini else None,
        data={"values": values},
        key=key,
    )


@pooler_rule(
    "poolers-over-server",
    "fleet",
    Severity.ERROR,
    needs="fleet",
    ok="All poolers together fit the servers behind them",
    bad="""
    [databases]
    jobs = host=db
    [pgbouncer]
    max_db_connections = 100
    ;; next pooler
    [databases]
    jobs = host=db
    [pgbouncer]
    max_db_connections = 100
    """,
    good="""
    [databases]
    jobs = host=db
    [pgbouncer]
    max_db_connections = 60
    ;; next pooler
    [databases]
    jobs = host=db
    [pgbouncer]
    max_db_connections = 60
    """,
)
def poolers_over_server(members: Sequence[Member]) -> Iterator[Verdict]:
    """Poolers that each fit a server ask too much of it together.

    Why: every pooler has its own pools and knows nothing of the others. The sum for each server: the pools of every
    pooler of this run, each times its processes, + the clients that connect directly, once. Bands: S2 1.4.

    Fix: share max_connections out: lower max_db_connections on each, so that the sum stays in the target band.

    Not reported when: only one pooler of the run calls the server (pgbouncer.pool-over-server judges it), or the sum
    fits. Two targets that are processes of one pooler count as two: do not give them `processes` as well.

    See: pgbouncer.pool-over-server.
    """
    for held in together([(m.name, m.scene) for m in members]):
        bands = members[0].scene.connections.servers.bands
        said = banded(held.sum, bands)
        if said is None:
            continue
        severity, words = said
        yield Verdict(
            f"{len(held.poolers)} poolers ask up to {held.sum.total} connections of {held.sum.place}: {words} "
            f"({bands.origin}). The sum: {spelled(held.sum)}",
            held.sum.place,
            severity=severity,
            hint=_share(held, bands.target[1]),
            data=_sum_data(held.sum, held.poolers),
        )


def _share(held: Together, target: float) -> str:
    left = min(held.sum.max_connections * target / 100, held.sum.usable)
    left -= sum(p.connections for p in held.sum.direct)
    each = int(left // len(held.poolers))
    if each < 1:
        return "the direct clients alone take it all: send them through a pooler"
    return f"{each} connections for each of the {len(held.poolers)} poolers, all their databases together, would fit"


def _sum_data(held: Demand, poolers: Sequence[str]) -> dict[str, Json]:
    return {
        "poolers": list(poolers),
        "total": held.total,
        "max_connections": held.max_connections,
        "reserved": held.reserved,
        "percent": round(held.percent, 1),
        "parts": [{"database": p.database, "connections": p.connections, "how": p.how} for p in held.parts],
        "direct": [{"name": p.database, "connections": p.connections, "how": p.how} for p in held.direct],
        "observed": held.facts is not None,
    }


@pooler_rule(
    "peers-incomplete",
    "fleet",
    Severity.WARN,
    needs="fleet",
    ok="Processes that share a port know each other",
    bad="""
    ;; version 1.24
    [databases]
    jobs = host=db
    [peers]
    1 = host=/tmp/one
    2 = host=/tmp/two
    [pgbouncer]
    so_reuseport = 1
    peer_id = 1
    ;; next pooler
    [databases]
    jobs = host=db
    [peers]
    1 = host=/tmp/one
    2 = host=/tmp/two
    [pgbouncer]
    so_reuseport = 1
    peer_id = 1
    """,
    good="""
    ;; version 1.24
    [databases]
    jobs = host=db
    [peers]
    1 = host=/tmp/one
    2 = host=/tmp/two
    [pgbouncer]
    so_reuseport = 1
    peer_id = 1
    ;; next pooler
    [databases]
    jobs = host=db
    [peers]
    1 = host=/tmp/one
    2 = host=/tmp/two
    [pgbouncer]
    so_reuseport = 1
    peer_id = 2
    """,
)
def peers_incomplete(members: Sequence[Member]) -> Iterator[Verdict]:
    """Processes before the same server have the same peer_id, or do not list each other.

    Why: a cancel request comes on a new connection, which may reach another process. That one passes it on to the peer
    whose id is in the key; with the same id twice, or a peer that is not listed, the request is lost and the query
    runs on.

    Fix: a peer_id of its own for each, and the same [peers] with all of them in every file (1.19).

    Not reported when: the poolers have no peer_id and do not share a port, or no database in common. [peers] is read
    from the file; where only the console was looked at, ids alone are compared.

    See: https://www.pgbouncer.org/config.html#section-peers
    """
    for group in _siblings(members):
        ids = {m.name: m.scene.config.number("peer_id") for m in group}
        for one, other in combinations(group, 2):
            both = ids[one.name], ids[other.name]
            if both[0] and both[0] == both[1]:
                yield Verdict(
                    f"{one.name} and {other.name} both have peer_id {both[0]}: a cancel request may be lost",
                    "peer_id",
                    severity=Severity.ERROR,
                    location=other.scene.config.location("peer_id"),
                    key=f"{one.name}/{other.name}",
                )
        for member in group:
            listed = {p.id for p in member.scene.ini.peers} if member.scene.ini else None
            wanted = {n for name, n in ids.items() if n and name != member.name}
            missing = sorted(wanted - listed) if listed is not None and ids[member.name] else []
            if missing:
                yield Verdict(
                    f"{member.name} does not list peer {', '.join(map(str, missing))}: cancel requests for it are lost",
                    "peers",
                    location=member.scene.config.place,
                    key=member.name,
                )
