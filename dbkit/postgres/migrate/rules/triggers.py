"""Triggers and rules made, enabled or disabled."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.rules.declare import (
    AX,
    BRIEF,
    INFO,
    also,
    hazard,
)


@hazard(
    "migrate.trigger-changed",
    on=(a.CreateTrigger, a.ToggleTrigger, a.CreateRule),
    category="policy",
    severity=INFO,
    lock=f"SHARE ROW EXCLUSIVE; a rule takes {AX}",
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
    ruled = isinstance(action, a.CreateRule) or (isinstance(action, a.ToggleTrigger) and action.rule)
    verb = "changing" if isinstance(action, a.ToggleTrigger) else "creating"
    yield Hazard(
        f"{verb} {'rule' if ruled else 'trigger'} {action.name or '(all)'} waits for every"
        f" {'reader and writer' if ruled else 'writer'} of {action.table} and changes what writes do",
        object=str(action.table),
        data={"lock": AX if ruled else "SHARE ROW EXCLUSIVE", "cost": BRIEF},
    )
