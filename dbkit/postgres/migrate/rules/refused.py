"""Statements that the server refuses, by what the schema says."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import refusals, refusals_drops
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.rules.declare import ERROR, hazard

_CHECKS = {**refusals.CHECKS, **refusals_drops.CHECKS}


@hazard(
    "migrate.refused",
    on=tuple(_CHECKS),
    category="compatibility",
    severity=ERROR,
    ok="No statement is one that the server refuses for what the schema holds",
    bad="""
    -- before
    create table p (id int primary key);
    create table c (pid int references p (id));
    -- migration
    truncate p;
    """,
    good="""
    -- before
    create table p (id int primary key);
    create table c (pid int references p (id));
    -- migration
    truncate p, c;
    """,
)
def refused(ctx: Context, action: a.Action) -> Iterator[Hazard]:
    """The server refuses the statement, because of what the schema holds: the deploy would stop there.

    Why: a partition or child table cannot change what it inherits; what is unique over partitions has to hold their
    key; a foreign key needs a unique constraint at the other end; what others rest on is not dropped without CASCADE,
    nor emptied; a constraint's index goes only with the constraint. Each was run on 15 and 18.

    Fix: as the message says: change the parent, drop or name the other end first, take the form that exists.

    Not reported when: what decides is not known, or the statement stands in a body that may catch the error. Whether an
    object is there at all is not judged.
    """
    if ctx.inside:
        return
    for why in _CHECKS[type(action)](action, ctx.schema, ctx.major, ctx.actions):
        yield Hazard(
            f"the server refuses this: {why}",
            object=str(action.table) if isinstance(action, a.OnTable) else "",
            evidence=Evidence.SCHEMA,
        )
        return
