"""B-trees that take much more room than their entries need."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Severity
from dbkit.postgres.indexes.rules import remedies
from dbkit.postgres.indexes.rules.declare import Blind, Limits, Size, Verdict, index_rule
from dbkit.postgres.indexes.rules.scene import Fill, Scene
from dbkit.sizes import format_bytes


class BloatLimits(Limits):
    """Knobs of pg.index-bloated."""

    min_percent: float = 50.0
    """At least this share of the index must be wasted, by the cautious end of the estimate."""
    min_bytes: Size = 32 * 2**20
    """At least this much must be wasted."""
    measure_up_to: Size = 256 * 2**20
    """Suspects up to this size are read whole by pgstattuple where it is installed and allowed; 0 never reads."""


@index_rule(
    "index-bloated",
    Severity.WARN,
    ok="No b-tree wastes much room",
    bad="""
    -- policy: {min_bytes: 1MB}
    create table t (id bigint, a int) with (autovacuum_enabled = off);
    create index t_a on t (a);
    insert into t select n, n from generate_series(1, 200000) n;
    delete from t where id % 10 <> 0;
    vacuum t;
    analyze t;
    """,
    good="""
    -- policy: {min_bytes: 1MB}
    create table t (id bigint, a int) with (autovacuum_enabled = off);
    insert into t select n, n % 20 from generate_series(1, 200000) n;
    create index t_id on t (id);
    create index t_a on t (a);
    analyze t;
    """,
    equivalents={
        "pg-index-health": ("BLOATED_INDEXES",),
        "pghero": ("index_bloat",),
        "postgres-checkup": ("F005",),
        "pg-extras": ("bloat",),
    },
    limits=BloatLimits,
)
def bloated(scene: Scene, limits: BloatLimits) -> Iterator[Verdict | Blind]:
    """A b-tree takes much more room than its entries need.

    Why: pages left half empty by deletes and updates are read, cached and backed up like full ones.

    Fix: REINDEX INDEX CONCURRENTLY, which needs room for the new copy beside the old one; then ask why: a queue table
    wants a lower autovacuum_vacuum_scale_factor, an old transaction keeps VACUUM from working at all.

    Not reported when: less than `min_percent` or `min_bytes` is wasted even by the cautious end of the estimate. The
    estimate comes from column statistics: it is off where rows are skewed in width and, since equal keys are stored
    once, the finding gives a range. With pgstattuple suspects are measured instead. Only b-trees without a predicate
    are judged; without SELECT on the table or ANALYZE there is no estimate, which is a skip.

    See: the extension pgstattuple, "Routine Reindexing" in the PostgreSQL manual.
    """
    for index in scene.indexes:
        fill = scene.fills.get(index.oid)
        if fill is None or not index.is_valid:
            continue
        least, most = wasted(index.bytes, fill)
        if least < limits.min_bytes or 100 * least < limits.min_percent * index.bytes:
            continue
        yield Verdict(
            f"{_share(least, most, index.bytes)} of {format_bytes(index.bytes)} on {index.table} holds no entries, "
            + _source(fill),
            index.qualified,
            severity=Severity.WARN,
            remedy=remedies.reindex(index, note=f"needs about {format_bytes(fill.high)} beside the old index"),
            data={
                "bytes": least,
                "size": index.bytes,
                "wasted_at_least": least,
                "wasted_at_most": most,
                "measured": fill.measured is not None,
            },
        )
    if scene.fills_hidden:
        yield Blind("; ".join(scene.fills_hidden))


def wasted(size: int, fill: Fill) -> tuple[int, int]:
    """Bytes without entries, at least and at most."""
    if fill.measured is not None:
        exact = max(0, round(size * (1 - fill.measured)))
        return exact, exact
    return max(0, size - fill.high), max(0, size - fill.low)


def suspicious(size: int, fill: Fill, limits: BloatLimits) -> bool:
    """Whether the estimate alone would be a finding: worth a measurement."""
    least, _ = wasted(size, fill)
    return least >= limits.min_bytes and 100 * least >= limits.min_percent * size


def _share(least: int, most: int, size: int) -> str:
    low, high = round(100 * least / size), round(100 * most / size)
    return f"{low} %" if low == high else f"{low} to {high} %"


def _source(fill: Fill) -> str:
    if fill.measured is not None:
        return "measured by pgstattuple"
    when = f" of {fill.analyzed:%Y-%m-%d %H:%M}" if fill.analyzed else ""
    return f"estimated from the statistics{when}"
