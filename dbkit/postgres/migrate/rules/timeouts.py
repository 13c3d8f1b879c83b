"""Time limits: what waits for a lock, and what holds one, must not do so for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.rules.declare import (
    INFO,
    WARN,
    EachChange,
    also,
    hazard,
)

LONGEST: Final = 60_000.0
"""Milliseconds; a lock_timeout beyond a minute is an outage in itself, since all others queue behind the wait."""


@hazard(
    "migrate.no-lock-timeout",
    on=EachChange,
    category="policy",
    severity=WARN,
    lock="SHARE or stronger",
    ok="Every statement that stops traffic while it waits runs under a lock_timeout",
    bad="alter table orders add column note text;",
    good="set lock_timeout = '2s'; alter table orders add column note text;",
    known=also(
        "require-timeout-settings require-lock-timeout",
        "",
        "E9",
        "lockTimeoutWarning",
        "require-timeout",
    ),
)
def no_lock_timeout(ctx: Context, _: EachChange) -> Iterator[Hazard]:
    """A statement that needs a strong lock waits for it without limit, and everything else queues behind it.

    Why: one idle transaction or a running dump is enough: the ALTER waits for it, and every later query of the table
    waits for the ALTER, although the statement itself would take a millisecond.

    Fix: SET lock_timeout = '2s' before it (SET LOCAL in a transaction) and run the migration again when it fails;
    `dbkit apply` and `dbkit migrate deploy` do that with retries.

    Not reported when: the table is new, the lock is SHARE UPDATE EXCLUSIVE or weaker, the form is CONCURRENTLY, or a
    limit of a minute or less was set above. Reported once a file, at the first such statement. If the runner or the
    role sets it, switch the rule off in the policy.
    """
    if ctx.warned_timeout or any(_online(x) for x in ctx.actions):
        return
    limit = ctx.session.milliseconds("lock_timeout")
    if limit and limit <= LONGEST:
        return
    for table, mode in ctx.locks:
        if mode >= Mode.SHARE and not ctx.fresh(table) and not _creates(ctx, table):
            ctx.warned_timeout = True
            held = f"lock_timeout is {limit / 1000:g} s" if limit is not None else "no lock_timeout is set"
            yield Hazard(
                f"{held}: waiting for {mode.words} on {table} stops {mode.blocks} for as long as it takes",
                object=str(table),
                recipe=f"SET {'LOCAL ' if ctx.sure else ''}lock_timeout = '2s';",
                data={"lock": mode.words, "value": ctx.session.setting("lock_timeout")},
            )
            return
    action = _on_unknown_index(ctx)
    if action is not None:
        ctx.warned_timeout = True
        what = "its index" if isinstance(action, a.Reindex) else "the index and its table"
        yield Hazard(
            f"no lock_timeout is set: waiting for ACCESS EXCLUSIVE on {what} stops others for as long as it takes",
            recipe=f"SET {'LOCAL ' if ctx.sure else ''}lock_timeout = '2s';",
            data={"lock": "ACCESS EXCLUSIVE", "value": ctx.session.setting("lock_timeout")},
        )


def _on_unknown_index(ctx: Context) -> a.Drop | a.Reindex | None:
    """A statement on an index that is not in the known schema: the lock is certain, its table is not."""
    for action in ctx.actions if not ctx.locks else ():
        if isinstance(action, a.Reindex) or (isinstance(action, a.Drop) and action.kind == "index"):
            return action
    return None


def _online(action: a.Action) -> bool:
    """The CONCURRENTLY forms must not run under a short limit (see migrate.concurrently-under-lock-timeout)."""
    return bool(getattr(action, "concurrently", False)) and not isinstance(action, a.Refresh)


def _creates(ctx: Context, table: object) -> bool:
    return any(isinstance(x, a.CreateTable) and x.table == table for x in ctx.actions)


@hazard(
    "migrate.no-statement-timeout",
    on=EachChange,
    category="policy",
    severity=INFO,
    ok="Every locking statement runs under a statement_timeout",
    bad="alter table orders add column note text;",
    good="set statement_timeout = '5s'; alter table orders add column note text;",
    opt_in=True,
    known=also("require-timeout-settings require-statement-timeout", pgls="requireStatementTimeout"),
)
def no_statement_timeout(ctx: Context, _: EachChange) -> Iterator[Hazard]:
    """A statement that holds a strong lock may run without limit.

    Why: a scan that was thought brief keeps the table closed until somebody notices.

    Fix: SET statement_timeout beside lock_timeout, larger for validations and concurrent builds.
    """
    if ctx.warned_statement or ctx.session.milliseconds("statement_timeout") or any(_online(x) for x in ctx.actions):
        return
    for table, mode in ctx.locks:
        if mode >= Mode.SHARE and not ctx.fresh(table):
            ctx.warned_statement = True
            yield Hazard(f"no statement_timeout is set while {mode.words} is held on {table}", str(table))
            return
    if _on_unknown_index(ctx):
        ctx.warned_statement = True
        yield Hazard("no statement_timeout is set while an index and its table are locked")


@hazard(
    "migrate.no-idle-timeout",
    on=a.Transaction,
    category="policy",
    severity=INFO,
    ok="Every transaction has an idle_in_transaction_session_timeout",
    bad="begin; select 1; commit;",
    good="set idle_in_transaction_session_timeout = '10s'; begin; select 1; commit;",
    opt_in=True,
    known=also(pgls="requireIdleInTransactionTimeout"),
)
def no_idle_timeout(ctx: Context, action: a.Transaction) -> Iterator[Hazard]:
    """A runner that hangs between two statements keeps its locks for ever.

    Why: neither lock_timeout nor statement_timeout counts while a transaction is idle.

    Fix: SET idle_in_transaction_session_timeout, or from 17 transaction_timeout.
    """
    limits = ("idle_in_transaction_session_timeout", "transaction_timeout")
    if action.verb == "begin" and not any(ctx.session.milliseconds(n) for n in limits):
        yield Hazard("no idle_in_transaction_session_timeout is set for this transaction")


@hazard(
    "migrate.session-setting",
    on=a.SetVariable,
    category="policy",
    severity=INFO,
    ok="No setting outlives its transaction",
    bad="set lock_timeout = '2s';",
    good="begin; set local lock_timeout = '2s'; commit;",
    opt_in=True,
)
def session_setting(ctx: Context, action: a.SetVariable) -> Iterator[Hazard]:
    """A session SET does not stick behind PgBouncer in transaction mode, and leaks into other clients' sessions.

    Why: the next transaction may run on another server connection, and this one is handed on with the setting.

    Fix: SET LOCAL inside the transaction, settings of the role (ALTER ROLE ... SET), or a session pool for migrations.
    """
    if not action.local and action.value is not None:
        yield Hazard(f"SET {action.name} lasts for the session, which a pooler in transaction mode does not keep")
