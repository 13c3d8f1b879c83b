"""What the data itself says: sequences, constraints, the cache, and whether statements are counted."""

from __future__ import annotations

from dbkit.model import Severity
from dbkit.postgres.indexes.rules.declare import Limits, Size
from dbkit.postgres.settings.rules.declare import Verdict, Verdicts, setting_rule
from dbkit.postgres.settings.scene import Scene, Unseen
from dbkit.sizes import format_bytes

CATEGORY = "health"


class SequenceLimits(Limits):
    """Knobs of pg.sequence-near-end."""

    warn_percent: float = 60.0
    error_percent: float = 90.0


@setting_rule(
    "sequence-near-end",
    Severity.WARN,
    CATEGORY,
    ok="Every sequence has room",
    bad="""
    -- an integer key that is nearly used up
    create table t (id serial primary key);
    select setval('t_id_seq', 2000000000);
    """,
    good="""
    -- a bigint key
    create table t (id bigserial primary key);
    select setval('t_id_seq', 2000000000);
    """,
    limits=SequenceLimits,
    equivalents={
        "pghero": ("sequence_danger",),
        "postgres-checkup": ("L003",),
        "pg-index-health": ("SEQUENCE_OVERFLOW",),
    },
)
def sequence_near_end(scene: Scene, limits: SequenceLimits) -> Verdicts:
    """A sequence comes near the end of its column's type.

    Why: when it is reached every insert fails; changing the type of a large table takes long.

    Fix: change the column to bigint without downtime: `dbkit migrate new` writes the expand and contract steps.

    Not reported when: less than `warn_percent` is used; an error from `error_percent` on. Sequences this role may not
    read are named in the skip.

    See: the limit is that of the column, even where the sequence itself is bigint.
    """
    hidden: list[str] = []
    for row in scene.rows("sequences"):
        if not row["visible"]:
            hidden.append(row["name"])
            continue
        percent = 100 * (row["used"] or 0) / row["most"]
        if percent >= limits.warn_percent:
            yield Verdict(
                f"{row['name']} has used {percent:.0f} % of what {row['table_name']}.{row['column_name']} "
                f"({row['type']}) can hold: {row['most'] - row['used']:,} are left",
                row["name"],
                severity=Severity.ERROR if percent >= limits.error_percent else None,
                data={"used": row["used"], "most": row["most"], "percent": round(percent, 1)},
            )
    if hidden:
        raise Unseen(f'{", ".join(hidden)} cannot be read: grant select on sequence ... to "{scene.user}"')


@setting_rule(
    "constraint-not-validated",
    Severity.WARN,
    CATEGORY,
    ok="Every constraint is validated",
    bad="""
    -- added and forgotten
    create table t (a int);
    insert into t values (-1);
    alter table t add constraint positive check (a > 0) not valid;
    """,
    good="""
    -- added and validated
    create table t (a int);
    alter table t add constraint positive check (a > 0) not valid;
    alter table t validate constraint positive;
    """,
    equivalents={"pghero": ("invalid_constraints",), "pg-index-health": ("NOT_VALID_CONSTRAINTS",)},
)
def not_validated(scene: Scene) -> Verdicts:
    """A constraint was added NOT VALID and never validated: rows from before may break it.

    Why: the planner does not rely on it, and whoever reads the schema does.

    Fix: `alter table t validate constraint c`: it takes a lock that lets reads and writes go on; rows that break it are
    named by the error.

    Not reported when: it is validated. On 18 a NOT NULL constraint counts as well.

    See: S4 6.2, the second half of adding a constraint without downtime.
    """
    for row in scene.rows("unvalidated_constraints"):
        name = '"' + row["name"].replace('"', '""') + '"'
        yield Verdict(
            f"{row['table_name']}: constraint {row['name']} is not validated ({row['definition']})",
            f"{row['table_name']}.{row['name']}",
            fix=f"alter table {row['table_name']} validate constraint {name};",
        )


class CacheLimits(Limits):
    """Knobs of pg.cache-hits-low."""

    percent: float = 95.0
    min_reads: int = 1_000_000
    """Pages asked for, below which a share says nothing."""


