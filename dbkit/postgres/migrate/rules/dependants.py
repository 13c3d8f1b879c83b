"""Columns that something in the catalogue is tied to."""

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
    ok="No column is changed or dropped under a view, policy, trigger or the like that reads it",
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
    """The statement fails because a view, policy, trigger or the like reads the column, or CASCADE drops that as well.

    Why: PostgreSQL refuses to change the type of a column, and to drop it without CASCADE, while one of these uses it:
    a view or rule, a row security policy (of another table too), a trigger's UPDATE OF or WHEN, a generated column, a
    publication's column list or condition, the body of a function in BEGIN ATOMIC. A column of the partition key can be
    neither changed nor dropped; one that a foreign key points at cannot be dropped; the type of one cannot be changed
    while a column elsewhere has the table's row type. All of it was measured on 15 and 18.

    Fix: drop what reads the column, change the column and create it again, in one transaction.

    Not reported when: the table was created by the same file; an index, statistics, default, check or foreign key of
    the table uses the column: those follow (see migrate.column-type-rebuilds-index for the price). Function bodies in
    quotes are tied to nothing, and fail when they are called.
    """
    if ctx.fresh(action.table):
        return
    dropped = isinstance(action, a.DropColumn)
    users = [d.words for d in ctx.schema.dependants_on(action.table, action.column)]
    table = ctx.schema.table(action.table)
    if table is not None:
        users += [f"generated column {c.name}" for c in table.columns.values() if action.column in c.reads]
    if dropped:
        for other, held in ctx.schema.referencing(action.table):
            if action.column in held.constraint.parent_columns:
                users.append(f"foreign key {held.name} of {other.name}")
    else:
        users += [f"the row type in {other.name}" for other in ctx.schema.tables_using(action.table)]
    cascade = dropped and action.cascade
    if table is not None and table.partition_key is not None and action.column in table.partition_key.parts:
        users, cascade = ["the partition key"], False
    if users:
        verb = "drops" if cascade else "fails because of"
        yield Hazard(
            f"changing {action.table}.{action.column} {verb} {', '.join(users)}",
            object=str(action.table),
            evidence=Evidence.SCHEMA,
        )
