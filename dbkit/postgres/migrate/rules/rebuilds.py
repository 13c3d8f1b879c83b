"""Indexes rebuilt, and the releases whose concurrent builds cannot be trusted."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rules.declare import BUILDS, ERROR, WARN, also, hazard


@hazard(
    "migrate.reindex-not-concurrent",
    on=a.Reindex,
    category="lock",
    severity=ERROR,
    lock="SHARE on the table, ACCESS EXCLUSIVE on the index",
    cost=BUILDS,
    versions="CONCURRENTLY from 12",
    ok="Every index is rebuilt concurrently",
    bad="reindex table orders;",
    good="reindex table concurrently orders;",
    known=also("require-concurrent-reindex", "", "E10", "requireConcurrentReindex", "reindex-non-concurrent"),
)
def reindex(ctx: Context, action: a.Reindex) -> Iterator[Hazard]:
    """REINDEX without CONCURRENTLY stops writes to the table, and reads too as soon as a query is planned.

    Why: it holds SHARE on the table and ACCESS EXCLUSIVE on the index; the planner opens every index of a table, so
    queries that would not even use it wait.

    Fix: REINDEX ... CONCURRENTLY, outside a transaction. If it fails, drop the index that ends in _ccnew or _ccold.

    Not reported when: SYSTEM is named, which has no such form (see migrate.reindex-system), or the table is new
    or known to have no index.
    """
    if action.concurrently or action.kind == "system":
        return
    index = ctx.schema.index(action.name) if action.kind == "index" else None
    table = index.table if index is not None else action.name if action.kind == "table" else None
    if table is not None and (ctx.fresh(table) or _bare(ctx, table)):
        return
    rewrite = recipes.reindex(ctx.statement.sql) if not ctx.inside and ctx.major >= 12 else None
    yield Hazard(
        f"REINDEX {action.kind.upper()} {action.name} stops writes, and queries that are planned meanwhile",
        object=str(table or action.name),
        recipe=rewrite.sql if rewrite else "",
        rewrite=rewrite,
        tables=(table,) if table else (),
        evidence=ctx.evidence(table) if table else Evidence.TEXT,
        data={"lock": "SHARE", "cost": BUILDS},
    )


def _bare(ctx: Context, table: Name) -> bool:
    held = ctx.schema.table(table)
    return held is not None and held.created and not ctx.schema.indexes_on(table)


@hazard(
    "migrate.reindex-system",
    on=a.Reindex,
    category="policy",
    severity=WARN,
    lock="SHARE on each system catalogue, ACCESS EXCLUSIVE on its indexes",
    cost=BUILDS,
    ok="No system catalogue is reindexed",
    bad="reindex system app;",
    good="reindex table concurrently orders;",
)
def reindex_system(ctx: Context, action: a.Reindex) -> Iterator[Hazard]:
    """REINDEX SYSTEM locks the catalogues that every query reads.

    Why: there is no concurrent form for catalogues; connections and planning wait while each one is rebuilt.

    Fix: leave it out of migrations and run it in a window.
    """
    if action.kind == "system":
        yield Hazard(f"REINDEX SYSTEM {action.name} locks the catalogues that every query reads", str(action.name))


@hazard(
    "migrate.concurrent-build-corrupts",
    on=(a.CreateIndex, a.Reindex),
    category="lock",
    severity=ERROR,
    versions="14.0 to 14.3 only",
    ok="No index is built concurrently on 14.0 to 14.3",
    bad="""
    -- PostgreSQL 14.2
    -- migration
    create index concurrently i on t (a);
    """,
    good="""
    -- PostgreSQL 14.4
    -- migration
    create index concurrently i on t (a);
    """,
    known=also(strong="add_index_corruption"),
)
def corrupts(ctx: Context, action: a.CreateIndex | a.Reindex) -> Iterator[Hazard]:
    """On PostgreSQL 14.0 to 14.3 a concurrent build may leave rows out of the index without a word.

    Why: those releases computed the snapshot horizon wrongly during concurrent builds (fixed in 14.4).

    Fix: upgrade to 14.4 or later, then REINDEX CONCURRENTLY what was built before; amcheck finds damaged indexes.
    """
    if action.concurrently and ctx.major == 14 and ctx.minor is not None and ctx.minor < 4:
        yield Hazard(
            f"PostgreSQL 14.{ctx.minor} can leave rows out of an index that is built concurrently",
            object=str(action.table if isinstance(action, a.CreateIndex) else action.name),
            data={"version": f"14.{ctx.minor}"},
        )
