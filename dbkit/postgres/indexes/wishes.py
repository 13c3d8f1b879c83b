"""One wanted index, from whatever is there to verified: look, take the steps, look again, until nothing is left to do.

So a run that was killed, a build that outlived its client, and a half-attached partitioned index need no case of their
own. Success is what the catalogue says afterwards, never what a statement returned.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from dbkit.errors import Broken, Refused, Stopped
from dbkit.plan import Plan, Step
from dbkit.postgres.catalog import quoted
from dbkit.postgres.indexes import desired, planning
from dbkit.postgres.indexes.audit import settled
from dbkit.postgres.indexes.build import Builder, Overtaken
from dbkit.postgres.indexes.compare import Observed, TableLocked, observe
from dbkit.postgres.indexes.desired import Wanted
from dbkit.postgres.indexes.outcome import Outcome
from dbkit.postgres.indexes.states import IndexState, State

ROUNDS = 5
"""How often the steps may be taken without the catalogue becoming as wanted: each round met somebody's change."""


def of_plan(plan: Plan) -> dict[tuple[str | None, str], Wanted]:
    """The wishes a plan carries, by schema and name."""
    found = [w for entry in plan.data.get("wanted", []) for w in desired.read(entry["sql"], entry["file"])]
    return {(w.schema, w.name): w for w in found}


def settle(builder: Builder, wanted: Wanted, outcome: Outcome) -> None:
    """Bring one wanted index about. Raises Stopped, Refused or Broken; returns when the server has it as wanted."""
    began, rounds, told = time.monotonic(), 0, ""
    while not builder.watch.stopping:
        observed = _look(builder, wanted)
        state = observed.states[0]
        if settled(state):
            _after(builder, state, outcome)
            return
        if state.state in planning.RULES:
            raise Refused(f"{state.object} cannot be built", why=state.detail, hint=state.hint or None)
        planned = planning.plan(observed, builder.target.name).steps
        steps = _free(observed, planned)
        if not steps and (planned or observed.builds or rounds < ROUNDS):
            told = _reattach(builder, state, observed, began, told)
            rounds += not planned and not observed.builds  # nobody builds, and nothing is left to do
            continue
        if rounds == ROUNDS:
            raise Broken(
                f"{state.object} does not become as wanted",
                why=f"after {rounds} rounds it is {state.state.value}: {state.detail}",
                hint="another session changes it at the same time: find out who, then run the same command again",
            )
        rounds += 1
        for step in steps:
            try:
                builder.run(step, outcome, observed.search_path, _table(step, state))
            except Overtaken as error:
                if rounds == ROUNDS:
                    raise
                builder.watch.say("look again", object=step.object, why=error.why)
                break
    raise Stopped(f"{wanted.name} was not reached: the run is being stopped")


def _look(builder: Builder, wanted: Wanted) -> Observed:
    """The state now. A table that another session holds for itself is waited for: nothing of ours is held meanwhile."""
    until = time.monotonic() + builder.limits.max_wait
    with builder.watch.waiting(wanted.name) as note:
        while True:
            builder.connection.execute("set /* dbkit */ search_path = pg_catalog")
            try:
                return observe(builder.connection, builder.server, [wanted])
            except TableLocked as locked:
                if builder.watch.stopping or time.monotonic() > until:
                    raise Stopped(locked.what, why=locked.why, hint=locked.hint) from None
                note(f"{wanted.name}: cannot be looked at, a table of this database is locked")


def _free(observed: Observed, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps on indexes that no other session is building now; those of other partitions need not wait for it."""
    building = {b.index_oid for b in observed.builds}
    held = {i.qualified for i in observed.indexes if i.oid in building}
    return tuple(step for step in steps if step.object not in held)


def _reattach(builder: Builder, state: IndexState, observed: Observed, began: float, told: str) -> str:
    builds = [b for b in observed.builds if state.build is None or b.pid == state.build.pid]
    build = builds[0] if builds else None
    whose = f"pid {build.pid} ({build.username or 'user hidden'}), {build.phase}" if build else "its last phase"
    with builder.watch.waiting(state.object) as note:
        note(f"{state.object}: is being built by another session: {whose}")
        if not told:
            builder.watch.say(
                "re-attached", object=state.object, why=f"a build is still running on the server: {whose}"
            )
        builder.wait(state.object, began)
    return whose


def _table(step: Step, state: IndexState) -> int:
    """The oid of the table a step locks: the partition's own, or the wanted index's table."""
    places: Mapping[str, int] = {leaf.partition.qualified: leaf.partition.oid for leaf in state.leaves}
    on = step.lock.partition(" on ")[2].partition(",")[0]
    return places.get(on, state.table.oid if state.table else 0)


def _after(builder: Builder, state: IndexState, outcome: Outcome) -> None:
    """Expression indexes bring statistics of their own, which exist only after ANALYZE."""
    index, table = state.equal or state.actual, state.table
    built = any(r.action == "create-index" and r.outcome == "done" for r in outcome.ran)
    if state.state is State.OK and built and index and index.expressions and table:
        builder.watch.say("analyze", object=quoted(table.schema, table.name), why="an index on an expression is new")
        builder.analyze(table.schema, table.name, outcome)
    if outcome.ran:
        builder.watch.say("verified", object=state.object, state=state.state.value)
