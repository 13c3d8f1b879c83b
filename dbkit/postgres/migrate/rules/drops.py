"""What is dropped while the running version of the application may still use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rules.declare import AX, BRIEF, ERROR, INFO, WARN, also, hazard


@hazard(
    "migrate.drop-column",
    on=a.DropColumn,
    category="compatibility",
    severity=WARN,
    lock=AX,
    cost=BRIEF,
    ok="No column is dropped",
    bad="alter table users drop column name;",
    good="alter table users alter column name drop default;",
    known=also("ban-drop-column", "remove_column", "", "banDropColumn", "drop-column"),
)
def drop_column(ctx: Context, action: a.DropColumn) -> Iterator[Hazard]:
    """The running version of the application may still read or write the column.

    Why: its statements fail from that moment; composite indexes and constraints over the column go with it.

    Fix: first a release that ignores the column, then the drop; `dbkit migrate contract` waits until nothing reads it.

    Not reported when: the column or the table was created by the same file.
    """
    table = ctx.schema.table(action.table)
    column = table.column(action.column) if table is not None else None
    if ctx.fresh(action.table) or (column is not None and column.born == ctx.number):
        return
    lost = [i.name for i in ctx.schema.indexes_on(action.table) if action.column in i.columns and len(i.columns) > 1]
    also_lost = f"; indexes {', '.join(lost)} go with it" if lost else ""
    yield Hazard(
        f"the running version may still use {action.table}.{action.column}{also_lost}",
        object=str(action.table),
        evidence=ctx.evidence(action.table),
    )


_DROPS: Final = {
    kind: kind
    for kind in """schema view type domain function procedure routine aggregate sequence extension operator cast
    collation conversion language role""".split()
} | {
    "matview": "materialized view",
    "foreign server": "foreign server",
    "fdw": "foreign-data wrapper",
    "user mapping": "user mapping",
    "event trigger": "event trigger",
    "opclass": "operator class",
    "opfamily": "operator family",
    "tsconfiguration": "text search configuration",
    "tsdictionary": "text search dictionary",
    "owned": "everything owned by",
}
"""Kinds of objects that statements may name, in words. Statistics, a tablespace and the like only change how fast."""


@hazard(
    "migrate.drop-table",
    on=a.Drop,
    category="compatibility",
    severity=WARN,
    lock=AX,
    cost=BRIEF,
    ok="No table is dropped",
    bad="drop table sessions;",
    good="drop index concurrently sessions_old;",
    known=also("ban-drop-table", "", "", "banDropTable", "drop-table"),
)
def drop_table(ctx: Context, action: a.Drop) -> Iterator[Hazard]:
    """The table and its rows are gone, and the running version may still use it.

    Why: there is no way back but a restore.

    Fix: rename it first, drop it a release later; `dbkit migrate contract` waits until nothing reads it.

    Not reported when: the table was created by the same file.
    """
    names = [n for n in action.names if not ctx.fresh(n)]
    if action.kind in ("table", "foreign table") and names:
        yield Hazard(
            f"{', '.join(map(str, names))}: rows are gone, and the running version may still use it",
            object=str(names[0]),
            tables=tuple(names),
        )


@hazard(
    "migrate.drop-database",
    on=a.Drop,
    category="compatibility",
    severity=ERROR,
    ok="No database is dropped",
    bad="drop database app;",
    good="drop table sessions;",
    known=also("ban-drop-database", "", "", "banDropDatabase", "drop-database"),
)
def drop_database(ctx: Context, action: a.Drop) -> Iterator[Hazard]:
    """DROP DATABASE removes everything in it.

    Why: no migration of an application needs this.

    Fix: leave it out.
    """
    if action.kind == "database":
        yield Hazard(f"database {action.names[0]} is dropped with everything in it", str(action.names[0]))


@hazard(
    "migrate.drop-object",
    on=a.Drop,
    category="compatibility",
    severity=WARN,
    ok="No schema, view, type, function, sequence, domain, extension, role or the like is dropped",
    bad="drop view totals;",
    good="create or replace view totals as select 1;",
    known=also(
        "ban-drop-schema ban-drop-view ban-drop-function ban-drop-type ban-drop-sequence ban-drop-domain"
        " ban-drop-extension",
        pgls="banDropSchema",
    ),
)
def drop_object(ctx: Context, action: a.Drop) -> Iterator[Hazard]:
    """The running version may still use what is dropped; CASCADE takes more than is named.

    Why: its statements fail from that moment.

    Fix: drop it a release after nothing uses it any more.

    Not reported when: the same file creates it again (see migrate.dropped-and-created) or created it before.
    """
    if action.kind not in _DROPS:
        return
    remade = {n for n in action.names if ctx.schema.key(n) in ctx.created_later or _born_here(ctx, action.kind, n)}
    names = [n for n in action.names if n not in remade]
    if names:
        cascade = ", and with CASCADE everything that depends on it" if action.cascade else ""
        much = action.kind == "owned" or (action.cascade and action.kind in ("schema", "foreign server", "extension"))
        yield Hazard(
            f"{_DROPS[action.kind]} {', '.join(map(str, names))} is dropped{cascade}",
            str(names[0]),
            severity=ERROR if much else None,
        )


def _born_here(ctx: Context, kind: str, name: Name) -> bool:
    key = ctx.schema.key(name)
    held = ctx.schema.dependants.get(("view", *key)) or ctx.schema.functions.get(key) or ctx.schema.domains.get(key)
    return held is not None and held.born == ctx.number


@hazard(
    "migrate.dropped-and-created",
    on=a.CreateTable,
    category="compatibility",
    severity=WARN,
    ok="No table is dropped to be made again",
    bad="drop table if exists users; create table users (id int);",
    good="create table if not exists users (id int);",
    known=also("", "create_table"),
)
def dropped_and_created(ctx: Context, action: a.CreateTable) -> Iterator[Hazard]:
    """A table is dropped and created again in one migration: its rows are gone.

    Why: this is how `force: true` and generated "down, then up" scripts look.

    Fix: alter the table instead.
    """
    line = ctx.dropped_tables.get(ctx.schema.key(action.table))
    if line is not None and not action.temporary:
        yield Hazard(
            f"{action.table} was dropped on line {line} and is created again: its rows are gone",
            object=str(action.table),
        )


@hazard(
    "migrate.drop-trigger",
    on=a.Drop,
    category="compatibility",
    severity=INFO,
    lock=AX,
    cost=BRIEF,
    ok="No trigger, rule or policy is dropped",
    bad="drop trigger audit on orders;",
    good="create or replace function audit() returns trigger language plpgsql as 'begin return new; end';",
    known=also("ban-drop-policy ban-drop-trigger", pgls="banDropTrigger"),
)
def drop_trigger(ctx: Context, action: a.Drop) -> Iterator[Hazard]:
    """From that moment writes no longer do what the trigger, rule or policy did.

    Why: what it kept right (an audit, a copy, a permission) is no longer kept, under a brief ACCESS EXCLUSIVE.

    Fix: replace its function by one that does nothing first, which takes no table lock.

    Not reported when: the same file creates it again, or the table is new.
    """
    if action.kind in ("trigger", "rule", "policy") and action.on is not None and not ctx.fresh(action.on):
        name = str(action.names[0])
        if (ctx.schema.key(action.on), name) in ctx.attached_later:
            return
        yield Hazard(
            f"writes to {action.on} no longer do what {action.kind} {name} did",
            str(action.on),
            data={"lock": AX, "cost": BRIEF},
        )


@hazard(
    "migrate.drop-constraint",
    on=(a.DropConstraint, a.AlterConstraint),
    category="compatibility",
    severity=INFO,
    lock=AX,
    cost=BRIEF,
    ok="No constraint is dropped or loosened",
    bad="alter table orders drop constraint positive;",
    good="alter table orders validate constraint positive;",
    known=also("ban-drop-constraint", pgsafe="drop-constraint"),
)
def drop_constraint(ctx: Context, action: a.DropConstraint | a.AlterConstraint) -> Iterator[Hazard]:
    """What the constraint kept out may come in from now on.

    Why: the code may rely on it, upserts name it (ON CONFLICT), and putting it back needs clean data.

    Fix: make sure that nothing names it; replace it under another name first.

    Not reported when: the file added it itself, or adds one of the same name.
    """
    if isinstance(action, a.AlterConstraint) and action.enforcement and action.enforced:
        return
    table = ctx.schema.table(action.table)
    held = table.constraints.get(action.name) if table is not None else None
    if ctx.fresh(action.table) or (held is not None and held.born == ctx.number):
        return
    again = any(isinstance(x, a.AddConstraint) and x.constraint.name == action.name for x in ctx.actions)
    if again or (ctx.schema.key(action.table), action.name) in ctx.attached_later:
        return
    if held is not None and held.constraint.kind == "check":
        from dbkit.postgres.migrate.expressions import proves_not_null

        proved = proves_not_null(held.constraint.expression)
        columns = [table.column(c) for c in proved] if table is not None else []
        if proved and all(c is not None and c.not_null for c in columns):
            return  # NOT NULL itself took over
    yield Hazard(
        f"{action.name} no longer protects {action.table}", str(action.table), evidence=ctx.evidence(action.table)
    )
