"""Which fills are due: those of one change, of all that are expanded, or one that a user wrote by hand."""

from __future__ import annotations

from collections.abc import Sequence

from dbkit.errors import Refused
from dbkit.postgres.connect import connect
from dbkit.postgres.migrate.changes import standing
from dbkit.postgres.migrate.changes.spec import Change, Phase
from dbkit.postgres.migrate.revisions import Environment
from dbkit.settings import Target


def due(target: Target, environment: Environment, name: str | None) -> list[Change]:
    """The change of that name, or without one all that are expanded and not yet verified, in the chain's order.

    Raises Refused when the named one is not at a point where rows are filled.
    """
    with connect(target, purpose="migrate") as connection:
        if name is None:
            return [c for c in standing.changes(connection, environment) if c.phase is Phase.EXPANDED and c.backfills]
        change = standing.one(connection, environment, name)
    if change.returning:
        raise Refused(
            f"a rollback of {change.id} was cut off half way",
            why="what keeps filled rows right may be gone",
            hint=f"end it first: `dbkit migrate rollback {change.id}`",
        )
    if change.phase in (Phase.NEW, Phase.EXPANDING):
        raise Refused(
            f"{change.id} is {change.phase.value}: the triggers that keep filled rows right are not there yet",
            hint=f"`dbkit migrate expand {change.id}` first",
        )
    if change.phase in (Phase.CONTRACTING, Phase.CONTRACTED):
        raise Refused(f"{change.id} is {change.phase.value}: its rows were filled before that")
    return [change]


def names(changes: Sequence[Change]) -> str:
    """The changes in words."""
    return ", ".join(c.id for c in changes) or "no change is expanded and unverified"
