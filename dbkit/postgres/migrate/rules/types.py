"""ALTER COLUMN ... TYPE: what is free, what scans, what rewrites."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dbkit.model import Evidence
from dbkit.postgres.ddl import deparse_expression
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import expressions, recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.names import quote
from dbkit.postgres.migrate.rules.declare import (
    AX,
    BRIEF,
    BUILDS,
    ERROR,
    REWRITES,
    SCANS,
    STRONG,
    WARN,
    also,
    hazard,
)
from dbkit.postgres.migrate.schema import Column
from dbkit.postgres.migrate.types import SqlType, TypeChange, always_free_from_text, change, keeps_index

_UTC = frozenset({"utc", "gmt", "etc/utc", "etc/gmt", "0", "z", "zulu", "uct", "universal", "etc/universal", "etc/uct"})


_TYPE_CHANGE = also(
    "changing-column-type", "change_column", "E5 E10", "changingColumnType", "alter-column-type", "ALTER_COLUMN_TYPE"
)


def verdict(ctx: Context, action: a.AlterType) -> tuple[TypeChange, SqlType | None]:
    """What the change costs the table, and the column's type before it (None if not known)."""
    held = ctx.type_change
    if held is None or held[0] is not action:
        held = ctx.type_change = (action, *_judge(ctx, action))  # four rules ask
    return held[1], held[2]


def _judge(ctx: Context, action: a.AlterType) -> tuple[TypeChange, SqlType | None]:
    table = ctx.schema.table(action.table)
    column = table.column(action.column) if table is not None else None
    old = column.type if column is not None else None
    if action.using is not None:
        cast = expressions.plain_cast(action.using, action.column)
        if cast is False:
            return TypeChange.REWRITE, old
        if isinstance(cast, SqlType) and (cast.name, cast.mods, cast.array) != (
            action.type.name,
            action.type.mods,
            action.type.array,
        ):
            return TypeChange.REWRITE, old
    if old is None or not old.name:
        return TypeChange.UNKNOWN if always_free_from_text(action.type) else TypeChange.REWRITE, None
    return _between(ctx, old, action.type), old


def _between(ctx: Context, old: SqlType, new: SqlType) -> TypeChange:
    if (old.name, old.mods, old.array, old.schema) == (new.name, new.mods, new.array, new.schema):
        return TypeChange.FREE
    base_old, _ = ctx.schema.base(old)
    if ctx.schema.domain(old) is not None:  # a domain's length is not passed on to its base type
        base_old = replace(base_old, mods=())
    base_new, constrained = ctx.schema.base(new)
    if constrained:
        return TypeChange.REWRITE
    if not ctx.schema.known_type(new) or not ctx.schema.known_type(old):
        if {old.name, new.name} <= {"citext", "text", "varchar", "bpchar"}:
            return change(base_old, base_new)
        # An extension's or an unseen type: only the server knows its casts.
        return TypeChange.REWRITE
    found = change(base_old, base_new)
    if found is TypeChange.TIME_ZONE:
        if ctx.major < 12:
            return TypeChange.REWRITE
        zone = ctx.session.setting("timezone")
        if zone is not None:
            return TypeChange.FREE if zone.lower() in _UTC else TypeChange.REWRITE
    return found


