"""The documented settings: what the policy wants, held against what is there."""

from __future__ import annotations

from dbkit.model import Location, Severity
from dbkit.postgres.conf.values import InvalidValue, canonical, written
from dbkit.postgres.settings import compare
from dbkit.postgres.settings.documents import Wish
from dbkit.postgres.settings.formulas import Unknown
from dbkit.postgres.settings.rules.declare import Change, Verdict, Verdicts, setting_rule
from dbkit.postgres.settings.scene import Held, Scene, Unseen


@setting_rule(
    "setting-off-policy",
    Severity.WARN,
    "policy",
    ok="Every setting the policy names is as it wants it",
    bad="""
    # audit: --memory 16GB --cpus 4
    shared_buffers = 128MB
    """,
    good="""
    # audit: --memory 16GB --cpus 4 --storage ssd
    shared_buffers = 4GB
    effective_cache_size = 12GB
    work_mem = 9MB
    maintenance_work_mem = 1GB
    max_connections = 200
    checkpoint_timeout = 15min
    max_wal_size = 4GB
    min_wal_size = 1GB
    random_page_cost = 1.1
    effective_io_concurrency = 200
    maintenance_io_concurrency = 200
    max_parallel_workers = 4
    max_parallel_workers_per_gather = 2
    max_parallel_maintenance_workers = 2
    jit = off
    log_min_duration_statement = 1s
    log_checkpoints = on
    log_connections = on
    log_disconnections = on
    log_lock_waits = on
    log_temp_files = 10MB
    track_io_timing = on
    wal_compression = on
    shared_preload_libraries = 'pg_stat_statements'
    idle_in_transaction_session_timeout = 5min
    """,
    equivalents={
        "pgtune": ("shared_buffers", "effective_cache_size", "maintenance_work_mem", "work_mem", "wal_buffers",
                   "min_wal_size", "max_wal_size", "checkpoint_completion_target", "random_page_cost",
                   "effective_io_concurrency", "default_statistics_target", "huge_pages", "max_worker_processes",
                   "max_parallel_workers", "max_parallel_workers_per_gather", "max_parallel_maintenance_workers",
                   "jit"),
        "postgresqltuner": ("maintenance_work_mem", "checkpoint_completion_target", "log_min_duration_statement",
                            "extension pg_stat_statements"),
        "pghero": ("settings",),
        "pg_gather": ("params",),
        "timescaledb-tune": ("memory", "parallelism", "wal", "misc"),
    },
)  # fmt: skip
def off_policy(scene: Scene) -> Verdicts:
    """A setting is not what the documents (or your own file of wanted settings) want.

    Why: each entry of policies/postgres.yaml says why, by whose word, and where it deviates from the document.

    Fix: `--fix FILE.json` makes a plan for `dbkit apply`, `.sql` an ALTER SYSTEM script, `.patch` a patch of the file,
    `.sh` the commands of a managed service. A setting that needs a restart says so.

    Not reported when: it is within what the policy accepts, or the formula needs the machine's memory or CPUs and
    nobody gave them (a skip says which).

    See: S0 4.1 and 7.3, S2 4.1 and 4.3, S4 5.1; your own values: `--settings FILE`, or `settings` of a target, with
    `extends: postgres`.
    """
    known = compare.names(scene)
    lacking: dict[str, list[str]] = {}
    hidden: list[str] = []
    for name, wish in scene.wanted.wishes.items():
        if not scene.known(name):
            continue
        try:
            held = scene.setting(name)
            if not compare.applies(wish, scene, known):
                continue
            difference = compare.differs(wish, scene, held, known)
        except Unknown as unknown:
            lacking.setdefault(str(unknown), []).append(name)
        except (Unseen, ValueError):
            hidden.append(name)
        else:
            if difference is not None:
                yield _verdict(scene, held, wish, difference)
    missing = " and ".join(sorted({"memory" if n == "safe_work_mem" else n for n in lacking}))
    if missing:
        names = sorted(n for group in lacking.values() for n in group)
        flags = missing.replace("memory", "--memory 16GB").replace("cpus", "--cpus 4").replace(" and ", " ")
        raise Unseen(f"{', '.join(names)} depend on the machine: give {flags}, or write it into the target")
    if hidden and scene.live:
        raise Unseen(f'{", ".join(hidden)} are not visible to this role: grant pg_read_all_settings to "{scene.user}"')


def _verdict(scene: Scene, held: Held, wish: Wish, difference: compare.Difference) -> Verdict:
    parameter = held.parameter
    name = parameter.name
    want = written(parameter, difference.want)
    where = " by default" if held.is_default and held.file is None else ""
    document = ""
    if wish.document is not None and _canonical(held, wish.document) != difference.want:
        document = f"; the document says {wish.document}"
        sized = " for its machine of 16 GB and 4 CPUs" if parameter.kind in ("integer", "real") else ""
        document += f": {wish.deviates}" if wish.deviates else sized
    others = f", {difference.accepted} will do" if difference.accepted != want else ""
    if difference.accepted.startswith(f"{want} or "):
        others = f"; {difference.accepted.removeprefix(f'{want} or ')} will do"
    restart = "; needs a restart" if parameter.needs_restart else ""
    message = (
        f"{name} is {held.shown or 'empty'}{where}, wanted is {want}{others} ({wish.origin}): "
        f"{wish.why}{document}{restart}"
    )
    line = scene.wanted.places.get(name.lower()) or scene.wanted.places.get(name)
    location = Location(held.file, held.line) if held.file and not scene.live else None
    if location is None:
        location = Location(*line) if line else None
    return Verdict(
        message,
        name,
        changes=(Change(name, difference.want),),
        severity=wish.severity,
        location=location,
        data={
            "value": held.value,
            "want": difference.want,
            "accepted": difference.accepted,
            "unit": parameter.unit,
            "origin": wish.origin,
            "document": wish.document,
            "restart": parameter.needs_restart,
        },
    )


def _canonical(held: Held, text: str) -> str:
    try:
        return canonical(held.parameter, text)
    except InvalidValue:
        return text


RULES = (off_policy,)
