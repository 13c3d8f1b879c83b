"""Columns that a view or a generated column reads."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.rules.declare import (
    ERROR,
    hazard,
)


@hazard(
    "migrate.column-in-view",
    on=(a.AlterType, a.DropColumn),
    category="compatibility",
    severity=ERROR,
    ok="No column is changed or dropped under a view that reads it",
    bad="""
    -- before
    create table t (a int, b int);
    create view v as select a from t;
    -- migration
    alter table t drop column a;
    """,
    good="""
    -- before
    create table t (a int, b int);
    create view v as select a from t;
    -- migration
    alter table t drop column b;
    """,
)
def in_view(ctx: Context, action: a.AlterType | a.DropColumn) -> Iterator[Hazard]:
    """The statement fails because a view or a generated column reads the column.

    Why: PostgreSQL refuses to change the type of a column that a view, rule, policy or generated column uses, and to
    drop it without CASCADE, which would drop the view as well.

    Fix: drop the view, change the column and create the view again, in one transaction.
    """
    cascade = isinstance(action, a.DropColumn) and action.cascade
    if ctx.fresh(action.table):
        return
    table = ctx.schema.table(action.table)
    users = [str(v.name) for v in ctx.schema.views_on(action.table, action.column)]
    users += [f"generated column {c.name}" for c in table.columns.values() if action.column in c.reads] if table else []
    if users:
        names = ", ".join(users)
        verb = "drops" if cascade else "fails because of"
        yield Hazard(
            f"changing {action.table}.{action.column} {verb} {names}",
            object=str(action.table),
            evidence=Evidence.SCHEMA,
        )