@hazard(
    "migrate.column-type-rewrites",
    on=a.AlterType,
    category="lock",
    severity=ERROR,
    lock=AX,
    cost=f"{REWRITES} and every index",
    ok="No column changes its type by rewriting the table",
    bad="""
    -- before
    create table orders (id int, code varchar(20));
    -- migration
    alter table orders alter column id type bigint;
    """,
    good="""
    -- before
    create table orders (id int, code varchar(20));
    -- migration
    alter table orders alter column code type varchar(40);
    """,
    known=_TYPE_CHANGE,
)
def rewrites(ctx: Context, action: a.AlterType) -> Iterator[Hazard]:
    """A type change that is more than metadata rewrites the table and its indexes while reads and writes wait.

    Why: each row is converted and written anew under ACCESS EXCLUSIVE.

    Fix: a second column of the new type, kept equal by triggers, filled in batches, verified, and swapped in by name.

    Not reported when: the old type is known and the change is free: varchar(n) longer, to varchar or text; text to
    varchar; numeric with more digits and the same scale, or to numeric; a longer or no precision of timestamp, time or
    interval; varbit longer; cidr to inet; xml to text; to an unconstrained domain, or from a domain to its base type;
    timestamp to and from timestamptz (from 12) where the script set TimeZone to UTC; the same type.
    """
    if ctx.fresh(action.table):
        return
    cost, old = verdict(ctx, action)
    if cost is not TypeChange.REWRITE:
        return
    was = f"from {old} " if old is not None and old.name else ""
    using = (
        " with USING"
        if action.using is not None and expressions.plain_cast(action.using, action.column) is False
        else ""
    )
    yield Hazard(
        f"changing {action.table}.{action.column} {was}to {action.type}{using} rewrites the table and its indexes while"
        " reads and writes wait",
        object=str(action.table),
        recipe=recipes.shadow_column(action.table, action.column, str(action.type)),
        tables=(action.table,),
        evidence=Evidence.SCHEMA if old is not None else Evidence.TEXT,
        data={"lock": AX, "cost": REWRITES, "column": action.column, "from": str(old or ""), "to": str(action.type)},
    )


@hazard(
    "migrate.column-type-undecided",
    on=a.AlterType,
    category="policy",
    severity=WARN,
    lock=AX,
    cost=f"{BRIEF} or {REWRITES}",
    ok="Of every type change it is known what it costs",
    bad="alter table orders alter column note type text;",
    good="""
    -- before
    create table orders (note varchar(50));
    -- migration
    alter table orders alter column note type text;
    """,
    known=also("changing-column-type", eugene="E5", pgsafe="alter-column-type"),
)
def undecided(ctx: Context, action: a.AlterType) -> Iterator[Hazard]:
    """Whether this type change is free or rewrites the table depends on something that is not known here.

    Why: varchar to text is metadata, integer to text a rewrite; timestamp to timestamptz is free when the session's
    TimeZone is UTC and a rewrite otherwise.

    Fix: give the schema (`--schema dump.sql`, or the earlier migrations), or SET timezone = 'UTC' in the script.
    """
    if ctx.fresh(action.table):
        return
    cost, old = verdict(ctx, action)
    if cost is TypeChange.UNKNOWN:
        yield Hazard(
            f"the type of {action.table}.{action.column} before this is not known: to {action.type} is free from"
            " some types and a table rewrite from others",
            object=str(action.table),
            tables=(action.table,),
            data={"column": action.column, "to": str(action.type), "missing": "schema"},
        )
    elif cost is TypeChange.TIME_ZONE:
        yield Hazard(
            f"{old} to {action.type} is free only where TimeZone is UTC, and a rewrite of {action.table} otherwise",
            object=str(action.table),
            recipe="SET timezone = 'UTC';",
            tables=(action.table,),
            evidence=Evidence.SCHEMA,
            data={"column": action.column, "to": str(action.type), "missing": "TimeZone"},
        )


def _collation_changes(action: a.AlterType, column: Column) -> bool:
    return action.collation != column.collation


