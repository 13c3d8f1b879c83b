"""The index that a foreign key needs on the referencing side."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate import recipes
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.names import quote
from dbkit.postgres.migrate.rules.declare import SCANS, WARN, RunEnd, also, hazard


@hazard(
    "migrate.foreign-key-without-index",
    on=RunEnd,
    category="lock",
    severity=WARN,
    lock="row locks on the parent, held through a scan of the child",
    cost=SCANS,
    ok="Every foreign key has an index on the referencing side",
    bad="create table orders (id bigint primary key, customer_id bigint references customers (id));",
    good="""
    create table orders (id bigint primary key, customer_id bigint references customers (id));
    create index orders_customer on orders (customer_id);
    """,
    known=also(eugene="E15", pgsafe="fk-without-covering-index"),
)
def without_index(ctx: Context, end: RunEnd) -> Iterator[Hazard]:
    """A foreign key without an index on the referencing side makes every delete of a parent scan the child.

    Why: DELETE on the referenced table, and UPDATE of its key, look for referencing rows, one scan a row, and hold
    their locks meanwhile. A partial index does not count.

    Fix: CREATE INDEX CONCURRENTLY on the referencing columns, before the key is added.

    Not reported when: an index that starts with these columns exists by the end of all files given, or the table is
    only known in part and the key was not added together with it.
    """
    for key in end.foreign_keys:
        table = ctx.schema.table(key.table)
        if table is None or key.name not in table.constraints:
            continue
        columns = table.constraints[key.name].constraint.columns
        full = [i for i in ctx.schema.indexes_on(key.table) if not i.partial]
        covered = any(set(i.columns[: len(columns)]) == set(columns) for i in full)
        if columns and not covered and table.complete:
            yield Hazard(
                f"foreign key {key.name} has no index on {key.table} ({', '.join(columns)})",
                object=str(key.table),
                recipe=f"CREATE INDEX CONCURRENTLY ON {key.table.sql} ({recipes.columns(columns)});",
                evidence=ctx.evidence(key.table),
                file=key.file,
                line=key.line,
            )


@hazard(
    "migrate.foreign-key-index-partial",
    on=a.CreateIndex,
    category="lock",
    severity=WARN,
    lock="ROW SHARE and row locks held through a scan of the child",
    ok="No foreign key relies on a partial index",
    bad="""
    -- before
    create table p (id int primary key);
    create table c (pid int references p (id), gone boolean);
    -- migration
    create index concurrently c_pid on c (pid) where not gone;
    """,
    good="""
    -- before
    create table p (id int primary key);
    create table c (pid int references p (id), gone boolean);
    -- migration
    create index concurrently c_pid on c (pid);
    """,
    known=also(eugene="E15", pgsafe="fk-without-covering-index"),
)
def partial_for_key(ctx: Context, index: a.CreateIndex) -> Iterator[Hazard]:
    """A partial index starts with a foreign key's columns, but cannot serve the key.

    Why: deleting a parent row looks for all referencing rows; a partial index holds only some, so the child is scanned
    while the parent's row stays locked.

    Fix: a full index on the columns, beside or instead of the partial one.

    Not reported when: the condition is only that the column IS NOT NULL, or a full index exists too.
    """
    table = ctx.schema.table(index.table)
    if not index.partial or table is None or ctx.fresh(index.table):
        return
    for held in table.foreign_keys():
        keys = held.constraint.columns
        if not keys or index.columns[: len(keys)] != keys or _only_not_null(ctx, keys):
            continue
        if any(set(i.columns[: len(keys)]) == set(keys) and not i.partial for i in ctx.schema.indexes_on(index.table)):
            continue
        yield Hazard(
            f"{quote(index.name)} is partial and cannot serve foreign key {held.name}: deleting from"
            f" {held.constraint.parent} still scans {index.table}",
            object=str(index.table),
            evidence=ctx.evidence(index.table),
            recipe=f"CREATE INDEX CONCURRENTLY ON {index.table.sql} ({recipes.columns(keys)});",
            tables=(index.table,),
        )


def _only_not_null(ctx: Context, keys: tuple[str, ...]) -> bool:
    """`where pid is not null` keeps every row the key can ask for."""
    from dbkit.postgres.migrate.expressions import columns, proves_not_null

    node = ctx.statement.node.index_stmt.where_clause
    return columns(node) <= set(keys) and columns(node) == proves_not_null(node)
