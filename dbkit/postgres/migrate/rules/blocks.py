"""Transaction blocks: who begins and ends them, and what may not happen in one."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.rules.declare import (
    ERROR,
    WARN,
    ScriptEnd,
    Together,
    also,
    hazard,
)
from dbkit.postgres.migrate.transactions import Wrap


@hazard(
    "migrate.nested-begin",
    on=a.Transaction,
    category="transaction",
    severity=ERROR,
    ok="No transaction is begun inside another",
    bad="begin; begin; select 1; commit;",
    good="begin; select 1; commit;",
    known=also("transaction-nesting", pgls="transactionNesting"),
)
def nested_begin(ctx: Context, action: a.Transaction) -> Iterator[Hazard]:
    """BEGIN inside a transaction does nothing but warn, and the COMMIT that follows ends the outer one.

    Why: PostgreSQL has no nested transactions. If the migration tool opened the outer one, its bookkeeping after your
    COMMIT runs outside it, and a failure leaves the migration half applied.

    Fix: leave BEGIN and COMMIT to one of the two; use SAVEPOINT inside.
    """
    session = ctx.session
    if action.verb != "begin":
        return
    if session.explicit:
        yield Hazard(f"BEGIN inside the transaction begun on line {session.opened_at}: PostgreSQL only warns")
    elif session.wrap is Wrap.YES and not session.runner_ended:
        yield Hazard("BEGIN inside the transaction the migration tool opens: your COMMIT ends the tool's transaction")


@hazard(
    "migrate.commit-without-begin",
    on=a.Transaction,
    category="transaction",
    severity=ERROR,
    ok="No COMMIT or ROLLBACK ends a transaction that the file did not begin",
    bad="select 1; commit;",
    good="begin; select 1; commit;",
    known=also("transaction-nesting", pgls="transactionNesting"),
)
def commit_without_begin(ctx: Context, action: a.Transaction) -> Iterator[Hazard]:
    """COMMIT or ROLLBACK without a BEGIN ends the migration tool's transaction, or does nothing.

    Why: what comes after runs without a transaction, and a failure leaves the migration half applied.

    Fix: leave it out, or open the transaction in the file and tell the tool not to.
    """
    session = ctx.session
    if action.verb in ("commit", "rollback") and not session.explicit:
        word = action.verb.upper()
        if session.in_transaction is True:
            yield Hazard(f"{word} ends the transaction the migration tool opened; what follows runs outside of it")
        else:
            yield Hazard(f"{word} without BEGIN: it ends the tool's transaction if there is one, and nothing if not")


@hazard(
    "migrate.transaction-left-open",
    on=ScriptEnd,
    category="transaction",
    severity=ERROR,
    ok="Every transaction that is begun is ended",
    bad="begin; create table users (id bigint);",
    good="begin; create table users (id bigint); commit;",
    known=also("ban-uncommitted-transaction", pgls="transactionNesting"),
)
def left_open(ctx: Context, _: ScriptEnd) -> Iterator[Hazard]:
    """The file begins a transaction and never ends it.

    Why: the client rolls it back when it disconnects, so nothing of it happens, or it stays open and keeps its locks.

    Fix: COMMIT at the end.
    """
    if ctx.session.explicit:
        yield Hazard("the transaction begun here is never committed", line=ctx.session.opened_at)


@hazard(
    "migrate.enum-value-in-transaction",
    on=Together,
    category="transaction",
    severity=ERROR,
    versions="ADD VALUE itself is refused in a transaction before 12",
    ok="No enum value is used in the transaction that adds it",
    bad="begin; alter type mood add value 'meh'; insert into people (mood) values ('meh'); commit;",
    good="alter type mood add value 'meh';",
    known=also(pgls="banAlterEnumAddValue", pgsafe="enum-value-used-in-transaction"),
)
def enum_value(ctx: Context, _: Together) -> Iterator[Hazard]:
    """A new enum value cannot be used before the transaction that added it has committed.

    Why: PostgreSQL says "unsafe use of new value"; before 12, ALTER TYPE ... ADD VALUE in a transaction is refused
    altogether.

    Fix: add the value in a migration of its own, outside a transaction.

    Not reported when: the type was created in the same transaction.
    """
    if ctx.major < 12:
        for action in ctx.actions:
            if isinstance(action, a.AlterEnum) and action.value and not action.renamed_from:
                born = ctx.schema.enum_born.get(ctx.schema.key(action.name))
                if born != ctx.number:
                    yield Hazard(
                        f"ALTER TYPE {action.name} ADD VALUE is refused in a transaction before PostgreSQL 12",
                        object=str(action.name),
                    )
    for value, line in ctx.new_values.items():
        if any(isinstance(x, a.AlterEnum) for x in ctx.actions):
            continue
        quoted = "'" + value.replace("'", "''") + "'"
        if quoted in ctx.statement.sql:
            yield Hazard(f"{quoted} was added on line {line} and cannot be used before that is committed", object=value)


@hazard(
    "migrate.several-parents-locked",
    on=Together,
    category="transaction",
    severity=WARN,
    lock="SHARE ROW EXCLUSIVE on each referenced table",
    ok="No transaction adds foreign keys to several tables",
    bad="""
    begin;
    alter table orders add foreign key (a) references shops (id) not valid;
    alter table orders add foreign key (b) references people (id) not valid;
    commit;
    """,
    good="""
    begin;
    alter table orders add foreign key (a) references shops (id) not valid;
    commit;
    """,
)
def several_parents(ctx: Context, _: Together) -> Iterator[Hazard]:
    """Foreign keys to several tables in one transaction lock each of them against writes, one after the other.

    Why: while it waits for the second parent it holds the first; transactions that write both in another order
    deadlock with it.

    Fix: one foreign key a migration.

    Not reported when: whether the file runs in one transaction is not known.
    """
    if not ctx.parents:
        return
    key = ctx.schema.key
    wanted = [
        x.constraint.parent
        for x in ctx.actions
        if isinstance(x, a.AddConstraint) and x.constraint.parent is not None and not ctx.fresh(x.constraint.parent)
    ]
    held = {key(t): line for t, line in ctx.parents}
    for parent in wanted:
        if held and key(parent) not in held:
            yield Hazard(
                f"locks {parent} against writes while line {min(held.values())} keeps another referenced table locked",
                object=str(parent),
            )
            return
