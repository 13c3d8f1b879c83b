"""Transactions: what may not run in one, who opened it, and statements that could be one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.expressions import proves_not_null
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rules.declare import (
    ERROR,
    INFO,
    EachChange,
    also,
    hazard,
)
from dbkit.postgres.migrate.transactions import Wrap

_CONCURRENT = (a.CreateIndex, a.Drop, a.Reindex, a.DetachPartition)


def refuses_transaction(action: a.Action) -> str:
    """What the action is called, if PostgreSQL refuses it in a transaction block; else an empty string."""
    if isinstance(action, a.CreateIndex) and action.concurrently:
        return "CREATE INDEX CONCURRENTLY"
    if isinstance(action, a.Drop):
        if action.kind == "database":
            return "DROP DATABASE"
        return "DROP INDEX CONCURRENTLY" if action.concurrently else ""
    if isinstance(action, a.Reindex):
        if action.concurrently:
            return "REINDEX CONCURRENTLY"
        return f"REINDEX {action.kind.upper()}" if action.kind in ("schema", "system", "database") else ""
    if isinstance(action, a.DetachPartition) and action.concurrently and not action.finalize:
        return "DETACH PARTITION CONCURRENTLY"
    if isinstance(action, a.Vacuum) and not action.analyze_only:
        return "VACUUM"
    if isinstance(action, a.Cluster) and action.table is None:
        return "CLUSTER without a table"
    return action.what if isinstance(action, a.OutsideTransaction) else ""


@hazard(
    "migrate.not-in-transaction",
    on=(a.CreateIndex, a.Drop, a.Reindex, a.DetachPartition, a.Vacuum, a.Cluster, a.OutsideTransaction),
    category="transaction",
    severity=ERROR,
    ok="No statement runs in a transaction that PostgreSQL refuses there",
    bad="begin; create index concurrently i on t (a); commit;",
    good="create index concurrently i on t (a);",
    known=also(
        "ban-concurrent-index-creation-in-transaction",
        pgls="banConcurrentIndexCreationInTransaction",
        pgsafe="concurrently-in-transaction",
    ),
)
def not_in_transaction(ctx: Context, action: a.Action) -> Iterator[Hazard]:
    """The statement fails: PostgreSQL does not run it inside a transaction block.

    Why: CONCURRENTLY forms, VACUUM, CREATE DATABASE, REINDEX of a partitioned table and others commit on their own. The
    block may be the file's BEGIN, the transaction the migration tool opens, or the implicit one of several statements
    sent as one message.

    Fix: a migration of its own with the tool's transaction switched off: `-- migrate:up transaction:false` (dbmate),
    `-- +goose NO TRANSACTION`, `executeInTransaction=false` (Flyway), `op.get_context().autocommit_block()` (Alembic),
    `atomic = False` (Django). `--no-assume-in-transaction` tells dbkit that yours opens none.
    """
    if not ctx.sure:
        return
    what = refuses_transaction(action) or _by_partition(ctx, action)
    if what:
        session = ctx.session
        where = (
            f"a {ctx.inside} block"
            if ctx.inside
            else f"the transaction begun on line {session.opened_at}"
            if session.explicit
            else "the one message in which the tool sends this file"
            if session.one_message and session.wrap is not Wrap.YES
            else "the transaction the migration tool opens"
        )
        yield Hazard(f"{what} fails inside {where}", object=_object(action))


def _by_partition(ctx: Context, action: a.Action) -> str:
    """REINDEX and CLUSTER of a partitioned table commit after each partition."""
    if isinstance(action, a.Reindex):
        index = ctx.schema.index(action.name) if action.kind == "index" else None
        table = index.table if index is not None else action.name
        return "REINDEX of a partitioned table" if action.kind in ("index", "table") and ctx.partitioned(table) else ""
    if isinstance(action, a.Cluster) and action.table is not None and ctx.partitioned(action.table):
        return "CLUSTER of a partitioned table"
    return ""


def _object(action: a.Action) -> str:
    if isinstance(action, a.OnTable):
        return str(action.table)
    if isinstance(action, a.Drop):
        return str(action.names[0]) if action.names else ""
    return str(action.name) if isinstance(action, a.Reindex) else ""


@hazard(
    "migrate.several-alters",
    on=EachChange,
    category="transaction",
    severity=INFO,
    lock="the same lock, waited for again",
    cost="one scan or rewrite each",
    ok="Every table is altered by one statement",
    bad="alter table users add column a int; alter table users add column b int;",
    good="alter table users add column a int, add column b int;",
    known=also(eugene="W12", pgls="multipleAlterTable"),
)
def several_alters(ctx: Context, _: EachChange) -> Iterator[Hazard]:
    """Several ALTER TABLE on one table could be one: one lock, and one scan instead of many.

    Why: outside a transaction each statement waits for its lock again; inside, each may scan or rewrite again.

    Fix: list the parts in one ALTER TABLE, separated by commas.

    Not reported when: the statements must be apart: validation, renames, attaching partitions, parts that need another
    transaction; a new table only gets constraints, as in a dump; or one call of an Alembic revision makes both.
    """
    table = _combinable(ctx)
    if table is None:
        return
    before = ctx.altered.get(ctx.schema.key(table))
    if before is not None and not (ctx.calls and before == ctx.line):
        yield Hazard(
            f"{table} is altered on line {before} already; one ALTER TABLE can do both",
            object=str(table),
            data={"first_line": before},
        )


def _joins(ctx: Context, part: a.Action) -> bool:
    """Whether a part of an ALTER TABLE may stand beside others of the same table."""
    if isinstance(part, a.AddConstraint):
        return part.constraint.kind == "check" and not part.constraint.not_valid
    if isinstance(part, a.DropConstraint):
        return not _proves(ctx, part)  # in one statement the drop would come before SET NOT NULL, which then scans
    if isinstance(part, a.SetNotNull):
        table = ctx.schema.table(part.table)  # a proof had to be validated before
        return table is None or not table.proof_of_not_null(part.column)
    return isinstance(part, _PARTS)


def _proves(ctx: Context, action: a.DropConstraint) -> bool:
    table = ctx.schema.table(action.table)
    held = table.constraints.get(action.name) if table is not None else None
    return held is not None and held.constraint.kind == "check" and bool(proves_not_null(held.constraint.expression))


_PARTS: Final = (
    a.AddColumn,
    a.DropColumn,
    a.AlterType,
    a.SetDefault,
    a.SetNotNull,
    a.DropNotNull,
    a.AddConstraint,
    a.DropConstraint,
)


def _combinable(ctx: Context) -> Name | None:
    if ctx.statement.kind != "alter_table_stmt" or not ctx.actions:
        return None
    first = ctx.actions[0]
    if not isinstance(first, _PARTS) or not all(_joins(ctx, part) for part in ctx.actions):
        return None
    if ctx.fresh(first.table) and not isinstance(first, (a.AddColumn, a.DropColumn, a.AlterType)):
        return None
    return first.table
