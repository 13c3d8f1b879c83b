"""What the console shows at this moment: queues, full pools, and databases that somebody stopped."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Severity
from dbkit.pgbouncer.live import Pool, number
from dbkit.pgbouncer.rules.declare import Limits, Verdict, pooler_rule
from dbkit.pgbouncer.rules.seen import live_of
from dbkit.pgbouncer.scene import Pooled, Scene
from dbkit.sizes import format_seconds


class WaitLimits(Limits):
    """Knobs of pgbouncer.clients-wait."""

    warn_seconds: float = 1.0
    error_seconds: float = 5.0
    """The documents' own timeouts leave 10 s for a whole query (S3 4.6)."""


@pooler_rule(
    "clients-wait",
    "console",
    Severity.WARN,
    needs="console",
    ok="No client waits for a server connection",
    bad="""
    ;; show pools: database=jobs user=app cl_active=25 cl_waiting=12 sv_active=25 maxwait=7
    [databases]
    jobs = host=db
    [pgbouncer]
    default_pool_size = 25
    """,
    good="""
    ;; show pools: database=jobs user=app cl_active=25 cl_waiting=0 sv_active=20 sv_idle=5 maxwait=0
    [databases]
    jobs = host=db
    [pgbouncer]
    default_pool_size = 25
    """,
    limits=WaitLimits,
    equivalents={
        "pgbouncer_exporter": ("pgbouncer_pools_client_waiting_connections", "pgbouncer_pools_client_maxwait_seconds")
    },
)
def clients_wait(scene: Scene, limits: WaitLimits) -> Iterator[Verdict]:
    """Clients stand in the queue of a pool.

    Why: all server connections of the pool are taken. Either transactions are long (idle in transaction, slow
    queries), or the pool is too small for the load. maxwait is the age of the oldest wait, the figure to alert on.

    Fix: look for long transactions first (`dbkit doctor` on the server); then raise default_pool_size within the
    server's share. A queue that is always there needs faster queries, not more connections.

    Not reported when: the oldest wait is shorter than limit `warn_seconds`.

    See: pgbouncer.pool-over-server before raising a pool.
    """
    for pool in live_of(scene).pools:
        if pool.waiting and pool.maxwait >= limits.warn_seconds:
            yield Verdict(
                f"{pool.waiting} clients wait, the oldest for {format_seconds(pool.maxwait)}; "
                f"{pool.server_active} server connections are busy, {pool.server_idle} idle",
                _named(pool),
                severity=Severity.ERROR if pool.maxwait >= limits.error_seconds else Severity.WARN,
                hint=_why_waiting(scene, pool),
                data={"waiting": pool.waiting, "maxwait": pool.maxwait, "active": pool.server_active},
            )


def _why_waiting(scene: Scene, pool: Pool) -> str:
    row = next((r for r in live_of(scene).databases if r.get("name") == pool.database), None)
    if row is not None and (number(row, "paused") or number(row, "disabled")):
        return f"RESUME {pool.database}; and ENABLE it, if it is disabled"
    if row is not None and 0 < number(row, "max_connections") <= number(row, "current_connections"):
        return "max_db_connections is reached: other users' pools of this database hold the rest"
    if pool.server_idle:
        return ""
    if pool.servers == 0:
        return "there is no server connection: can the server be reached, and does it take the login?"
    return "look for long transactions on the server, then for the pool's size"


class AvailableLimits(Limits):
    """Knobs of pgbouncer.pool-nearly-full."""

    available: int = 5
    """S0 6.3: fewer available pool connections for 5 minutes is critical."""


