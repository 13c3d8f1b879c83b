"""What is held to the end of a transaction: under a strong lock nothing long runs and no second table is waited for."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import BOOKKEEPING, Context, Hazard
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rules.declare import INFO, WARN, WhileHeld, also, hazard
from dbkit.postgres.migrate.transactions import Held

_CONSTRAINTS = {
    "check": "a check",
    "foreign": "a foreign key",
    "unique": "a unique constraint",
    "primary": "a primary key",
    "exclude": "an exclusion constraint",
}


def _unbounded(ctx: Context, action: a.Action) -> str:
    """Why an action may take long, in words; empty for those that are quick whatever the size."""
    if isinstance(action, a.Dml):
        return "" if action.table.name.lower() in BOOKKEEPING or ctx.fresh(action.table) else action.verb.upper()
    if isinstance(action, a.Query):
        return "a query" if any(t.name.lower() not in BOOKKEEPING for t in action.tables) else ""
    if isinstance(action, a.CreateIndex):
        return "" if ctx.fresh(action.table) or ctx.schema.holds(action) else "an index build"
    if isinstance(action, a.Refresh):
        return "" if ctx.fresh(action.view) or not action.with_data else "a refresh"
    if isinstance(action, a.CreateTable) and action.from_query:
        return "a table filled by a query"
    if isinstance(action, a.CreateView) and action.materialized and action.with_data:
        return "a materialized view's query"
    if isinstance(action, a.AddConstraint):
        made = action.constraint
        long = (
            made.kind in ("check", "foreign", "unique", "primary", "exclude") and not made.not_valid and not made.index
        )
        return "" if ctx.fresh(action.table) or not long else _CONSTRAINTS[made.kind]
    if isinstance(action, a.ValidateConstraint):
        return "" if ctx.fresh(action.table) or _is_held(ctx, action.table) else "a validation"
    if isinstance(action, a.Code) and action.language == "call":
        return "a procedure"
    return ""


def _is_held(ctx: Context, table: Name) -> bool:
    """Validating a table that is itself locked is another rule's (migrate.validate-under-lock)."""
    lock = ctx.session.held.get(ctx.schema.key(table))
    return lock is not None and lock.mode >= Mode.SHARE


@hazard(
    "migrate.statement-under-access-exclusive",
    on=WhileHeld,
    category="transaction",
    severity=WARN,
    lock="ACCESS EXCLUSIVE, held by an earlier statement",
    ok="Nothing long runs while a table is locked against its readers",
    bad="begin; alter table books add column isbn text; update books set isbn = code where id < 100; commit;",
    good="begin; alter table books add column isbn text; commit; update books set isbn = code where id < 100;",
    known=also(eugene="E4", pgls="runningStatementWhileHoldingAccessExclusive"),
)
def under_access_exclusive(ctx: Context, _: WhileHeld) -> Iterator[Hazard]:
    """A statement that may take long runs while the transaction holds ACCESS EXCLUSIVE on a table.

    Why: locks are kept to the end of the transaction, so the table stays closed for reads and writes for as long as
    the data change, query or build takes.

    Fix: commit after the schema change; do the rest in a transaction of its own.

    Not reported when: the locked table was created by the same file; the statement is a brief schema change, or the
    migration tool's own bookkeeping.
    """
    worst = ctx.session.worst()
    if worst is None:
        return
    for action in ctx.actions:
        what = _unbounded(ctx, action)
        if what:
            if_wrapped = "" if ctx.sure else ", if one transaction runs this file"
            yield Hazard(
                f"{what} runs while line {worst.line} keeps {worst.table} locked against reads and writes{if_wrapped}",
                object=str(worst.table),
                severity=None if ctx.sure else INFO,
                recipe="COMMIT;  -- before this statement",
                data={"held_by_line": worst.line, "lock": "ACCESS EXCLUSIVE"},
            )
            return


