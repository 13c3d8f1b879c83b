"""Tables, partitions and materialized views: statements that lock, scan or copy a whole relation."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Evidence
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.locks import Mode
from dbkit.postgres.migrate.names import quote
from dbkit.postgres.migrate.rules.declare import (
    BRIEF,
    ERROR,
    INFO,
    REWRITES,
    WARN,
    also,
    hazard,
)

_AX = "ACCESS EXCLUSIVE"


@hazard(
    "migrate.set-logged",
    on=a.SetLogged,
    category="lock",
    severity=ERROR,
    lock=_AX,
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

    Not reported when: the table is known to be of that kind already, which is a no-op, or is new.
    """
    table = ctx.known(action.table)
    if ctx.fresh(action.table) or (table is not None and table.unlogged is (not action.logged)):
        return
    yield Hazard(
        f"SET {'LOGGED' if action.logged else 'UNLOGGED'} copies {action.table} and its indexes while reads and writes"
        " wait",
        object=str(action.table),
        tables=(action.table,),
        data={"lock": _AX, "cost": REWRITES},
    )


@hazard(
    "migrate.set-tablespace",
    on=a.SetTablespace,
    category="lock",
    severity=ERROR,
    lock=_AX,
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
            data={"lock": _AX, "cost": REWRITES},
        )


@hazard(
    "migrate.set-access-method",
    on=a.SetAccessMethod,
    category="lock",
    severity=ERROR,
    lock=_AX,
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
    table = ctx.known(action.table)
    if ctx.fresh(action.table) or (
        table is not None and ((table.access_method or "heap") == (action.method or "heap") or table.partitioned)
    ):
        return
    yield Hazard(
        f"SET ACCESS METHOD {action.method} writes {action.table} anew while reads and writes wait",
        object=str(action.table),
        tables=(action.table,),
        data={"lock": _AX, "cost": REWRITES},
    )


@hazard(
    "migrate.vacuum-full",
    on=(a.Vacuum, a.Cluster),
    category="lock",
    severity=ERROR,
    lock=_AX,
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
        data={"lock": _AX, "cost": REWRITES},
    )


@hazard(
    "migrate.refresh-not-concurrent",
    on=a.Refresh,
    category="lock",
    severity=ERROR,
    lock=f"{_AX} on the view",
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

    Not reported when: the view was created by the same file, or is emptied WITH NO DATA.
    """
    if action.concurrently or ctx.fresh(action.view) or not action.with_data:
        return
    rewrite = recipes.refresh(ctx.statement.sql) if not ctx.inside else None
    indexed = any(i.unique and not i.partial and all(i.columns) for i in ctx.schema.indexes_on(action.view))
    yield Hazard(
        f"readers of {action.view} wait until it is filled again",
        object=str(action.view),
        recipe=rewrite.sql + (";" if indexed else ";  -- needs a unique index on plain columns") if rewrite else "",
        rewrite=rewrite if indexed else None,
        tables=(action.view,),
        data={"lock": _AX, "cost": REWRITES},
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
    "migrate.drop-table-with-keys",
    on=a.Drop,
    category="policy",
    severity=WARN,
    lock=f"{_AX} on every table tied to it by a foreign key",
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
        others = {str(k.constraint.parent) for k in table.foreign_keys() if k.constraint.parent is not None}
        others |= {str(t.name) for t, _ in ctx.schema.referencing(name)}
        others.discard(str(name))
        if others:
            keys = "".join(f"ALTER TABLE {name.sql} DROP CONSTRAINT {quote(k.name)};\n" for k in table.foreign_keys())
            yield Hazard(
                f"dropping {name} locks {', '.join(sorted(others))} too, against reads and writes",
                object=str(name),
                recipe=f"{keys}DROP TABLE {name.sql};",
                evidence=Evidence.SCHEMA,
                data={"lock": _AX, "cost": BRIEF},
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


@hazard(
    "migrate.trigger-changed",
    on=(a.CreateTrigger, a.ToggleTrigger, a.CreateRule),
    category="policy",
    severity=INFO,
    lock=f"SHARE ROW EXCLUSIVE; a rule takes {_AX}",
    cost=BRIEF,
    ok="No trigger or rule of an existing table is made, enabled or disabled",
    bad="alter table orders disable trigger all;",
    good="comment on trigger t on orders is 'audit';",
    known=also(
        "ban-disable-trigger",
        pgls="avoidCreateTrigger avoidEnableDisableTrigger banCreateTrigger banEnableDisableTrigger",
        pgsafe="add-trigger",
    ),
)
def trigger(ctx: Context, action: a.CreateTrigger | a.ToggleTrigger | a.CreateRule) -> Iterator[Hazard]:
    """A trigger or rule changes what every write does, and waits for all writers to get its lock.

    Why: SHARE ROW EXCLUSIVE waits for every writer in flight; a disabled trigger (foreign keys use them) lets wrong
    rows in that nobody checks later.

    Fix: under a lock_timeout; replace the trigger's function instead, which takes no table lock.
    """
    if ctx.fresh(action.table):
        return
    verb = "changing" if isinstance(action, a.ToggleTrigger) else "creating"
    yield Hazard(
        f"{verb} {'rule' if isinstance(action, a.CreateRule) else 'trigger'} {action.name or '(all)'} waits for every"
        f" writer of {action.table} and changes what writes do",
        object=str(action.table),
        data={"lock": "SHARE ROW EXCLUSIVE", "cost": BRIEF},
    )