@hazard(
    "migrate.column-type-rebuilds-index",
    on=a.AlterType,
    category="lock",
    severity=ERROR,
    lock=AX,
    cost=BUILDS,
    ok="No free type change rebuilds an index",
    bad="""
    -- before
    create table t (name text);
    create index t_name on t (name);
    -- migration
    alter table t alter column name type text collate "C";
    """,
    good="""
    -- before
    create table t (name varchar(10));
    create index t_name on t (name);
    -- migration
    alter table t alter column name type text;
    """,
    known=_TYPE_CHANGE,
)
def rebuilds_index(ctx: Context, action: a.AlterType) -> Iterator[Hazard]:
    """The table is not rewritten, but the indexes on the column are rebuilt while reads and writes wait.

    Why: another collation or operator class (citext, oid, timestamptz) sorts differently, so the index is built anew
    under ACCESS EXCLUSIVE. varchar to text keeps a plain index as it is; one on an expression or with a condition is
    built anew with every type change of a column it reads, and so are the indexes of partitions that belong to one of
    the partitioned table.

    Fix: drop the index concurrently before and build it concurrently after, or use a second column.

    Not reported when: the indexes are not known.
    """
    cost, old = verdict(ctx, action)
    table = ctx.schema.table(action.table)
    if cost not in (TypeChange.FREE, TypeChange.TIME_ZONE) or old is None or table is None or ctx.fresh(action.table):
        return
    column = table.column(action.column)
    if column is None:
        return
    base_old, base_new = ctx.schema.base(old)[0], ctx.schema.base(action.type)[0]
    kept = keeps_index(base_old, base_new, collation_changed=_collation_changes(action, column))
    partitioned = bool(ctx.schema.leaves(action.table))
    below = () if action.only else ctx.schema.below(action.table)
    for index in [i for name in (action.table, *below) for i in ctx.schema.indexes_on(name) if not i.parent]:
        # The server does not compare expressions and conditions: an index that has one is always built anew.
        above = partitioned and ctx.schema.key(index.table) == ctx.schema.key(action.table)
        opaque = index.partial or "" in index.columns or above
        if (opaque or not kept) and (action.column in index.columns or action.column in index.reads):
            yield Hazard(
                f"index {index.name} is rebuilt for the new type of {action.column} while reads and writes of"
                f" {action.table} wait",
                object=str(action.table),
                tables=(action.table,),
                evidence=Evidence.SCHEMA,
                data={"lock": AX, "cost": BUILDS, "index": index.name},
            )


@hazard(
    "migrate.column-type-rechecks",
    on=a.AlterType,
    category="lock",
    severity=ERROR,
    lock=AX,
    cost=SCANS,
    ok="No free type change runs a check again",
    bad="""
    -- before
    create table t (name varchar(10) check (name <> ''));
    -- migration
    alter table t alter column name type varchar(20);
    """,
    good="""
    -- before
    create table t (name varchar(10));
    -- migration
    alter table t alter column name type varchar(20);
    """,
    known={**_TYPE_CHANGE, STRONG: (*_TYPE_CHANGE[STRONG], "change_column_constraint")},
)
def rechecks(ctx: Context, action: a.AlterType) -> Iterator[Hazard]:
    """A check on the column is run on every row again, although the type change itself is free.

    Why: constraints that read the column are dropped and added anew, and a validated CHECK is verified by a scan under
    ACCESS EXCLUSIVE; so it is even where the new type is the old one.

    Fix: drop the check, change the type, add the check NOT VALID, VALIDATE it in another transaction.

    Not reported when: the check is NOT VALID, or checks are not known.
    """
    cost, _ = verdict(ctx, action)
    table = ctx.schema.table(action.table)
    if cost not in (TypeChange.FREE, TypeChange.TIME_ZONE) or table is None or ctx.fresh(action.table):
        return
    below = () if action.only else map(ctx.schema.table, ctx.schema.below(action.table))
    own = [c for t in below if t is not None for c in t.checks_on(action.column) if not c.inherited]
    for held in (*table.checks_on(action.column), *own):
        if held.validated and held.constraint.enforced and held.constraint.expression is not None:
            head, name = f"ALTER TABLE {action.table.sql}", quote(held.name)
            check = deparse_expression(held.constraint.expression)
            yield Hazard(
                f"check {held.name} is run on every row of {action.table} again while reads and writes wait",
                object=str(action.table),
                recipe=f"{head} DROP CONSTRAINT {name};\n"
                f"{head} ALTER COLUMN {quote(action.column)} TYPE {action.type};\n"
                f"{head} ADD CONSTRAINT {name} CHECK ({check}) NOT VALID;\n-- in a transaction of its own:\n"
                f"{head} VALIDATE CONSTRAINT {name};",
                tables=(action.table,),
                evidence=Evidence.SCHEMA,
                data={"lock": AX, "cost": SCANS, "constraint": held.name},
            )
