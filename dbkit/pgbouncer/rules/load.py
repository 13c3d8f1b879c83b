"""How much of the pooler is in use at this moment."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Severity
from dbkit.pgbouncer.live import number
from dbkit.pgbouncer.rules.declare import Limits, Verdict, pooler_rule
from dbkit.pgbouncer.rules.seen import live_of
from dbkit.pgbouncer.scene import Scene


@pooler_rule(
    "limits-nearly-reached",
    "console",
    Severity.WARN,
    needs="console",
    ok="Clients and databases stay below their limits",
    bad="""
    ;; show lists: list=used_clients items=950
    ;; show databases: name=jobs host=db port=5432 pool_size=25 max_connections=100 current_connections=98
    [databases]
    jobs = host=db
    [pgbouncer]
    max_client_conn = 1000
    max_db_connections = 100
    """,
    good="""
    ;; show lists: list=used_clients items=400
    ;; show databases: name=jobs host=db port=5432 pool_size=25 max_connections=100 current_connections=50
    [databases]
    jobs = host=db
    [pgbouncer]
    max_client_conn = 1000
    max_db_connections = 100
    """,
)
def limits_nearly_reached(scene: Scene) -> Iterator[Verdict]:
    """Clients or server connections are close to a limit of the pooler, a database or a user.

    Why: S2 1.4 wants connections at 60 to 70 %, more capacity above 75 % and at most 85 %. Over max_client_conn
    clients are refused; at max_db_connections the users of a database take connections from each other; at
    max_user_connections a user's databases do.

    Fix: raise the limit (max_client_conn costs a few kB and a file descriptor each), or find who keeps them: SHOW
    CLIENTS.

    Not reported when: the share is at most 75 %.

    See: pgbouncer.clients-over-limit.
    """
    live, bands = live_of(scene), scene.connections.servers.bands
    clients = live.counts.get("used_clients", 0)
    held = [("max_client_conn", clients, scene.config.number("max_client_conn"), "clients are connected")]
    held += [
        (
            row.get("name") or "",
            number(row, "current_connections"),
            number(row, "max_connections"),
            "server connections",
        )
        for row in live.databases
    ]
    # Clients of databases and everything of users are shown from 1.24 on.
    for row in live.databases:
        clients, most = number(row, "current_client_connections"), number(row, "max_client_connections")
        held.append((row.get("name") or "", clients, most, "clients"))
    for row in live.users:
        name = f"user {row.get('name')}"
        servers, clients = number(row, "current_connections"), number(row, "current_client_connections")
        held.append((name, servers, number(row, "max_user_connections"), "server connections"))
        held.append((name, clients, number(row, "max_user_client_connections"), "clients"))
    for name, count, limit, what in held:
        share = 100 * count / limit if limit > 0 else 0
        if share > bands.scale:
            yield Verdict(
                f"{count} of {limit} {what}, {share:.0f} %: "
                + (f"over the {bands.maximum:g} % maximum" if share > bands.maximum else f"above {bands.scale:g} %")
                + f" ({bands.origin})",
                name,
                severity=Severity.WARN if share > bands.maximum else Severity.INFO,
                data={"count": count, "limit": limit},
                key=what,
            )


class IdleLimits(Limits):
    """Knobs of pgbouncer.servers-idle."""

    min_idle: int = 10
    percent: float = 80.0


@pooler_rule(
    "servers-idle",
    "console",
    Severity.INFO,
    needs="console",
    ok="No pool holds many connections that it does not use",
    bad="""
    ;; show pools: database=jobs user=app cl_active=1 sv_active=1 sv_idle=24
    [databases]
    jobs = host=db
    [pgbouncer]
    min_pool_size = 25
    """,
    good="""
    ;; show pools: database=jobs user=app cl_active=10 sv_active=10 sv_idle=15
    [databases]
    jobs = host=db
    [pgbouncer]
    min_pool_size = 5
    """,
    limits=IdleLimits,
)
def servers_idle(scene: Scene, limits: IdleLimits) -> Iterator[Verdict]:
    """A pool holds server connections that it does not use.

    Why: each costs the server memory (S2 5.2 counts 10 MB) and a slot that another pool may need.

    Fix: a smaller min_pool_size, or a shorter server_idle_timeout.

    Not reported when: fewer than limit `min_idle` are idle, or less than `percent` of the pool: this is one moment.

    See: pgbouncer.differs for min_pool_size.
    """
    for pool in live_of(scene).pools:
        idle = pool.server_idle + pool.server_used
        if pool.waiting == 0 and idle >= limits.min_idle and 100 * idle >= limits.percent * pool.servers:
            yield Verdict(
                f"{idle} of {pool.servers} server connections are idle, some {idle * 10} MB of the server's memory",
                f"{pool.database}/{pool.user}",
                data={"idle": idle, "servers": pool.servers},
            )


class LoadLimits(Limits):
    """Knobs of pgbouncer.load-above-baseline, in transactions a second (S2 1.2)."""

    baseline: int = 500
    scale_percent: float = 60.0
    peak: int = 2000


@pooler_rule(
    "load-above-baseline",
    "console",
    Severity.INFO,
    needs="console",
    ok="The load is within what the documents plan for",
    bad="""
    ;; show stats: database=jobs avg_xact_count=700 avg_wait_time=0
    [databases]
    jobs = host=db
    [pgbouncer]
    """,
    good="""
    ;; show stats: database=jobs avg_xact_count=200 avg_wait_time=0
    [databases]
    jobs = host=db
    [pgbouncer]
    """,
    limits=LoadLimits,
)
def load_above_baseline(scene: Scene, limits: LoadLimits) -> Iterator[Verdict]:
    """More transactions run than the documents planned for.

    Why: S2 1.2 plans 500 transactions a second, scales at 60 % of that, and expects peaks of 2,000. The figure is the
    average of the last stats_period over all databases of this pooler process.

    Fix: the next tier of S0 7.3, or replicas for reading; if the hardware has room, set your own baseline in the
    policy.

    Not reported when: the load is at most limit `scale_percent` of `baseline`.

    See: S2 1.2.
    """
    rows = [r for r in live_of(scene).rows("stats") if r.get("database") not in ("pgbouncer", None)]
    load = sum(number(row, "avg_xact_count") for row in rows)
    scale = limits.baseline * limits.scale_percent / 100
    if load <= scale:
        return
    said = (
        f"over the peak of {limits.peak:,}"
        if load > limits.peak
        else f"over the baseline of {limits.baseline:,}"
        if load > limits.baseline
        else f"over {limits.scale_percent:g} % of the baseline of {limits.baseline:,}: time to scale"
    )
    yield Verdict(
        f"{load:,} transactions a second, {said} (S2 1.2)",
        "transactions",
        severity=Severity.WARN if load > limits.peak else Severity.INFO,
        data={"per_second": load},
    )
