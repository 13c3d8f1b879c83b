"""Tables: statements that lock, rewrite or copy a whole one."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.names import Name, quote
from dbkit.postgres.migrate.rules.declare import (
    AX,
    ERROR,
    REWRITES,
    WARN,
    also,
    hazard,
)
from dbkit.postgres.migrate.schema import Table


def _created(ctx: Context, name: Name) -> Table | None:
    """The table, if the statement that made it was read."""
    found = ctx.schema.table(name)
    return found if found is not None and found.created else None


@hazard(
    "migrate.set-logged",
    on=a.SetLogged,
    category="lock",
    severity=ERROR,
    lock=AX,
    cost=f"{REWRITES} and every index",
    ok="No table is switched between LOGGED and UNLOGGED",
    bad="alter table events set unlogged;",
    good="""
    -- before
    create table events (id int);
    -- migration
    alter table events set logged;
    """,
    known=also(eugene="E10", pgsafe="set-logged-unlogged"),
)
def set_logged(ctx: Context, action: a.SetLogged) -> Iterator[Hazard]:
    """SET LOGGED and SET UNLOGGED copy the whole table while reads and writes wait.

    Why: the table and its indexes are written anew, and into the WAL, under ACCESS EXCLUSIVE.

    Fix: a new table of the wanted kind, filled by triggers and batches and swapped in; there is no online form.

    Not reported when: the table is known to be of that kind already, which is a no-op, or is new
    or partitioned: then nothing happens up to 17, and 18 refuses it.
    """
    table = _created(ctx, action.table)
    if ctx.fresh(action.table) or (table is not None and table.unlogged is (not action.logged)):
        return
    if table is not None and table.partitioned:
        return
    yield Hazard(
        f"SET {'LOGGED' if action.logged else 'UNLOGGED'} copies {action.table} and its indexes while reads and writes"
        " wait",
        object=str(action.table),
        tables=(action.table,),
        data={"lock": AX, "cost": REWRITES},
    )


@hazard(
    "migrate.set-tablespace",
    on=a.SetTablespace,
    category="lock",
    severity=ERROR,
    lock=AX,
    cost="copies the files",
    ok="No relation is moved to another tablespace",
    bad="alter table events set tablespace slow;",
    good="create table events_new (id int) tablespace slow;",
    known=also(django="ALTER_TABLE_SET_TABLESPACE"),
)
def set_tablespace(ctx: Context, action: a.SetTablespace) -> Iterator[Hazard]:
    """SET TABLESPACE copies every file of the relation while reads and writes wait.

    Why: it holds ACCESS EXCLUSIVE until the last block is copied and synced.

    Fix: a new table in the tablespace, filled by triggers and batches and swapped in; for an index, build a second one
    there concurrently and drop the first.
    """
    if not ctx.fresh(action.table):
        yield Hazard(
            f"moving {action.table} to tablespace {action.tablespace} copies it while reads and writes wait",
            object=str(action.table),
            tables=(action.table,),
            data={"lock": AX, "cost": REWRITES},
        )


@hazard(
    "migrate.set-access-method",
    on=a.SetAccessMethod,
    category="lock",
    severity=ERROR,
    lock=AX,
    cost=REWRITES,
    versions="from 15",
    ok="No table changes its access method",
    bad="alter table events set access method columnar;",
    good="create table events_new (id int) using columnar;",
    known=also(pgsafe="set-access-method"),
)
def set_access_method(ctx: Context, action: a.SetAccessMethod) -> Iterator[Hazard]:
    """SET ACCESS METHOD writes the whole table anew while reads and writes wait.

    Why: rows are converted to the other storage under ACCESS EXCLUSIVE.

    Fix: a new table with the method, filled by triggers and batches and swapped in.

    Not reported when: the table is known to have that method already, or is partitioned (metadata only).
    """
    table = _created(ctx, action.table)
    if ctx.fresh(action.table) or (
        table is not None and ((table.access_method or "heap") == (action.method or "heap") or table.partitioned)
    ):
        return
    yield Hazard(
        f"SET ACCESS METHOD {action.method} writes {action.table} anew while reads and writes wait",
        object=str(action.table),
        tables=(action.table,),
        data={"lock": AX, "cost": REWRITES},
    )


@hazard(
    "migrate.vacuum-full",
    on=(a.Vacuum, a.Cluster),
    category="lock",
    severity=ERROR,
    lock=AX,
    cost=REWRITES,
    versions="REPACK (CONCURRENTLY) from 19",
    ok="No table is rewritten by VACUUM FULL or CLUSTER",
    bad="vacuum full events;",
    good="vacuum events;",
    known=also("prefer-repack", "", "E10", "banVacuumFull", "vacuum-full-cluster"),
)
def vacuum_full(ctx: Context, action: a.Vacuum | a.Cluster) -> Iterator[Hazard]:
    """VACUUM FULL and CLUSTER rewrite the table while reads and writes wait.

    Why: they hold ACCESS EXCLUSIVE for the copy, and need the space for it.

    Fix: pg_repack or pg_squeeze, which copy online; plain VACUUM if the space may stay with the table.
    """
    if isinstance(action, a.Vacuum):
        if not action.full or (action.tables and all(ctx.fresh(t) for t in action.tables)):
            return
        tables, verb = action.tables, "VACUUM FULL"
    else:
        if action.table is not None and ctx.fresh(action.table):
            return
        tables, verb = ((action.table,) if action.table else ()), "CLUSTER"
    names = ", ".join(map(str, tables)) or "every table"
    yield Hazard(
        f"{verb} writes {names} anew while reads and writes wait",
        object=str(tables[0]) if tables else "",
        tables=tables,
        data={"lock": AX, "cost": REWRITES},
    )


@hazard(
    "migrate.lock-table",
    on=a.LockTable,
    category="lock",
    severity=WARN,
    lock="the one named, ACCESS EXCLUSIVE by default",
    cost="until the transaction ends",
    ok="No table is locked by hand against writers or readers",
    bad="begin; lock table orders; commit;",
    good="begin; lock table orders in share update exclusive mode; commit;",
)
def lock_table(ctx: Context, action: a.LockTable) -> Iterator[Hazard]:
    """LOCK TABLE stops others until the transaction ends; without a mode, readers too.

    Why: the default mode is ACCESS EXCLUSIVE.

    Fix: name the weakest mode that is enough, set a lock_timeout, and commit soon.

    Not reported when: the mode is SHARE UPDATE EXCLUSIVE or weaker, or the table is new.
    """
    tables = [t for t in action.tables if not ctx.fresh(t)]
    mode = Mode(action.mode)
    if tables and mode >= Mode.SHARE:
        yield Hazard(
            f"LOCK TABLE {', '.join(map(str, tables))} IN {mode.words} MODE stops {mode.blocks} until the transaction"
            " ends",
            object=str(tables[0]),
            data={"lock": mode.words},
        )


@hazard(
    "migrate.sequence-stays-int",
    on=a.AlterType,
    category="compatibility",
    severity=WARN,
    ok="No column becomes bigint while its sequence stays integer",
    bad="""
    -- before
    create sequence s as int;
    create table t (id int default nextval('s'));
    -- migration
    alter table t alter column id type bigint;
    """,
    good="""
    -- before
    create table t (id int);
    -- migration
    alter table t alter column id type bigint;
    """,
)
def sequence_stays(ctx: Context, action: a.AlterType) -> Iterator[Hazard]:
    """The column becomes bigint, but its sequence ends at 2,147,483,647.

    Why: serial makes a sequence AS integer; changing the column does not change it, and nextval() fails at its end.

    Fix: ALTER SEQUENCE ... AS bigint in the same migration (brief).
    """
    table = ctx.schema.table(action.table)
    column = table.column(action.column) if table is not None else None
    if action.type.name != "int8" or column is None or column.type is None or column.type.name not in ("int4", "int2"):
        return
    if column.has_default and not any(isinstance(x, a.Sequence) for x in ctx.actions):
        yield Hazard(
            f"{action.table}.{action.column} becomes bigint, its sequence does not: it ends at 2,147,483,647",
            object=str(action.table),
            recipe=f"ALTER SEQUENCE {quote(f'{action.table.name}_{action.column}_seq'[:63])} AS bigint;",
            evidence=Evidence.SCHEMA,
        )
