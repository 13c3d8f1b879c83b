"""Connections and workers: whether there are enough, kept for the right people, and within each other's limits."""

from __future__ import annotations

from dbkit.model import Severity
from dbkit.postgres.indexes.rules.declare import Limits
from dbkit.postgres.settings.rules.declare import Change, Verdict, Verdicts, place, setting_rule
from dbkit.postgres.settings.scene import Scene
from dbkit.sizes import format_seconds

CATEGORY = "connection"


@setting_rule(
    "reserve-unfit",
    Severity.WARN,
    CATEGORY,
    ok="A few connections are kept for superusers",
    bad="superuser_reserved_connections = 0",
    good="superuser_reserved_connections = 3",
    equivalents={"postgresqltuner": ("superuser_reserved_connections",)},
)
def reserve_unfit(scene: Scene) -> Verdicts:
    """No connection, or too many, are kept for superusers.

    Why: when the application has taken them all, nobody can connect to see why; more than a fifth kept back is missing
    every day.

    Fix: superuser_reserved_connections = 3, which needs a restart; reserved_connections (from 16 on) keeps some for
    the members of pg_use_reserved_connections, such as monitoring.

    Not reported when: at least one and at most a fifth is kept.

    See: S0 6.3 alerts on the last five.
    """
    kept, most = scene.number("superuser_reserved_connections"), scene.number("max_connections")
    if kept == 0 or kept > most / 5:
        yield Verdict(
            f"superuser_reserved_connections is {kept:g} of max_connections {most:g}: "
            f"{'nobody can look when all are taken' if kept == 0 else 'over a fifth is kept back'}; needs a restart",
            "superuser_reserved_connections",
            changes=(Change("superuser_reserved_connections", "3"),),
            location=place(scene, "superuser_reserved_connections"),
        )


@setting_rule(
    "workers-beyond-processes",
    Severity.WARN,
    CATEGORY,
    ok="Every parallel worker that is allowed can be started",
    bad="""
    max_worker_processes = 4
    max_parallel_workers = 16
    """,
    good="""
    max_worker_processes = 16
    max_parallel_workers = 16
    """,
    equivalents={"timescaledb-tune": ("parallelism",)},
)
def workers_beyond_processes(scene: Scene) -> Verdicts:
    """More parallel workers are allowed than there are worker processes, which the server accepts without a word.

    Why: plans are made for workers that never come; logical replication and background workers take from the same pool.

    Fix: raise max_worker_processes, which needs a restart, or lower max_parallel_workers.

    Not reported when: max_parallel_workers is at most max_worker_processes.

    See: run on 15 and 18: no warning.
    """
    workers, processes = scene.number("max_parallel_workers"), scene.number("max_worker_processes")
    if workers > processes:
        yield Verdict(
            f"max_parallel_workers ({workers:g}) is above max_worker_processes ({processes:g}): the others never start",
            "max_parallel_workers",
            changes=(Change("max_worker_processes", f"{workers:g}"),),
            location=place(scene, "max_parallel_workers"),
        )
    gather = scene.number("max_parallel_workers_per_gather")
    if gather > workers:
        yield Verdict(
            f"max_parallel_workers_per_gather ({gather:g}) is above max_parallel_workers ({workers:g})",
            "max_parallel_workers_per_gather",
            changes=(Change("max_parallel_workers_per_gather", f"{workers:g}"),),
            location=place(scene, "max_parallel_workers_per_gather"),
        )


@setting_rule(
    "wal-sizes-inverted",
    Severity.WARN,
    CATEGORY,
    ok="min_wal_size is below max_wal_size",
    bad="""
    min_wal_size = 4GB
    max_wal_size = 1GB
    """,
    good="""
    min_wal_size = 1GB
    max_wal_size = 4GB
    """,
)
def wal_sizes_inverted(scene: Scene) -> Verdicts:
    """min_wal_size is above max_wal_size, which the server accepts without a word.

    Why: the two were probably mistaken for each other; checkpoints then come as often as the small one says.

    Fix: exchange them.

    Not reported when: min_wal_size is at most max_wal_size.

    See: run on 15 and 18: no warning.
    """
    if scene.number("min_wal_size") > scene.number("max_wal_size"):
        low, high = scene.setting("max_wal_size"), scene.setting("min_wal_size")
        yield Verdict(
            f"min_wal_size ({high.shown}) is above max_wal_size ({low.shown})",
            "min_wal_size",
            changes=(Change("min_wal_size", low.value), Change("max_wal_size", high.value)),
            location=place(scene, "min_wal_size"),
        )


