"""Indexes: built, dropped and rebuilt without stopping the table."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from dbkit.model import Evidence
from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.names import Name, quote
from dbkit.postgres.migrate.rules.declare import BUILDS, ERROR, INFO, WARN, AlreadyDone, also, hazard
from dbkit.postgres.migrate.schema import Index


@hazard(
    "migrate.index-not-concurrent",
    on=a.CreateIndex,
    category="lock",
    severity=ERROR,
    lock="SHARE on the table until the transaction ends",
    cost=BUILDS,
    ok="Every index on an existing table is built concurrently",
    bad="create index orders_customer on orders (customer_id);",
    good="create index concurrently orders_customer on orders (customer_id);",
    known=also(
        "require-concurrent-index-creation",
        "add_index add_reference",
        "E6",
        "requireConcurrentIndexCreation",
        "add-index-non-concurrent",
    ),
)
def not_concurrent(ctx: Context, index: a.CreateIndex) -> Iterator[Hazard]:
    """CREATE INDEX without CONCURRENTLY stops every write to the table while the index is built.

    Why: it holds SHARE on the table for the whole build; inserts, updates and deletes wait, minutes on a large table.

    Fix: CREATE INDEX CONCURRENTLY, alone and outside a transaction. It takes two scans and waits for old transactions;
    if it fails it leaves an invalid index: drop that concurrently and start again.

    Not reported when: the table was created by the same file, is temporary or partitioned (see
    migrate.index-on-partitioned), or is a materialized view, whose only writer is REFRESH.
    """
    table = ctx.schema.table(index.table)
    if index.concurrently or ctx.fresh(index.table) or ctx.partitioned(index.table):
        return
    if table is not None and table.kind == "matview":
        return
    if index.only and not (table is not None and table.complete and not table.partitioned):
        return  # ON ONLY is written for partitioned tables, where it builds nothing
    rewrite = recipes.create_index(ctx.statement.sql) if not ctx.inside else None
    yield Hazard(
        f"building {index.called} stops every write to {index.table} until the build is done",
        object=str(index.table),
        recipe=rewrite.sql if rewrite else "",
        rewrite=rewrite,
        tables=(index.table,),
        data={"lock": "SHARE", "cost": BUILDS},
    )


@hazard(
    "migrate.index-on-partitioned",
    on=a.CreateIndex,
    category="lock",
    severity=ERROR,
    lock="SHARE on the parent and every partition",
    cost=BUILDS,
    versions="CONCURRENTLY on a partitioned parent is refused in every version",
    ok="No index is built across all partitions at once",
    bad="""
    -- before
    create table m (at date, v int) partition by range (at);
    create table m1 partition of m for values from ('2026-01-01') to ('2027-01-01');
    -- migration
    create index m_at on m (at);
    """,
    good="""
    -- before
    create table m (at date, v int) partition by range (at);
    -- migration
    create index m_at on only m (at);
    """,
)
def on_partitioned(ctx: Context, index: a.CreateIndex) -> Iterator[Hazard]:
    """An index on a partitioned table is built on all partitions under one lock, and cannot be built concurrently.

    Why: CREATE INDEX on the parent holds SHARE on the parent and on every partition until the last one is done;
    CREATE INDEX CONCURRENTLY on the parent is an error.

    Fix: CREATE INDEX ON ONLY the parent (it stays invalid), CREATE INDEX CONCURRENTLY on each partition, then
    ALTER INDEX ... ATTACH PARTITION for each; the parent's index becomes valid with the last.
    """
    if not ctx.partitioned(index.table) or ctx.fresh(index.table) or (index.only and not index.concurrently):
        return
    if not index.concurrently and not ctx.schema.leaves(index.table) and ctx.known(index.table) and ctx.schema.whole:
        return  # a dump was read and it shows no partition: nothing is built
    keys = recipes.columns(tuple(c for c in index.columns if c)) or "..."
    name = index.name or "the_index"
    unique = "UNIQUE " if index.unique else ""
    steps = [f"CREATE {unique}INDEX {quote(name)} ON ONLY {index.table.sql} ({keys})"]
    for leaf in ctx.schema.leaves(index.table):
        own = quote(f"{leaf.name}_{name}"[:63])
        steps.append(f"CREATE {unique}INDEX CONCURRENTLY {own} ON {leaf.sql} ({keys})")
        steps.append(f"ALTER INDEX {quote(name)} ATTACH PARTITION {own}")
    problem = (
        "PostgreSQL refuses to build an index concurrently on a partitioned table"
        if index.concurrently
        else f"building an index on {index.table} stops writes to all of its partitions at once"
    )
    yield Hazard(
        problem,
        object=str(index.table),
        recipe=";\n".join(steps) + ";",
        tables=(index.table, *ctx.schema.leaves(index.table)),
        data={"lock": "SHARE", "cost": BUILDS},
    )


@hazard(
    "migrate.drop-index-not-concurrent",
    on=a.Drop,
    category="lock",
    severity=ERROR,
    lock="ACCESS EXCLUSIVE on the table",
    cost="brief, after every reader has left",
    ok="Every index is dropped concurrently",
    bad="drop index orders_old;",
    good="drop index concurrently orders_old;",
    known=also(
        "require-concurrent-index-deletion ban-drop-index",
        "remove_index",
        "",
        "requireConcurrentIndexDeletion",
        "drop-index-non-concurrent",
    ),
)
def drop_not_concurrent(ctx: Context, drop: a.Drop) -> Iterator[Hazard]:
    """DROP INDEX without CONCURRENTLY locks the whole table against reads and writes.

    Why: it takes ACCESS EXCLUSIVE on the table, so it waits for every running query and everything new queues behind.

    Fix: DROP INDEX CONCURRENTLY, outside a transaction, one index a statement.

    Not reported when: the index or its table was created by the same file, or the index is of a partitioned table,
    where CONCURRENTLY does not exist.
    """
    if drop.kind != "index" or drop.concurrently:
        return
    held = [ctx.schema.index(name) for name in drop.names]
    if all(i is not None and (i.born == ctx.number or ctx.fresh(i.table) or ctx.partitioned(i.table)) for i in held):
        return
    names = ", ".join(str(n) for n in drop.names)
    rewrite = recipes.drop_index(ctx.statement.sql, drop) if not ctx.inside else None
    tables = tuple(i.table for i in held if i is not None)
    locked = ", ".join(dict.fromkeys(map(str, tables))) or "its table"
    yield Hazard(
        f"dropping index {names} locks {locked} against reads and writes",
        object=str(tables[0]) if tables else names,
        recipe=rewrite.sql if rewrite else "",
        rewrite=rewrite,
        evidence=Evidence.SCHEMA if tables and len(tables) == len(drop.names) else Evidence.TEXT,
        data={"lock": "ACCESS EXCLUSIVE", "cost": "brief"},
    )


@hazard(
    "migrate.concurrently-under-lock-timeout",
    on=(a.CreateIndex, a.Drop, a.Reindex),
    category="policy",
    severity=WARN,
    lock="SHARE UPDATE EXCLUSIVE, then waits for old transactions",
    ok="No concurrent build runs under a short lock_timeout",
    bad="set lock_timeout = '2s'; create index concurrently i on t (a);",
    good="set lock_timeout = 0; create index concurrently i on t (a);",
)
def under_lock_timeout(ctx: Context, action: a.CreateIndex | a.Drop | a.Reindex) -> Iterator[Hazard]:
    """A concurrent build waits for old transactions, and lock_timeout counts that wait: it fails and leaves a wreck.

    Why: after the short lock the build waits until every older transaction in the database has ended, on other tables
    too. Under a lock_timeout of seconds an unrelated report or a dump ends the build, and an invalid index is left.

    Fix: SET lock_timeout = 0 before the concurrent statement, and set it back after.
    """
    if not action.concurrently:
        return
    limit = ctx.session.milliseconds("lock_timeout")
    if limit:
        name = action.table if isinstance(action, a.CreateIndex) else Name("", "")
        yield Hazard(
            f"lock_timeout of {limit / 1000:g} s also ends the wait for old transactions: the build then fails and"
            " leaves an invalid index",
            object=str(name) if name.name else "",
            recipe="SET lock_timeout = 0;",
            data={"lock_timeout_ms": limit},
        )


@hazard(
    "migrate.concurrently-if-not-exists",
    on=a.CreateIndex,
    category="policy",
    severity=WARN,
    ok="No concurrent build takes an invalid index for a finished one",
    bad="create index concurrently if not exists i on t (a);",
    good="create index concurrently i on t (a);",
)
def if_not_exists(ctx: Context, index: a.CreateIndex) -> Iterator[Hazard]:
    """CREATE INDEX CONCURRENTLY IF NOT EXISTS takes the invalid remains of a failed build for the index.

    Why: a failed concurrent build leaves an index with indisvalid = false. It is never used, but IF NOT EXISTS finds
    its name and reports success.

    Fix: look first (`select indisvalid from pg_index where indexrelid = 'i'::regclass`), drop an invalid one
    concurrently, then build without IF NOT EXISTS. `dbkit index apply` does all three.
    """
    if index.concurrently and index.if_not_exists:
        drop = f"DROP INDEX CONCURRENTLY IF EXISTS {quote(index.name)};  -- only if invalid" if index.name else ""
        yield Hazard(
            f"IF NOT EXISTS accepts an invalid index {quote(index.name)} that a failed build left behind",
            object=str(index.table),
            recipe=drop,
        )


@hazard(
    "migrate.index-dropped-before-replacement",
    on=a.CreateIndex,
    category="policy",
    severity=INFO,
    ok="No index is dropped before the one that replaces it is built",
    bad="""
    -- before
    create table t (a int, b int);
    create index t_a on t (a);
    -- migration
    drop index concurrently t_a;
    create index concurrently t_a_b on t (a, b);
    """,
    good="""
    -- before
    create table t (a int, b int);
    create index t_a on t (a);
    -- migration
    create index concurrently t_a_b on t (a, b);
    drop index concurrently t_a;
    """,
)
def dropped_before(ctx: Context, index: a.CreateIndex) -> Iterator[Hazard]:
    """An index is dropped and then replaced: in between, queries run without either.

    Why: a build takes minutes; every query that relied on the old index scans the table until it is done.

    Fix: build the new index under another name first, then drop the old one and rename if the name matters.

    Not reported when: the transaction keeps readers out in between anyway.
    """
    held = ctx.session.held.get(ctx.schema.key(index.table))
    if ctx.together and held is not None and held.mode == Mode.ACCESS_EXCLUSIVE:
        return
    old = max((i for i in ctx.dropped if _replaces(ctx, i, index)), key=lambda i: _likeness(i, index), default=None)
    if old is not None:
        ctx.dropped.remove(old)
        replacement = quote(index.name) if index.name else "its replacement"
        yield Hazard(
            f"index {old.name} was dropped above before {replacement} is built: queries have neither meanwhile",
            object=str(index.table),
            evidence=Evidence.SCHEMA,
        )


def _replaces(ctx: Context, old: Index, new: a.CreateIndex) -> bool:
    same = old.columns[:1] == new.columns[:1] and old.columns[:1] != ("",)
    return ctx.schema.key(old.table) == ctx.schema.key(new.table) and (same or old.name == new.name)


def _likeness(old: Index, new: a.CreateIndex) -> tuple[bool, int]:
    """The same name before the longest common beginning."""
    pairs = zip(old.columns, new.columns, strict=False)
    return old.name == new.name, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@hazard(
    "migrate.already-done",
    on=AlreadyDone,
    category="policy",
    severity=INFO,
    lock="the statement's full lock, for nothing",
    ok="No statement asks for a lock to do what is done already",
    bad="""
    -- before
    create table t (a int);
    -- migration
    alter table t add column if not exists a int;
    """,
    good="""
    -- before
    create table t (a int);
    -- migration
    alter table t add column if not exists b int;
    """,
)
def already_done(ctx: Context, done: AlreadyDone) -> Iterator[Hazard]:
    """IF [NOT] EXISTS on something that is already so still takes the whole lock.

    Why: ADD COLUMN IF NOT EXISTS takes ACCESS EXCLUSIVE and CREATE INDEX IF NOT EXISTS takes SHARE before either looks.

    Fix: ask the catalogue first and leave the statement out.

    Not reported when: the table was created by the same file; CONCURRENTLY (see migrate.concurrently-if-not-exists).
    CREATE TABLE IF NOT EXISTS on a table that is there locks nothing.
    """
    action = done.action
    if isinstance(action, a.AddColumn) and not ctx.fresh(action.table):
        yield Hazard(
            f"{action.table} has a column {action.column.name} already; IF NOT EXISTS locks it all the same",
            object=str(action.table),
            evidence=Evidence.SCHEMA,
        )
    elif isinstance(action, a.CreateIndex) and not ctx.fresh(action.table):
        yield Hazard(
            f"index {action.name} exists already; IF NOT EXISTS stops writes to {action.table} all the same",
            object=str(action.table),
            evidence=Evidence.SCHEMA,
        )
