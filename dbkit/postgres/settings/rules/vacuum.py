"""Vacuum: whether dead rows go away, and transaction ids are frozen in time."""

from __future__ import annotations

from dbkit.model import Severity
from dbkit.postgres.indexes.rules.declare import Limits
from dbkit.postgres.settings.rules.declare import Change, Verdict, Verdicts, place, setting_rule
from dbkit.postgres.settings.scene import Scene

CATEGORY = "vacuum"
WRAPAROUND = 2**31 - 3_000_000
"""Transactions after which the server refuses to write."""


@setting_rule(
    "autovacuum-off",
    Severity.ERROR,
    CATEGORY,
    ok="Autovacuum runs, for every table",
    bad="autovacuum = off",
    good="autovacuum = on",
    equivalents={"postgresqltuner": ("autovacuum",), "pg_gather": ("autovacuum",)},
)
def autovacuum_off(scene: Scene) -> Verdicts:
    """Autovacuum is off, or cannot know which tables need it.

    Why: dead rows stay, tables and indexes grow, statistics go stale, and at last the server runs a vacuum against
    wraparound at the worst moment.

    Fix: set autovacuum and track_counts on; for a bulk load, switch it off for that table only, and on again after.

    Not reported when: both are on, and no table of more than 10,000 rows has autovacuum_enabled = false.

    See: S4 5.1 asks for regular VACUUM ANALYZE, which is what this does.
    """
    for name, words in (
        ("autovacuum", "dead rows stay, tables grow and statistics go stale"),
        ("track_counts", "autovacuum does not know which tables need it"),
    ):
        if not scene.on(name):
            yield Verdict(
                f"{name} is off: {words}",
                name,
                changes=(Change(name, "on"),),
                location=place(scene, name),
            )
    if not scene.live:
        return
    for row in scene.rows("vacuum_state"):
        if row["switched_off"] and (row["live"] + row["dead"]) > 10_000:
            yield Verdict(
                f"autovacuum is switched off for {row['name']} ({row['live']:,} rows, {row['dead']:,} dead)",
                row["name"],
                fix=f"alter table {row['name']} reset (autovacuum_enabled);",
                severity=Severity.WARN,
            )


@setting_rule(
    "autovacuum-throttled",
    Severity.WARN,
    CATEGORY,
    ok="Autovacuum may work fast enough",
    bad="autovacuum_vacuum_cost_delay = 20ms",
    good="autovacuum_vacuum_cost_delay = 2ms",
)
def autovacuum_throttled(scene: Scene) -> Verdicts:
    """Autovacuum is slowed down so much that it cannot keep up.

    Why: the limit is shared by all workers: more workers make each of them slower, not vacuum faster. 20ms was the
    default until 11 and comes from the time of slow disks.

    Fix: autovacuum_vacuum_cost_delay = 2ms, or a higher autovacuum_vacuum_cost_limit.

    Not reported when: at least 40,000 cost units a second may be spent (the default is 100,000).

    See: the manual, cost-based vacuum delay.
    """
    delay, limit = scene.number("autovacuum_vacuum_cost_delay"), scene.number("autovacuum_vacuum_cost_limit")
    delay = scene.number("vacuum_cost_delay") if delay < 0 else delay
    limit = scene.number("vacuum_cost_limit") if limit < 0 else limit
    if delay <= 0:
        return
    budget = limit * 1000 / delay
    if budget < 40_000:
        yield Verdict(
            f"all autovacuum workers together may spend {budget:,.0f} cost units a second ({limit:g} in {delay:g} ms), "
            "the default is 100,000: large tables are never cleaned",
            "autovacuum_vacuum_cost_delay",
            changes=(Change("autovacuum_vacuum_cost_delay", "2"),),
            location=place(scene, "autovacuum_vacuum_cost_delay"),
        )


@setting_rule(
    "autovacuum-workers-beyond-slots",
    Severity.WARN,
    CATEGORY,
    ok="Every autovacuum worker has a slot",
    bad="""
    # audit: --pg-version 18
    autovacuum_max_workers = 20
    """,
    good="""
    # audit: --pg-version 18
    autovacuum_max_workers = 5
    """,
)
def workers_beyond_slots(scene: Scene) -> Verdicts:
    """More autovacuum workers are wanted than there are slots, which the server only mentions in its log.

    Why: from 18 on autovacuum_max_workers can be changed by a reload, but only up to autovacuum_worker_slots.

    Fix: raise autovacuum_worker_slots, which needs a restart, or want fewer workers.

    Not reported when: the version has no slots (until 17).

    See: run on 18: the server starts with a WARNING.
    """
    if not scene.known("autovacuum_worker_slots"):
        return
    workers, slots = scene.number("autovacuum_max_workers"), scene.number("autovacuum_worker_slots")
    if workers > slots:
        yield Verdict(
            f"autovacuum_max_workers ({workers:g}) is above autovacuum_worker_slots ({slots:g}): only {slots:g} run",
            "autovacuum_max_workers",
            changes=(Change("autovacuum_worker_slots", f"{workers:g}"),),
            location=place(scene, "autovacuum_max_workers"),
        )


