"""Memory: whether what is configured can be taken at the same time."""

from __future__ import annotations

from dbkit.model import Severity
from dbkit.postgres.indexes.rules.declare import Limits
from dbkit.postgres.settings import compare, memory
from dbkit.postgres.settings.rules.declare import Change, Verdict, Verdicts, place, setting_rule
from dbkit.postgres.settings.scene import Scene, Unseen
from dbkit.sizes import format_bytes


class OvercommitLimits(Limits):
    """Knobs of pg.memory-overcommit."""

    active_percent: float = 50.0
    """How many of the connections run a statement with a sort at the same busy moment."""


@setting_rule(
    "memory-overcommit",
    Severity.WARN,
    "memory",
    ok="What all sessions may take at the same time fits the memory",
    bad="""
    # audit: --memory 16GB --cpus 4
    shared_buffers = 4GB
    work_mem = 256MB
    maintenance_work_mem = 1GB
    max_connections = 200
    """,
    good="""
    # audit: --memory 16GB --cpus 4
    shared_buffers = 4GB
    work_mem = 9MB
    maintenance_work_mem = 1GB
    max_connections = 200
    """,
    limits=OvercommitLimits,
    equivalents={
        "postgresqltuner": ("Memory usage",),
        "postgres-checkup": ("G001",),
        "pg_gather": ("work_mem",),
        "pgtune": ("work_mem",),
    },
)
def overcommit(scene: Scene, limits: OvercommitLimits) -> Verdicts:
    """The sessions together may take more memory than the machine has.

    Why: work_mem is for each sort and each hash of each session and of each parallel worker, and a hash takes
    hash_mem_multiplier times as much. When the memory is gone the system kills a process, and PostgreSQL restarts all
    sessions.

    Fix: lower work_mem to the value that the sum leaves (a role that needs more can have it: `alter role report set
    work_mem = ...`), or have fewer connections behind a pooler.

    Not reported when: the worst case fits the memory. An error when already a busy moment does not: the connections of
    the pools of the same run (a running pooler's as SHOW POOLS has them, or those of each --pgbouncer-ini), else half
    of max_connections (`active_percent`), or what is open at the moment if that is more, with one sort each, and half
    of the autovacuum workers.

    See: the sum is part of the finding. S2 5.2 counts 10 MB for a connection. S0's and S4's 256MB are judged here.
    """
    if scene.size.memory is None:
        raise Unseen("how much fits depends on the machine: give --memory 16GB, or write memory into the target")
    worst, likely = memory.worst(scene), memory.likely(scene, limits.active_percent)
    room = scene.size.memory
    if worst.bytes <= room:
        return
    safe = compare.names(scene)["safe_work_mem"] or 0
    over = likely.bytes > room
    change, advice = _cure(scene, safe)
    yield Verdict(
        f"the machine has {format_bytes(room)}; at the worst {worst.words}; at a busy moment {likely.words}: "
        f"{'even that does not fit' if over else 'that fits, the worst case does not'}; {advice}",
        change.name if change else "work_mem",
        changes=(change,) if change else (),
        severity=Severity.ERROR if over else None,
        location=place(scene, change.name if change else "work_mem"),
        data={
            "worst_bytes": int(worst.bytes),
            "likely_bytes": int(likely.bytes),
            "memory_bytes": room,
            "safe_work_mem_bytes": int(safe),
            "worst": worst.words,
            "likely": likely.words,
        },
    )


def _cure(scene: Scene, safe: float) -> tuple[Change | None, str]:
    """The one setting that makes the worst case fit, and the words for it."""
    if safe >= memory.LEAST_WORK_MEM and safe < scene.bytes("work_mem"):
        whole = int(safe // 2**20)
        return Change("work_mem", str(whole * 1024)), f"work_mem = {whole}MB would fit"
    most = memory.safe_connections(scene)
    if most >= memory.LEAST_CONNECTIONS and most < scene.number("max_connections"):
        words = f"with work_mem = 4MB, max_connections = {most} would fit: put a pooler in front"
        return Change("max_connections", str(most)), words
    return None, "smaller shared_buffers, fewer connections or a larger machine"


@setting_rule(
    "memory-activity-texts",
    Severity.INFO,
    "memory",
    ok="The texts of running statements take little shared memory",
    bad="""
    # audit: --memory 1GB
    track_activity_query_size = 1MB
    """,
    good="""
    # audit: --memory 1GB
    track_activity_query_size = 4kB
    """,
    equivalents={"postgresqltuner": ("track_activity_query_size",)},
)
def activity_texts(scene: Scene) -> Verdicts:
    """Room for the texts of running statements takes more than a hundredth of the memory.

    Why: track_activity_query_size is reserved for every process that may ever run, and read by everyone who looks at
    pg_stat_activity.

    Fix: lower track_activity_query_size; 4kB shows most statements whole.

    Not reported when: the memory is unknown, or it is below one per cent of it.

    See: postgresqltuner counts the same.
    """
    if scene.size.memory is None:
        raise Unseen("how much fits depends on the machine: give --memory 16GB, or write memory into the target")
    processes = sum(scene.number(n) for n in ("max_connections", "autovacuum_max_workers", "max_worker_processes"))
    taken = processes * scene.bytes("track_activity_query_size")
    if taken > scene.size.memory / 100:
        yield Verdict(
            f"track_activity_query_size = {scene.setting('track_activity_query_size').shown} reserves "
            f"{format_bytes(taken)} for {processes:g} processes",
            "track_activity_query_size",
            changes=(Change("track_activity_query_size", "4096"),),
            location=place(scene, "track_activity_query_size"),
        )


RULES = (overcommit, activity_texts)