@pooler_rule(
    "pool-nearly-full",
    "console",
    Severity.WARN,
    needs="console",
    ok="Every pool has connections to spare",
    bad="""
    ;; show pools: database=jobs user=app cl_active=22 sv_active=22 sv_idle=0
    [databases]
    jobs = host=db
    [pgbouncer]
    default_pool_size = 25
    """,
    good="""
    ;; show pools: database=jobs user=app cl_active=15 sv_active=15 sv_idle=5
    [databases]
    jobs = host=db
    [pgbouncer]
    default_pool_size = 25
    """,
    limits=AvailableLimits,
)
def pool_nearly_full(scene: Scene, limits: AvailableLimits) -> Iterator[Verdict]:
    """A pool has fewer than five connections left.

    Why: S0 6.3 alerts on fewer than 5 available connections for 5 minutes. This is one moment: run it twice, or alert
    on pool_size less sv_active from SHOW POOLS.

    Fix: as for waiting clients: shorter transactions, then a larger pool within the server's share.

    Not reported when: limit `available` or more are left. Pools smaller than twice that are measured by half their
    size.

    See: pgbouncer.clients-wait.
    """
    for pool in live_of(scene).pools:
        held = _database(scene, pool.database)
        if held is None or held.pool_size <= 0:
            continue
        left = held.pool_size - pool.busy
        wanted = min(limits.available, held.pool_size // 2)
        if left < wanted:
            yield Verdict(
                f"{max(left, 0)} of {held.pool_size} connections are left at this moment, fewer than {wanted} (S0 6.3)",
                _named(pool),
                severity=Severity.ERROR if left <= 0 and pool.waiting else Severity.WARN,
                data={"available": left, "pool_size": held.pool_size},
            )


class AverageLimits(Limits):
    """Knobs of pgbouncer.wait-average."""

    milliseconds: float = 10.0


@pooler_rule(
    "wait-average",
    "console",
    Severity.WARN,
    needs="console",
    ok="Clients get a connection at once, over the last period",
    bad="""
    ;; show stats: database=jobs total_xact_count=10000 avg_xact_count=100 avg_wait_time=90000 avg_xact_time=20000
    [databases]
    jobs = host=db
    [pgbouncer]
    """,
    good="""
    ;; show stats: database=jobs total_xact_count=10000 avg_xact_count=100 avg_wait_time=40 avg_xact_time=2000
    [databases]
    jobs = host=db
    [pgbouncer]
    """,
    limits=AverageLimits,
)
def wait_average(scene: Scene, limits: AverageLimits) -> Iterator[Verdict]:
    """Clients waited for connections during the last statistics period.

    Why: avg_wait_time counts the waiting of each second of the last stats_period (60 s), which a single look at the
    queue misses. A healthy pool shows microseconds.

    Fix: as for waiting clients. If avg_xact_time is much longer than avg_query_time, transactions sit idle between
    statements: that is the application's to mend.

    Not reported when: the figure is below limit `milliseconds`.

    See: https://www.pgbouncer.org/usage.html#show-stats
    """
    for row in live_of(scene).rows("stats"):
        waited = number(row, "avg_wait_time")
        if row.get("database") not in ("pgbouncer", None) and waited > limits.milliseconds * 1000:
            yield Verdict(
                f"clients waited {format_seconds(waited / 1e6)} for connections in each second of the last period; a "
                f"transaction takes {format_seconds(number(row, 'avg_xact_time') / 1e6)}, "
                f"{number(row, 'avg_xact_count')} a second",
                row.get("database") or "",
                data={"avg_wait_us": waited, "avg_xact_us": number(row, "avg_xact_time")},
            )


@pooler_rule(
    "database-paused",
    "console",
    Severity.ERROR,
    needs="console",
    ok="No database is paused or disabled",
    bad="""
    ;; show databases: name=jobs host=db port=5432 pool_size=20 paused=1 disabled=0
    [databases]
    jobs = host=db
    [pgbouncer]
    """,
    good="""
    ;; show databases: name=jobs host=db port=5432 pool_size=20 paused=0 disabled=0
    [databases]
    jobs = host=db
    [pgbouncer]
    """,
)
def database_paused(scene: Scene) -> Iterator[Verdict]:
    """A database is paused or disabled.

    Why: PAUSE and DISABLE outlive the console session that gave them; after a failed switch-over nobody remembers.
    Clients of a paused database wait until query_wait_timeout, those of a disabled one are refused.

    Fix: RESUME name, ENABLE name.

    Not reported when: both flags are 0.

    See: https://www.pgbouncer.org/usage.html#process-controlling-commands
    """
    for row in live_of(scene).databases:
        for column, command in (("paused", "RESUME"), ("disabled", "ENABLE")):
            if number(row, column):
                name = row.get("name") or ""
                yield Verdict(f"the database is {column}", name, hint=f"{command} {name}", key=column)


def _named(pool: Pool) -> str:
    return f"{pool.database}/{pool.user}"


def _database(scene: Scene, name: str) -> Pooled | None:
    return next((d for d in scene.config.databases if d.name == name), None)