@setting_rule(
    "cache-hits-low",
    Severity.INFO,
    CATEGORY,
    ok="Most pages are found in shared_buffers",
    bad="""
    -- policy: {min_reads: 1, percent: 100}
    create table t as select n from generate_series(1, 20000) n;
    -- restart
    select count(*) from t;
    -- until: select heap_blks_read > 0 from pg_statio_user_tables where relname = 't'
    """,
    good="""
    -- policy: {min_reads: 1, percent: 1}
    create table t as select n from generate_series(1, 20000) n;
    select count(*) from t;
    -- until: select heap_blks_hit > 0 from pg_statio_user_tables where relname = 't'
    """,
    limits=CacheLimits,
    equivalents={
        "pghero": ("index_hit_rate", "table_hit_rate"),
        "postgresqltuner": ("shared buffer hit rate",),
        "pg-extras": ("cache_hit",),
    },
)
def cache_hits_low(scene: Scene, limits: CacheLimits) -> Verdicts:
    """Many pages of tables or indexes are not found in shared_buffers.

    Why: each then comes from the system's cache, or from the disk.

    Fix: shared_buffers to a quarter of the memory, an index for statements that read whole tables, or more memory.

    Not reported when: fewer than `min_reads` pages were asked for, or `percent` are found. Reads from the system's
    cache count as misses here: with track_io_timing the time tells them apart.

    See: S2 5.2.
    """
    for row in scene.rows("cache_hits"):
        for kind in ("table", "index"):
            hits, reads = row[f"{kind}_hits"] or 0, row[f"{kind}_reads"] or 0
            if hits + reads < limits.min_reads or 100 * hits >= limits.percent * (hits + reads):
                continue
            yield Verdict(
                f"{100 * hits / (hits + reads):.1f} % of {kind} pages are found in shared_buffers "
                f"({scene.setting('shared_buffers').shown}; the database has {format_bytes(row['bytes'])})",
                f"{kind} pages",
                data={"hits": hits, "reads": reads},
            )


@setting_rule(
    "statements-not-counted",
    Severity.INFO,
    CATEGORY,
    ok="pg_stat_statements counts statements",
    bad="""
    -- loaded or not, it is not installed in this database
    select 1;
    """,
    good="""
    -- postgresql.conf: shared_preload_libraries = 'pg_stat_statements'
    -- restart
    create extension pg_stat_statements;
    """,
    equivalents={"pghero": ("query_stats_enabled",), "postgresqltuner": ("extension pg_stat_statements",)},
)
def not_counted(scene: Scene) -> Verdicts:
    """pg_stat_statements is not loaded, or not installed in this database.

    Why: which statements cost most, and which indexes would help, is then only known from the log.

    Fix: shared_preload_libraries (a restart), then `create extension pg_stat_statements`.

    Not reported when: it is both loaded and installed.

    See: S0 4.4 and S2 4.1; `dbkit query report` and `index advise` read it.
    """
    for row in scene.rows("extensions"):
        if row["name"] != "pg_stat_statements" or (row["loaded"] and row["installed"]):
            continue
        lacks = "not loaded (shared_preload_libraries, a restart)" if not row["loaded"] else "not installed here"
        yield Verdict(
            f"pg_stat_statements is {lacks}",
            "pg_stat_statements",
            fix=("" if row["loaded"] else "-- after a restart with it in shared_preload_libraries:\n")
            + "create extension if not exists pg_stat_statements;",
        )


class BufferLimits(Limits):
    """Knobs of pg.buffers-beyond-data."""

    min_bytes: Size = 2**30


@setting_rule(
    "buffers-beyond-data",
    Severity.INFO,
    CATEGORY,
    ok="The data fills the shared_buffers",
    bad="""
    -- policy: {min_bytes: 1MB}
    create table t (a int);
    """,
    good="""
    -- policy: {min_bytes: 1TB}
    create table t (a int);
    """,
    limits=BufferLimits,
    equivalents={"postgresqltuner": ("shared_buffer is too big",)},
)
def buffers_beyond_data(scene: Scene, limits: BufferLimits) -> Verdicts:
    """shared_buffers is much larger than the database: memory lies idle.

    Why: the rest of it could be work_mem, or the system's.

    Fix: nothing urgent; mind it when the machine is small, or when other databases are meant to fill it.

    Not reported when: shared_buffers is below `min_bytes`, or the database is at least 70 % of it.

    See: postgresqltuner says the same from 70 % on; it counts all databases, this rule the one it is connected to.
    """
    for row in scene.rows("cache_hits"):
        buffers = scene.bytes("shared_buffers")
        if buffers >= limits.min_bytes and row["bytes"] < 0.7 * buffers:
            yield Verdict(
                f"this database has {format_bytes(row['bytes'])}, shared_buffers {format_bytes(buffers)}",
                "shared_buffers",
            )


RULES = (sequence_near_end, not_validated, cache_hits_low, not_counted, buffers_beyond_data)
