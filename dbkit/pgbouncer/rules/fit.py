"""Whether pools, clients and descriptors fit the servers, the pooler and its machine."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Severity
from dbkit.pgbouncer import demand
from dbkit.pgbouncer.demand import Demand
from dbkit.pgbouncer.documents import Bands
from dbkit.pgbouncer.rules.declare import Blind, Limits, Verdict, pooler_rule
from dbkit.pgbouncer.scene import Scene


@pooler_rule(
    "pool-over-server",
    "capacity",
    Severity.ERROR,
    ok="The pools fit the servers behind them",
    bad="""
    ;; server: host=db max_connections=200
    ;; connections: {poolers: {processes: 2}}
    [databases]
    jobs = host=db
    users = host=db
    [pgbouncer]
    max_db_connections = 100
    """,
    good="""
    ;; server: host=db max_connections=200
    [databases]
    jobs = host=db
    [pgbouncer]
    max_db_connections = 100
    """,
    equivalents={"autobase": ("issue 236",)},
)
def pool_over_server(scene: Scene) -> Iterator[Verdict]:
    """The pools together may ask a server for more connections than it should give.

    Why: for each physical server: users x (pool_size + reserve), at most max_db_connections, for every database on
    it, and at most max_user_connections of each user over all of them, x PgBouncer processes, + clients that connect
    directly. A user's own limits ([users]) count. Above max_connections less the reserves the server
    refuses ("too many clients already"). S2 1.4 wants 60 to 70 % of max_connections, more servers above 75 %, and at
    most 85 %.

    Fix: lower max_db_connections to the server's share, put fewer databases on it, or raise max_connections (a restart,
    and memory for each). Write the number of processes and users into connections.yaml.

    Not reported when: the sum stays below the target band's upper end. A server that was not looked at counts with the
    200 connections of S0 4.1.

    See: policies/connections.yaml; `dbkit audit POOLER SERVER` looks at both.
    """
    bands = scene.connections.servers.bands
    for held in demand.demands(scene):
        said = banded(held, bands)
        if said is None:
            continue
        severity, words = said
        source = "" if held.facts else f", as in {scene.connections.servers.origin}: the server was not looked at"
        place = next((d.location for d in scene.config.databases if (held.host, held.port) in d.servers), None)
        yield Verdict(
            f"up to {held.total} connections to {held.place}: {words} ({bands.origin}){source}. The sum: "
            f"{spelled(held)}",
            held.place,
            severity=severity,
            hint=_share(scene, held),
            location=place or scene.config.location("max_db_connections"),
            data={
                "total": held.total,
                "max_connections": held.max_connections,
                "reserved": held.reserved,
                "percent": round(held.percent, 1),
                "parts": [{"database": p.database, "connections": p.connections, "how": p.how} for p in held.parts],
                "pooled": held.pooled,
                "direct": [{"name": p.database, "connections": p.connections, "how": p.how} for p in held.direct],
                "observed": held.facts is not None,
            },
        )


def banded(held: Demand, bands: Bands) -> tuple[Severity, str] | None:
    """Where a sum stands in the documented bands, and how bad that is; None when it is good."""
    most = held.max_connections
    match held.band(bands):
        case "refused":
            return Severity.ERROR, f"only {held.usable} can be had (max_connections {most}, {held.reserved} reserved)"
        case "over":
            return (
                Severity.WARN,
                f"{held.percent:.0f} % of max_connections {most}, over the {bands.maximum:g} % maximum",
            )
        case "scale":
            return (
                Severity.WARN,
                f"{held.percent:.0f} % of max_connections {most}, above {bands.scale:g} %: time to scale",
            )
        case "high":
            target = f"{bands.target[0]:g}-{bands.target[1]:g} %"
            return Severity.INFO, f"{held.percent:.0f} % of max_connections {most}, above the target of {target}"
        case _:
            return None


def spelled(held: Demand) -> str:
    """The sum in words."""
    parts = [f"{p.database} {p.connections} ({p.how})" for p in (*held.shares, *held.direct)]
    return " + ".join(parts) + f" = {held.total}" + ("" if held.bounded else ", and more with every user")


def _share(scene: Scene, held: Demand) -> str:
    wanted = held.max_connections * scene.connections.servers.bands.target[1] / 100
    left = min(wanted, held.usable) - sum(p.connections for p in held.direct)
    share = int(left // (len(held.parts) * demand.processes(scene))) if held.parts else 0
    if share < 1:
        return "the direct clients alone take it all: send them through the pooler"
    return f"max_db_connections = {share} for each of its {len(held.parts)} database(s) would fit the target"


@pooler_rule(
    "clients-over-limit",
    "capacity",
    Severity.WARN,
    ok="All applications together find room at the pooler",
    bad="""
    ;; connections: {drivers: [{name: api, pool: 20, instances: 50, origin: S4 1.1}]}
    [pgbouncer]
    max_client_conn = 500
    """,
    good="""
    ;; connections: {drivers: [{name: api, pool: 20, instances: 20, origin: S4 1.1}]}
    [pgbouncer]
    max_client_conn = 500
    """,
)
def clients_over_limit(scene: Scene) -> Iterator[Verdict]:
    """The applications' own pools may open more connections than the pooler takes.

    Why: instances x pool of an application that has scaled out all arrive at once after a deploy. Over
    max_client_conn the pooler refuses ("no more connections allowed"), for monitoring and you as well. Directly at
    the server it would be worse: S4's 20 x 50 = 1000 against S0's 200.

    Fix: raise max_client_conn and the file descriptor limit with it, or give the application a smaller pool: behind a
    pooler its size buys nothing.

    Not reported when: all documented pools take 85 % of max_client_conn x processes at most. The applications of the
    documents are different platforms, so each is counted alone; yours, in a file of your own, are counted together.

    See: policies/connections.yaml.
    """
    limit = scene.config.number("max_client_conn") * demand.processes(scene)
    own = [d for d in scene.connections.drivers if d.through == "pooler"]
    together = [own] if scene.own_figures else [[d] for d in own]
    for drivers in together:
        count = sum(d.connections for d in drivers)
        if not drivers or limit <= 0 or count <= 0.85 * limit:
            continue
        what = " + ".join(f"{d.name} {d.pool} x {d.instances}" for d in drivers)
        yield Verdict(
            f"{what} = {count} connections, max_client_conn {limit}"
            + ("" if count > limit else f": {limit - count} left for monitoring and you"),
            drivers[0].name if len(drivers) == 1 else "max_client_conn",
            severity=Severity.WARN if count > limit else Severity.INFO,
            hint=f"max_client_conn = {-(-int(count * 1.25) // (100 * demand.processes(scene))) * 100}, "
            "and a file descriptor limit above it",
            location=scene.config.location("max_client_conn"),
            data={"clients": count, "max_client_conn": limit, "origin": "; ".join(d.origin for d in drivers)},
        )


class DescriptorLimits(Limits):
    """Knobs of pgbouncer.file-descriptors."""

    available: int = 1024
    """The soft limit that the daemon is started with: `ulimit -n`, LimitNOFILE."""


@pooler_rule(
    "file-descriptors",
    "capacity",
    Severity.WARN,
    ok="The daemon needs no more file descriptors than it is given",
    bad="""
    [databases]
    jobs = host=jobs-db
    [pgbouncer]
    max_client_conn = 1000
    """,
    good="""
    [databases]
    jobs = host=jobs-db
    [pgbouncer]
    max_client_conn = 900
    """,
    limits=DescriptorLimits,
)
def file_descriptors(scene: Scene, limits: DescriptorLimits) -> Iterator[Verdict | Blind]:
    """The daemon may need more file descriptors than its limit.

    Why: every client and every server connection is one. Without a descriptor accept() fails, and clients hang
    instead of being refused. The daemon logs the sum at its start ("max expected fd use") and warns of nothing.

    Fix: LimitNOFILE in the service's unit, or `ulimit -n` before the start; a restart applies it.

    Not reported when: the sum fits limit `available` (1024, what systems start a process with).

    See: pgbouncer.clients-over-limit.
    """
    needed = descriptors(scene)
    if needed > limits.available:
        yield Verdict(
            f"up to {needed} file descriptors are needed, max_client_conn {scene.config.number('max_client_conn')} and "
            "the "
            f"pools together; a limit of {limits.available} is not enough",
            "max_client_conn",
            hint=f"LimitNOFILE={-(-needed * 5 // 4 // 1024) * 1024 + 1024} in the service's unit",
            location=scene.config.location("max_client_conn"),
            data={"needed": needed, "available": limits.available},
        )


def descriptors(scene: Scene) -> int:
    """The daemon's own estimate: clients + 10 + pool_size x users of each listed database."""
    count = scene.config.number("max_client_conn") + 10
    for database in scene.config.databases:
        if database.name != "*":
            count += database.pool_size * (demand.users(scene, database) or 1)
    return count