class BandLimits(Limits):
    """Knobs of pg.connections-near-limit, in per cent of what the application may take (S2 1.4)."""

    warn_percent: float = 75.0
    error_percent: float = 85.0


@setting_rule(
    "connections-near-limit",
    Severity.WARN,
    CATEGORY,
    ok="Connections are within the documented band",
    bad="""
    -- policy: {warn_percent: 0, error_percent: 99}
    -- session: select 1;
    """,
    good="""
    -- only the auditor is there
    select 1;
    """,
    limits=BandLimits,
    equivalents={
        "postgresqltuner": ("current connections",),
        "pghero": ("total_connections",),
        "pg_gather": ("connections",),
    },
)
def near_limit(scene: Scene, limits: BandLimits) -> Verdicts:
    """The open connections come near the limit.

    Why: S2 1.4 aims at 60-70 %, scales above 75 % and allows 85 % at most; S0 6.3 calls fewer than five free ones
    critical. At the limit every new client is refused.

    Fix: a pooler in front (S0 4.2), fewer connections per instance (S2 4.3 begins with 10), or a higher max_connections
    if the memory sum allows.

    Not reported when: the share is at or below `warn_percent`; reserved connections do not count as free.

    See: S2 1.4, S0 6.3.
    """
    used = sum(not row["mine"] for row in scene.rows("sessions"))
    kept = scene.number("superuser_reserved_connections")
    kept += scene.number("reserved_connections") if scene.known("reserved_connections") else 0
    room = scene.number("max_connections") - kept
    percent, free = 100 * used / room, room - used
    if percent > limits.warn_percent or free < 5:
        yield Verdict(
            f"{used} of {room:g} connections are taken ({percent:.0f} %), {free:g} are free; the aim is 60-70 %",
            "max_connections",
            severity=Severity.ERROR if percent > limits.error_percent or free < 5 else None,
            data={"used": used, "available": int(room), "percent": round(percent, 1)},
        )


class AgeLimits(Limits):
    """Knobs of pg.connections-short-lived."""

    seconds: float = 60.0
    """The average age below which connections count as short-lived."""
    min_sessions: int = 10


@setting_rule(
    "connections-short-lived",
    Severity.INFO,
    CATEGORY,
    ok="Connections are kept and used again",
    bad="""
    -- policy: {seconds: 3600, min_sessions: 1}
    -- session: select 1;
    """,
    good="""
    -- policy: {seconds: 0, min_sessions: 1}
    -- session: select 1;
    """,
    limits=AgeLimits,
    equivalents={"postgresqltuner": ("average connection age",)},
)
def short_lived(scene: Scene, limits: AgeLimits) -> Verdicts:
    """Connections live so short that making them costs more than the work they do.

    Why: each new connection is a process, a login and empty caches.

    Fix: a pool in the application, or PgBouncer (S0 4.2).

    Not reported when: there are fewer than `min_sessions`, or they are older than `seconds` on average.

    See: S0 5.4 answered its connection bottleneck with PgBouncer.
    """
    ages = [float(row["age"] or 0) for row in scene.rows("sessions") if not row["mine"]]
    if len(ages) >= limits.min_sessions and sum(ages) / len(ages) < limits.seconds:
        yield Verdict(
            f"{len(ages)} sessions are {format_seconds(sum(ages) / len(ages))} old on average: they are not kept",
            "connections",
        )


RULES = (reserve_unfit, workers_beyond_processes, wal_sizes_inverted, near_limit, short_lived)
