"""Partitions made, detached and dropped without stopping the parent."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.rules.declare import (
    AX,
    BRIEF,
    ERROR,
    INFO,
    SCANS,
    WARN,
    also,
    hazard,
)


@hazard(
    "migrate.detach-partition",
    on=a.DetachPartition,
    category="lock",
    severity=ERROR,
    lock=f"{AX} on the parent, the partition and the default partition",
    cost=BRIEF,
    versions="CONCURRENTLY from 14, not with a default partition",
    ok="Every partition is detached concurrently",
    bad="alter table m detach partition m1;",
    good="alter table m detach partition m1 concurrently;",
    known=also(
        "require-concurrent-partition-detach",
        pgls="requireConcurrentDetachPartition",
        pgsafe="detach-partition-non-concurrent",
    ),
)
def detach(ctx: Context, action: a.DetachPartition) -> Iterator[Hazard]:
    """DETACH PARTITION locks the whole partitioned table against reads and writes.

    Why: ACCESS EXCLUSIVE on the parent waits for every query of any partition, and everything new queues behind.

    Fix: DETACH PARTITION ... CONCURRENTLY (from 14), outside a transaction. It is refused where a default partition
    exists: then a short lock_timeout with retries is what remains. The detached table keeps its bounds as a CHECK.

    Not reported when: the table was created by the same file.
    """
    if action.concurrently or ctx.fresh(action.table):
        return
    above = ctx.schema.table(action.table)
    refused = above is not None and above.default_partition is not None
    rewrite = recipes.detach(ctx.statement.sql) if ctx.alone and ctx.major >= 14 and not refused else None
    yield Hazard(
        f"detaching {action.child} locks all of {action.table} against reads and writes",
        object=str(action.table),
        recipe=rewrite.sql + ";" if rewrite else "SET lock_timeout = '500ms';  -- and retry",
        rewrite=rewrite,
        evidence=ctx.evidence(action.table),
        data={"lock": AX, "cost": BRIEF},
    )


@hazard(
    "migrate.create-partition",
    on=a.CreateTable,
    category="lock",
    severity=WARN,
    lock=f"{AX} on the parent and on the default partition",
    cost=f"{BRIEF}; with a default partition, its {SCANS[6:]}",
    ok="Every partition is made beside its parent and then attached",
    bad="create table m1 partition of m for values from (0) to (100);",
    good="""
    create table m1 (like m including all);
    alter table m attach partition m1 for values from (0) to (100);
    """,
)
def create_partition(ctx: Context, action: a.CreateTable) -> Iterator[Hazard]:
    """CREATE TABLE ... PARTITION OF locks the whole partitioned table, and scans its default partition.

    Why: it takes ACCESS EXCLUSIVE on the parent; rows of the default partition that belong to the new one have to be
    looked for.

    Fix: CREATE TABLE (LIKE parent INCLUDING ALL), then ATTACH PARTITION, which takes SHARE UPDATE EXCLUSIVE on the
    parent (from 12).

    Not reported when: the parent was created by the same file.
    """
    parent = action.partition_of
    if parent is None or ctx.fresh(parent):
        return
    above = ctx.schema.table(parent)
    default = above.default_partition if above is not None else None
    scan = f" and scans {default}" if default is not None and not action.default_partition else ""
    yield Hazard(
        f"creating partition {action.table} locks all of {parent} against reads and writes{scan}",
        object=str(parent),
        severity=ERROR if scan else None,
        recipe=f"CREATE TABLE {action.table.sql} (LIKE {parent.sql} INCLUDING ALL);\n"
        f"ALTER TABLE {parent.sql} ATTACH PARTITION {action.table.sql} ...;",
        tables=(default,) if scan and default is not None else (),
        evidence=ctx.evidence(parent),
        data={"lock": AX, "cost": SCANS if scan else BRIEF},
    )


@hazard(
    "migrate.drop-partition",
    on=a.Drop,
    category="lock",
    severity=WARN,
    lock=f"{AX} on the parent and on the default partition",
    cost=BRIEF,
    ok="No partition is dropped while it is attached",
    bad="""
    -- before
    create table m (a int) partition by range (a);
    create table m1 partition of m for values from (0) to (100);
    -- migration
    drop table m1;
    """,
    good="""
    -- before
    create table m (a int) partition by range (a);
    create table m1 partition of m for values from (0) to (100);
    -- migration
    alter table m detach partition m1 concurrently;
    drop table m1;
    """,
)
def drop_partition(ctx: Context, action: a.Drop) -> Iterator[Hazard]:
    """Dropping an attached partition locks the whole partitioned table against reads and writes.

    Why: it takes ACCESS EXCLUSIVE on the parent and on the default partition.

    Fix: DETACH PARTITION ... CONCURRENTLY (from 14), then DROP TABLE.
    """
    if action.kind != "table":
        return
    for name in action.names:
        table = ctx.schema.table(name)
        if table is not None and table.partition_of is not None and not ctx.fresh(name):
            parent = table.partition_of
            yield Hazard(
                f"dropping partition {name} locks all of {parent} against reads and writes",
                object=str(parent),
                recipe=f"ALTER TABLE {parent.sql} DETACH PARTITION {name.sql} CONCURRENTLY;\nDROP TABLE {name.sql};",
                evidence=Evidence.SCHEMA,
                data={"lock": AX, "cost": BRIEF},
            )


@hazard(
    "migrate.inherit",
    on=a.Inherit,
    category="policy",
    severity=INFO,
    lock=f"{AX} on the child, SHARE UPDATE EXCLUSIVE on the parent",
    cost=BRIEF,
    ok="No table joins or leaves an inheritance tree",
    bad="alter table c inherit p;",
    good="alter table m attach partition m1 for values from (0) to (100);",
    known=also("ban-detach-inheritance"),
)
def inherit(ctx: Context, action: a.Inherit) -> Iterator[Hazard]:
    """INHERIT and NO INHERIT change what queries of the parent return, under a brief ACCESS EXCLUSIVE of the child.

    Why: from that moment every query of the parent reads the child's rows too, or no longer does.

    Fix: under a lock_timeout; declarative partitions where they will do.
    """
    if not ctx.fresh(action.table):
        verb = "joins" if action.add else "leaves"
        yield Hazard(f"{action.table} {verb} {action.parent}: queries of {action.parent} change", str(action.table))
