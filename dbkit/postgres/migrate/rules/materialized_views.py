"""Materialized views refreshed."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.rules.declare import (
    AX,
    BRIEF,
    ERROR,
    INFO,
    REWRITES,
    also,
    hazard,
)


@hazard(
    "migrate.refresh-not-concurrent",
    on=a.Refresh,
    category="lock",
    severity=ERROR,
    lock=f"{AX} on the view",
    cost=REWRITES,
    ok="Every materialized view is refreshed concurrently",
    bad="refresh materialized view totals;",
    good="refresh materialized view concurrently totals;",
    known=also(
        pgls="requireConcurrentRefreshMatview banBlockingRefreshMatview",
        pgsafe="refresh-matview-non-concurrent",
        eugene="E10",
    ),
)
def refresh(ctx: Context, action: a.Refresh) -> Iterator[Hazard]:
    """REFRESH MATERIALIZED VIEW without CONCURRENTLY stops every reader of the view until it is filled.

    Why: it holds ACCESS EXCLUSIVE on the view while the query runs.

    Fix: REFRESH ... CONCURRENTLY, which needs a unique index on plain columns without a condition.

    WITH NO DATA is brief and worse: until the next refresh every query of the view fails.

    Not reported when: the view was created by the same file.
    """
    if action.concurrently or ctx.fresh(action.view):
        return
    if not action.with_data:
        yield Hazard(
            f"{action.view} is emptied: every query of it fails until it is refreshed",
            object=str(action.view),
            data={"lock": AX, "cost": BRIEF},
        )
        return
    rewrite = recipes.refresh(ctx.statement.sql) if not ctx.inside else None
    indexed = any(i.unique and not i.partial and all(i.columns) for i in ctx.schema.indexes_on(action.view))
    yield Hazard(
        f"readers of {action.view} wait until it is filled again",
        object=str(action.view),
        recipe=rewrite.sql + (";" if indexed else ";  -- needs a unique index on plain columns") if rewrite else "",
        rewrite=rewrite if indexed else None,
        tables=(action.view,),
        data={"lock": AX, "cost": REWRITES},
    )


@hazard(
    "migrate.refresh-concurrent",
    on=a.Refresh,
    category="policy",
    severity=INFO,
    lock="EXCLUSIVE on the view",
    cost="runs the query and compares",
    ok="No materialized view is refreshed by a migration",
    bad="refresh materialized view concurrently totals;",
    good="select 1;",
    known=also(pgls="concurrentRefreshMatviewLock warnRefreshMatviewConcurrent"),
)
def refresh_concurrent(ctx: Context, action: a.Refresh) -> Iterator[Hazard]:
    """A concurrent refresh lets readers go on, but holds EXCLUSIVE: a second refresh waits, and it takes its time.

    Why: the query runs into a temporary table that is then compared with the view.

    Fix: run it outside the migration, as a job.
    """
    if action.concurrently:
        yield Hazard(
            f"{action.view} is locked with EXCLUSIVE while it refreshes: readers go on, other refreshes wait",
            object=str(action.view),
            data={"lock": "EXCLUSIVE", "cost": "query"},
        )
