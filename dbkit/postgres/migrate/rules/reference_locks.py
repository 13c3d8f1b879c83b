"""Tables locked because a foreign key ties them to another."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.names import quote
from dbkit.postgres.migrate.rules.declare import (
    AX,
    BRIEF,
    INFO,
    WARN,
    hazard,
)


@hazard(
    "migrate.drop-foreign-key",
    on=a.DropConstraint,
    category="policy",
    severity=INFO,
    lock="ACCESS EXCLUSIVE on both tables",
    cost=BRIEF,
    ok="No foreign key is dropped",
    bad="""
    -- before
    create table p (id int primary key);
    create table c (pid int, constraint fk foreign key (pid) references p (id));
    -- migration
    alter table c drop constraint fk;
    """,
    good="""
    -- before
    create table c (pid int, constraint positive check (pid > 0));
    -- migration
    alter table c drop constraint positive;
    """,
)
def drop_foreign_key(ctx: Context, action: a.DropConstraint) -> Iterator[Hazard]:
    """Dropping a foreign key takes ACCESS EXCLUSIVE on the referenced table too.

    Why: its triggers sit on both tables. It is brief, but waits for the readers of both, and others queue behind.

    Fix: one key a transaction, under a lock_timeout, with retries.
    """
    table = ctx.schema.table(action.table)
    held = table.constraints.get(action.name) if table else None
    parent = held.constraint.parent if held else None
    if parent is not None and not ctx.fresh(action.table):
        yield Hazard(
            f"dropping {action.name} locks {parent} as well as {action.table} against reads and writes, briefly",
            object=str(action.table),
            evidence=Evidence.SCHEMA,
            data={"lock": "ACCESS EXCLUSIVE", "cost": BRIEF},
        )


@hazard(
    "migrate.drop-table-with-keys",
    on=a.Drop,
    category="policy",
    severity=WARN,
    lock=f"{AX} on every table tied to it by a foreign key",
    cost=BRIEF,
    ok="No table is dropped while foreign keys tie it to others",
    bad="""
    -- before
    create table p (id int primary key);
    create table c (pid int references p (id));
    -- migration
    drop table c;
    """,
    good="""
    -- before
    create table p (id int primary key);
    create table c (pid int);
    -- migration
    drop table c;
    """,
)
def drop_with_keys(ctx: Context, action: a.Drop) -> Iterator[Hazard]:
    """Dropping a table that has or receives foreign keys locks the tables at the other ends.

    Why: the keys' triggers sit on both sides; ACCESS EXCLUSIVE is taken on all of them in one transaction.

    Fix: drop the foreign keys first, each in its own transaction, under a lock_timeout; then the table.
    """
    if action.kind != "table":
        return
    for name in action.names:
        table = ctx.schema.table(name)
        if table is None or ctx.fresh(name):
            continue
        own = [k for k in table.foreign_keys() if not k.inherited]  # those of the partitioned table go with it
        others = {str(k.constraint.parent) for k in own if k.constraint.parent is not None}
        others |= {str(t.name) for t, _ in ctx.schema.referencing(name)}
        others.discard(str(name))
        if others:
            keys = "".join(f"ALTER TABLE {name.sql} DROP CONSTRAINT {quote(k.name)};\n" for k in own)
            yield Hazard(
                f"dropping {name} locks {', '.join(sorted(others))} too, against reads and writes",
                object=str(name),
                recipe=f"{keys}DROP TABLE {name.sql};",
                evidence=Evidence.SCHEMA,
                data={"lock": AX, "cost": BRIEF},
            )


@hazard(
    "migrate.create-table-references",
    on=a.CreateTable,
    category="policy",
    severity=INFO,
    lock="SHARE ROW EXCLUSIVE on each referenced table",
    cost=BRIEF,
    ok="No new table locks several others through its foreign keys",
    bad="create table orders (a int references shops (id), b int references people (id));",
    good="create table orders (a int references shops (id), b int);",
)
def create_references(ctx: Context, action: a.CreateTable) -> Iterator[Hazard]:
    """A new table with foreign keys to several tables locks all of them against writes at once, briefly.

    Why: each key takes SHARE ROW EXCLUSIVE on its parent; waiting for the second while holding the first stalls both.

    Fix: under a lock_timeout; or add the keys one by one in transactions of their own.
    """
    every = (*action.constraints, *(c for column in action.columns for c in column.constraints))
    parents = {c.parent for c in every if c.parent is not None and not ctx.fresh(c.parent)}
    parents.discard(action.table)
    if len(parents) > 1:
        yield Hazard(
            f"creating {action.table} locks {', '.join(sorted(map(str, parents)))} against writes at once, briefly",
            object=str(action.table),
            data={"lock": "SHARE ROW EXCLUSIVE", "cost": BRIEF},
        )