class FreezeLimits(Limits):
    """Knobs of pg.transaction-ids-run-out."""

    warn_percent: float = 25.0
    """Of the two thousand million transactions; anti-wraparound vacuums start at 10 % by default."""
    error_percent: float = 60.0


@setting_rule(
    "transaction-ids-run-out",
    Severity.WARN,
    CATEGORY,
    ok="Transaction ids are frozen in time",
    bad="""
    -- policy: {warn_percent: 0}
    create table t as select 1 a;
    """,
    good="""
    -- a young cluster
    create table t as select 1 a;
    """,
    limits=FreezeLimits,
    equivalents={"pghero": ("transaction_id_danger",), "postgres-checkup": ("F002",), "pg-extras": ("vacuum_stats",)},
)
def transaction_ids(scene: Scene, limits: FreezeLimits) -> Verdicts:
    """Transaction ids (or multixacts) of a database come near the point where the server refuses to write.

    Why: after some two thousand million transactions without a freeze the server stops taking writes to save the data.

    Fix: find what holds vacuum back (a long transaction, a prepared one, a slot, a standby with feedback), then
    `vacuum (freeze)` the oldest tables, which the finding's data name.

    Not reported when: less than `warn_percent` are used up; an error from `error_percent` on.

    See: pg_database.datfrozenxid, datminmxid.
    """
    rows = scene.rows("freeze_ages")
    oldest = [r["name"] for r in rows if r["kind"] == "table"]
    for row in rows:
        if row["kind"] != "database":
            continue
        age = max(row["age"], row["multixact_age"])
        percent = 100 * age / WRAPAROUND
        if percent <= limits.warn_percent:
            continue
        yield Verdict(
            f"database {row['name']} has used {percent:.0f} % of the transaction ids ({age:,}) since it was frozen",
            row["name"],
            severity=Severity.ERROR if percent > limits.error_percent else None,
            fix="vacuum (freeze, verbose); -- in that database, the oldest tables first",
            data={"age": age, "percent": round(percent, 1), "oldest_tables": list(oldest)},
        )


class BehindLimits(Limits):
    """Knobs of pg.vacuum-behind."""

    min_dead: int = 100_000
    """Dead rows below which nothing is said."""
    percent: float = 40.0
    """Dead rows as a share of all."""


@setting_rule(
    "vacuum-behind",
    Severity.WARN,
    CATEGORY,
    ok="No large table is full of dead rows",
    bad="""
    -- policy: {min_dead: 1000}
    create table t (a int) with (autovacuum_enabled = false);
    insert into t select generate_series(1, 5000);
    delete from t;
    -- until: select n_dead_tup > 4000 from pg_stat_user_tables where relname = 't'
    """,
    good="""
    -- policy: {min_dead: 1000}
    create table t (a int);
    insert into t select generate_series(1, 5000);
    """,
    limits=BehindLimits,
    equivalents={"pghero": ("autovacuum_danger",), "pg-extras": ("vacuum_stats",), "postgres-checkup": ("F003",)},
)
def vacuum_behind(scene: Scene, limits: BehindLimits) -> Verdicts:
    """A table holds many dead rows that vacuum has not removed.

    Why: every scan reads them, and the room they take is rarely given back.

    Fix: look for the oldest transaction, slot or prepared transaction that holds vacuum back; then make autovacuum
    start earlier on that table: `alter table t set (autovacuum_vacuum_scale_factor = 0.02)`.

    Not reported when: there are fewer than `min_dead`, or less than `percent` of the rows are dead.

    See: pg_stat_user_tables.n_dead_tup, an estimate.
    """
    for row in scene.rows("vacuum_state"):
        live, dead = row["live"], row["dead"]
        if dead >= limits.min_dead and dead * 100 >= limits.percent * (live + dead):
            when = f"{row['vacuumed']:%Y-%m-%d %H:%M}" if row["vacuumed"] else "never"
            yield Verdict(
                f"{row['name']} holds {dead:,} dead rows beside {live:,} live ones; last vacuumed: {when}",
                row["name"],
                fix=f"vacuum (verbose, analyze) {row['name']};",
                data={"dead": dead, "live": live},
            )


RULES = (autovacuum_off, autovacuum_throttled, workers_beyond_slots, transaction_ids, vacuum_behind)
