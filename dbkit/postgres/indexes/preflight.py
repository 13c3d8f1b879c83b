"""Refusals before anything changes: another database, a pooler, a standby, missing rights, a plan time overtook."""

from __future__ import annotations

from dbkit.errors import DbkitError, Refused, Unreachable, UsageError
from dbkit.plan import Plan
from dbkit.postgres import catalog
from dbkit.postgres.catalog import Relation, quote
from dbkit.postgres.connect import Connection, Server, require_supported, server
from dbkit.postgres.indexes import planning, steps, wishes
from dbkit.postgres.indexes.audit import settled
from dbkit.postgres.indexes.compare import TableLocked, observe
from dbkit.postgres.indexes.states import IndexState, State
from dbkit.postgres.settings import execute as settings
from dbkit.postgres.settings.steps import ACTIONS as SETTINGS

KINDS = ("index", "fix")


def check(connection: Connection, plan: Plan) -> Server:
    """Raise Refused (exit 4) or Unreachable (exit 3, with the GRANT) unless this plan may run here and now."""
    if plan.kind not in KINDS:
        raise UsageError(
            f"a plan of kind {plan.kind!r} is not one this dbkit can apply", hint=f"it knows {' and '.join(KINDS)}"
        )
    found = server(connection)
    require_supported(found)
    plan.refuse_elsewhere(found.system, found.database)
    refuse_standby(found, plan)
    if not found.direct:
        raise Refused(
            "this connection goes through a pooler such as PgBouncer",
            why="settings made before a build may reach another server session, and the pooler's timeouts end builds",
            hint="connect to PostgreSQL itself, usually on port 5432",
        )
    if plan.kind == "index":
        _wishes(connection, found, plan)
    else:
        _steps(connection, found, plan)
    return found


def refuse_standby(found: Server, plan: Plan | None = None) -> None:
    """Raise Refused on a standby, where wanted indexes can neither be built nor compared, and no job be recorded."""
    if found.in_recovery and plan is not None and plan.steps and all(s.action in SETTINGS for s in plan.steps):
        raise Refused(
            "this server is a standby",
            why="it takes ALTER SYSTEM, but `apply` keeps its record in the database, where a standby cannot write",
            hint="write the same as a script and run it with psql: dbkit audit TARGET --fix fix.sql",
        )
    if found.in_recovery:
        raise Refused(
            "this server is a standby",
            why="wanted indexes are compared on an empty copy of their table and built on the primary",
            hint="connect to the primary; `dbkit audit` looks at a standby's own index health",
        )


def _wishes(connection: Connection, found: Server, plan: Plan) -> None:
    try:
        states = observe(connection, found, list(wishes.of_plan(plan).values())).states
    except TableLocked as locked:
        raise Refused(locked.what, why=locked.why, hint=locked.hint) from None
    now = {(s.wanted.schema, s.wanted.name): s for s in states}
    for step in plan.steps:
        state = now.get((step.data.get("schema"), step.data["index"]))
        if state is None:
            raise UsageError(
                f"the plan's step {step.id} is about {step.object}, which the plan does not want",
                hint="the file was changed by hand: make the plan again",
            )
        if settled(state):
            continue
        if state.table is not None:
            _rights(found, state.table)
        if state.state in planning.RULES:
            raise _unbuildable(state)
        if planning.fingerprint(state) != step.before:
            raise _stale(state.object)


def _unbuildable(state: IndexState) -> DbkitError:
    if state.state in (State.NOT_COMPARED, State.NOT_VISIBLE):
        return Unreachable(f"{state.object} cannot be judged", why=state.detail, hint=state.hint or None)
    if state.state is State.CANNOT_BUILD:
        return Refused(f"{state.object} cannot be built", why=state.detail, hint=state.hint or None)
    return _stale(state.object, state.detail)


def _stale(name: str, why: str = "") -> Refused:
    return Refused(
        f"the plan is stale: {name} is not what it was when the plan was made",
        why=why or None,
        hint="make a new plan, review it, and apply that",
    )


def _steps(connection: Connection, found: Server, plan: Plan) -> None:
    relations = {r.qualified: r for r in catalog.relations(connection)}
    there = steps.current(connection)
    for step in plan.steps:
        if step.action in SETTINGS:
            settings.check(connection, found, step)
            continue
        if step.action not in steps.ACTIONS:
            raise UsageError(f"the plan's step {step.id} ({step.action}) is not one this dbkit can take")
        index = there.get(step.object)
        if steps.done(step, index):
            continue
        if steps.stale(step, index):
            raise _stale(step.object)
        table = relations.get(step.table)
        if table is None:
            raise _stale(step.table, "the table is not there")
        _rights(found, table)


def _rights(found: Server, table: Relation) -> None:
    if not table.owned:
        raise Unreachable(
            f"this role may not index {table.qualified}",
            why=f"only its owner {table.owner} may, and {found.user} is not a member of it",
            hint=f"connect as a member of {quote(table.owner)}, or: grant {quote(table.owner)} to {quote(found.user)}",
        )
    if not table.may_create:
        schema = quote(table.schema)
        raise Unreachable(
            f"this role may not create in schema {schema}",
            hint=f"grant create on schema {schema} to {quote(found.user)}",
        )
