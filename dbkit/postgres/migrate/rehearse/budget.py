"""The rule of the budget: how long readers and writers may be kept waiting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dbkit.model import Evidence, Severity
from dbkit.postgres.migrate.rehearse import predict
from dbkit.postgres.migrate.rehearse.observed import Hold, stops
from dbkit.postgres.migrate.rehearse.scene import Scene, Sight
from dbkit.rules import rule
from dbkit.sizes import format_seconds

if TYPE_CHECKING:
    from dbkit.postgres.migrate.rehearse.rehearsal import Outcome


@rule(
    "migrate.stall-over-budget",
    engine="postgres",
    category="lock",
    severity=Severity.ERROR,
    evidence=Evidence.OBSERVED,
    ok="No lock would keep readers or writers waiting longer than allowed",
    bad="""
    -- before
    create table orders (id bigint primary key, total int);
    -- migration
    alter table orders alter column total set not null;
    """,
    good="""
    -- before
    create table orders (id bigint primary key, total int);
    -- migration
    alter table orders alter column total set default 0;
    """,
    facts={"lock": "SHARE or stronger"},
)
def stall_over_budget(scene: Scene) -> Iterator[Sight]:
    """Readers or writers of a table would wait longer than --max-stall allows.

    Why: a lock is held to the end of its transaction, so a scan, a rewrite or an index build under it is time in which
    the application stands still, and its requests pile up behind.

    Fix: do the long part under a weaker lock (`dbkit migrate lint` shows how), or put it into a transaction of its own,
    away from the statement that takes the lock.

    Not reported when: no statement in the transaction does work that grows with the table, or, with --stats, the
    predicted time at production size is within the budget.

    See: dbkit explain rehearse
    """
    if scene.max_stall is None:
        return
    outcome = scene.outcome
    reported: set[tuple[str, int]] = set()
    for hold in sorted(outcome.holds, key=lambda h: -h.mode):
        relation = outcome.before.get(hold.relation)
        if relation is None or relation.is_index or not 0 <= hold.statement < len(outcome.seen):
            continue
        if not stops(hold.mode, relation) or not _works(outcome, hold):
            continue
        transaction = outcome.seen[hold.statement].transaction
        if (hold.relation, transaction) in reported:
            continue
        words = _over(outcome, hold, scene.max_stall)
        if words:
            reported.add((hold.relation, transaction))
            whom = hold.mode.blocks
            yield Sight(
                f"{whom} of {hold.relation} would wait {words}, {format_seconds(scene.max_stall)} are allowed"
                f" ({hold.mode.words})",
                object=hold.relation,
                statement=_heaviest(outcome, hold),
            )


def _over(outcome: Outcome, hold: Hold, budget: float) -> str:
    """How long the lock is held, if that is over the budget: as predicted, else as seen."""
    if outcome.predictions:
        found = predict.of_hold(hold, outcome.seen, outcome.predictions)
        if found is not None:
            if found.likely <= budget:
                return ""
            return f"{interval(found)} at production size"
    seconds = hold.end - hold.start
    return f"{format_seconds(seconds)} at the rehearsed size" if seconds > budget else ""


def interval(found: predict.Prediction) -> str:
    """A prediction in words."""
    low, high = format_seconds(found.low), format_seconds(found.high)
    return f"about {format_seconds(found.likely)} ({low} to {high})"


def _under(outcome: Outcome, hold: Hold) -> list[int]:
    """Positions of the statements that run while the lock is held."""
    transaction = outcome.seen[hold.statement].transaction
    return [n for n, s in enumerate(outcome.seen) if n >= hold.statement and s.transaction == transaction]


def _works(outcome: Outcome, hold: Hold) -> bool:
    return any(outcome.seen[n].work for n in _under(outcome, hold))


def _heaviest(outcome: Outcome, hold: Hold) -> int:
    def weight(position: int) -> float:
        one = outcome.predictions[position] if position < len(outcome.predictions) else None
        return one.likely if one is not None else outcome.seen[position].seconds

    return max(_under(outcome, hold), key=weight)
