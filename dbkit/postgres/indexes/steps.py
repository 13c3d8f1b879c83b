"""Single steps on existing indexes, as `audit --fix` plans them: drop, rebuild, or build one that a finding asks for.

Before each step the object is held against the fingerprint the plan was made from: done already is skipped, changed
since is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from dbkit.errors import Broken, Refused
from dbkit.plan import Step
from dbkit.postgres import catalog
from dbkit.postgres.catalog import Index
from dbkit.postgres.connect import Connection
from dbkit.postgres.indexes import desired, fixes, wishes
from dbkit.postgres.indexes.build import Builder
from dbkit.postgres.indexes.outcome import Outcome

ACTIONS = frozenset({"drop-index", "reindex", "create-index"})


def take(builder: Builder, step: Step, outcome: Outcome) -> None:
    """Take one step and verify it. Raises Refused when its object has changed since the plan was made."""
    builder.connection.execute("set /* dbkit */ search_path = pg_catalog")
    if step.action == "create-index":
        wishes.settle(builder, desired.read(step.sql, f"step {step.id}")[0], outcome)
        return
    found = current(builder.connection)
    index = found.get(step.object)
    if done(step, index):
        return
    if stale(step, index) or index is None:
        raise Refused(f"{step.object} has changed since the plan was made", hint="make a new plan and review it")
    builder.run(step, outcome, "pg_catalog", index.table_oid)
    after = current(builder.connection).get(step.object)
    if not done(step, after):
        state = "it is still there" if step.action == "drop-index" else "it is not valid"
        raise Broken(f"{step.action} {step.object} did not come about", why=state, hint="`dbkit audit` shows its state")
    builder.watch.say("verified", object=step.object, state=step.check)


def current(connection: Connection) -> Mapping[str, Index]:
    """Every index by its qualified name."""
    connection.execute("set /* dbkit */ search_path = pg_catalog")
    return {index.qualified: index for index in catalog.indexes(connection)}


def done(step: Step, index: Index | None) -> bool:
    """Whether a step has nothing left to do."""
    if step.action == "drop-index":
        return index is None
    if step.action == "reindex":  # a rebuilt index is another relation
        return index is not None and index.is_valid and index.oid != step.data.get("oid")
    return False


def stale(step: Step, index: Index | None) -> bool:
    """Whether the object is neither what the plan saw nor what an interrupted run of this step leaves."""
    if done(step, index):
        return False
    if step.action == "create-index":
        # Whether one of that name is the wanted one is for `wishes.settle`, which compares definitions.
        return index is not None and step.before == fixes.fingerprint(None) and index.table != step.table
    if index is None:
        return True
    half_dropped = index.oid == step.data.get("oid") and not index.is_valid
    return fixes.fingerprint(index) != step.before and not half_dropped