@hazard(
    "migrate.statement-while-writes-wait",
    on=WhileHeld,
    category="transaction",
    severity=WARN,
    lock="SHARE to EXCLUSIVE, held by an earlier statement",
    ok="Nothing long runs while a table is locked against its writers",
    bad="""
    begin;
    create trigger audit after update on books for each row execute function note();
    update books set seen = true where id < 100;
    commit;
    """,
    good="""
    begin; create trigger audit after update on books for each row execute function note(); commit;
    update books set seen = true where id < 100;
    """,
    known=also(eugene="E16"),
)
def while_writes_wait(ctx: Context, _: WhileHeld) -> Iterator[Hazard]:
    """A statement that may take long runs while the transaction keeps a table locked against writes.

    Why: CREATE TRIGGER, a foreign key (on both its tables) and CREATE INDEX stop every insert, update and delete to the
    end of the transaction, not of the statement.

    Fix: commit after the schema change; do the rest in a transaction of its own.

    Not reported when: the locked table was created by the same file; the transaction holds ACCESS EXCLUSIVE as well
    (see migrate.statement-under-access-exclusive); the statement is a brief schema change, an insert of a list of
    values, or another rule's: an index build, a validation.
    """
    held = ctx.session.worst(Mode.SHARE)
    if held is None or held.mode is Mode.ACCESS_EXCLUSIVE:
        return
    for action in ctx.actions:
        if isinstance(action, a.CreateIndex | a.ValidateConstraint | a.AddConstraint):
            continue
        if isinstance(action, a.Dml) and action.rows:
            continue
        what = _unbounded(ctx, action)
        if what:
            if_wrapped = "" if ctx.sure else ", if one transaction runs this file"
            yield Hazard(
                f"{what} runs while line {held.line} keeps {held.table} locked against writes{if_wrapped}",
                object=str(held.table),
                severity=None if ctx.sure else INFO,
                recipe="COMMIT;  -- before this statement",
                data={"held_by_line": held.line, "lock": held.mode.words},
            )
            return


@hazard(
    "migrate.several-tables-locked",
    on=WhileHeld,
    category="transaction",
    severity=WARN,
    lock="ACCESS EXCLUSIVE on two tables or more",
    ok="No transaction locks several tables against their readers",
    bad="begin; alter table users add column a int; alter table orders add column b int; commit;",
    good="begin; alter table users add column a int; commit; begin; alter table orders add column b int; commit;",
    known=also(pgls="avoidWideLockWindow warnWideLockWindow"),
)
def several_tables(ctx: Context, _: WhileHeld) -> Iterator[Hazard]:
    """One transaction takes ACCESS EXCLUSIVE on a second table while it holds the first.

    Why: while it waits for the second, nobody can use the first; two such transactions in another order deadlock.

    Fix: one table a transaction.

    Not reported when: the tables were created by the same file, or one statement needs both by its nature.
    """
    first = ctx.session.worst()
    if first is None:
        return
    held = ctx.session.held
    wanted = [
        table
        for table, mode in ctx.locks
        if mode is Mode.ACCESS_EXCLUSIVE and not ctx.fresh(table) and not _closed(held.get(ctx.schema.key(table)))
    ]
    if wanted and not _tied(ctx, wanted[0]):
        if_wrapped = "" if ctx.sure else ", if one transaction runs this file"
        yield Hazard(
            f"waits for {wanted[0]} while line {first.line} keeps {first.table} locked against reads and"
            f" writes{if_wrapped}",
            object=str(wanted[0]),
            severity=None if ctx.sure else INFO,
            recipe="COMMIT;  -- before this statement",
            data={"held": str(first.table), "held_by_line": first.line},
        )


def _closed(lock: Held | None) -> bool:
    return lock is not None and lock.mode is Mode.ACCESS_EXCLUSIVE


def _tied(ctx: Context, table: object) -> bool:
    """Views are dropped and made again with their table by need."""
    return any(
        isinstance(x, a.CreateView) or (isinstance(x, a.Drop) and x.kind in ("view", "matview")) for x in ctx.actions
    )
