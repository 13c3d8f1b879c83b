"""Builds the wanted indexes of a plan without blocking readers or writers, and verifies each.

For every index the loop is the same: look, take the next step, look again, until nothing is left to do. So a run that
was killed, a build that outlived its client, and a half-attached partitioned index need no case of their own. Success
is what the catalogue says afterwards, never what a statement returned.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString, cast

import psycopg
from psycopg import errors, sql

from dbkit import assets
from dbkit.errors import Broken, DbkitError, Refused, Stopped
from dbkit.job import Tick
from dbkit.model import Json
from dbkit.plan import Plan, Step
from dbkit.postgres import catalog
from dbkit.postgres.connect import Connection, connect, explain, fetch, require_supported, server
from dbkit.postgres.indexes import desired, planning
from dbkit.postgres.indexes.audit import settled
from dbkit.postgres.indexes.compare import IndexState, Observed, State, observe
from dbkit.postgres.indexes.desired import Wanted
from dbkit.secrets import redact
from dbkit.settings import Target
from dbkit.sizes import format_seconds

POLL: Final = 0.5
LOCK_ATTEMPTS: Final = 60
SHORT_LOCK: Final = "200ms"
REMAINS: Final = ("drop-index",)


@dataclass
class Outcome:
    """What became of one wanted index."""

    name: str
    table: str
    state: str = "pending"
    seconds: float = 0.0
    error: str = ""
    hint: str = ""
    steps: list[str] = field(default_factory=list[str])
    interrupted: bool = False


class IndexJob:
    """The job that executes an index plan; `outcomes` is there when it has ended."""

    def __init__(
        self, plan: Plan, target: Target, *, jobs: int = 1, wait: float = 30.0, deadline: float = 21600.0
    ) -> None:
        self._plan = plan
        self._target = target
        self._jobs = max(1, jobs)
        self._wait = wait
        self._deadline = deadline
        self._stop = threading.Event()
        self._building: dict[int, Connection] = {}
        self._notes: queue.Queue[str] = queue.Queue()
        self.outcomes: list[Outcome] = []

    @property
    def kind(self) -> str:
        return "index"

    @property
    def key(self) -> str:
        return f"indexes of {self._plan.target.database}"

    @property
    def spec(self) -> Mapping[str, Json]:
        return {"plan": self._plan.json_data(), "jobs": self._jobs}

    def cancel(self) -> None:
        """Cancel what runs on the server."""
        self._stop.set()
        for connection in list(self._building.values()):
            connection.cancel()

    def ticks(self, cursor: Mapping[str, Any]) -> Generator[Tick, None, None]:
        """Run the plan; one tick per half second and per finished index."""
        del cursor  # where to go on is read from the catalogue
        groups = self._groups()
        waiting: queue.Queue[list[Wanted]] = queue.Queue()
        for group in groups.values():
            waiting.put(group)
        workers = [threading.Thread(target=self._work, args=(waiting,)) for _ in range(min(self._jobs, len(groups)))]
        total = sum(len(g) for g in groups.values())
        with connect(self._target, purpose="watch") as watch:
            for worker in workers:
                worker.start()
            try:
                while any(w.is_alive() for w in workers):
                    time.sleep(POLL)
                    yield Tick(self._finished(), total, self._note(watch))
            except GeneratorExit:
                self.cancel()
                raise
            finally:
                self._stop.set()
                for worker in workers:
                    worker.join()
        yield Tick(self._finished(), total, f"{self._finished()} of {total} indexes are as wanted")
        self._conclude()

    def _groups(self) -> dict[str, list[Wanted]]:
        """The wanted indexes the plan has steps for, by table."""
        wishes = wanted_of(self._plan)
        groups: dict[str, list[Wanted]] = {}
        for step in self._plan.steps:
            key = (step.data.get("schema"), step.data["index"])
            group = groups.setdefault(step.table, [])
            if key in wishes and wishes[key] not in group:
                group.append(wishes[key])
        for table, group in groups.items():
            self.outcomes += [Outcome(w.name, table) for w in group]
        return groups

    def _finished(self) -> int:
        return sum(o.state == "ok" for o in self.outcomes)

    def _note(self, watch: Connection) -> str:
        notes: list[str] = []
        while not self._notes.empty():
            notes.append(self._notes.get())
        for build in catalog.builds(watch):
            share = ""
            if build.blocks_total:
                share = f" {100 * (build.blocks_done or 0) // build.blocks_total}%"
            waits = f", waits for pid {build.current_locker_pid}" if build.current_locker_pid else ""
            notes.append(f"{build.phase or 'building'}{share}{waits}")
        return "; ".join(notes)

    def _work(self, waiting: queue.Queue[list[Wanted]]) -> None:
        while not self._stop.is_set():
            try:
                group = waiting.get_nowait()
            except queue.Empty:
                return
            for wanted in group:
                outcome = next(o for o in self.outcomes if o.name == wanted.name)
                if not self._stop.is_set():
                    self._one(wanted, outcome)

    def _one(self, wanted: Wanted, outcome: Outcome) -> None:
        began = time.monotonic()
        try:
            with connect(self._target, purpose="index build") as connection:
                self._until_settled(connection, wanted, outcome, began)
        except DbkitError as error:
            outcome.state, outcome.error, outcome.hint = "failed", f"{error.what}: {error.why}", error.hint or ""
            outcome.interrupted = outcome.interrupted or error.exit_code in (3, 5)
        except psycopg.Error as error:
            shown = explain(error, f"building {wanted.name} failed")
            outcome.state, outcome.error, outcome.hint = "failed", f"{shown.what}: {shown.why}", shown.hint or ""
            outcome.interrupted = error.sqlstate in (None, "57014", "57P01", "40P01", "55P03")
        outcome.seconds = time.monotonic() - began

    def _until_settled(self, connection: Connection, wanted: Wanted, outcome: Outcome, began: float) -> None:
        found = server(connection)
        while not self._stop.is_set():
            observed = observe(connection, found, [wanted])
            state = observed.states[0]
            if settled(state):
                outcome.state = "ok"
                self._after(connection, state, outcome)
                return
            if state.state in planning.RULES:
                raise Refused(f"{state.object} cannot be built", why=state.detail, hint=state.hint or None)
            if time.monotonic() - began > self._deadline:
                raise Stopped(f"{wanted.name} reached its deadline", why=f"after {format_seconds(self._deadline)}")
            if state.state is State.BUILDING:
                self._notes.put(f"{wanted.name} is being built by pid {state.build.pid if state.build else '?'}")
                time.sleep(POLL)
                continue
            steps = planning.plan(observed, self._target.name).steps
            if not steps:  # a partition's index is still being built elsewhere
                time.sleep(POLL)
                continue
            self._step(connection, observed, steps[0], outcome)

    def _step(self, connection: Connection, observed: Observed, step: Step, outcome: Outcome) -> None:
        connection.execute("select set_config('search_path', %s, false)", [observed.search_path])
        statement = sql.SQL(cast(LiteralString, step.sql))  # made by planning.py from the grammar, names quoted by it
        outcome.steps.append(step.sql)
        if step.action in ("attach-index", "create-parent-index"):
            _briefly(connection, statement, step)
            return
        if step.action == "create-index":
            self._look_ahead(connection)
        timer = threading.Timer(self._deadline, connection.cancel)
        timer.start()
        self._building[id(connection)] = connection
        try:
            connection.execute(statement)
        except psycopg.Error:
            if step.action == "create-index" and not connection.closed:
                self._clean(connection, observed, step)
            raise
        finally:
            timer.cancel()
            self._building.pop(id(connection), None)

    def _look_ahead(self, connection: Connection) -> None:
        """Name the transactions a build would wait for, and give them a while: a waiting build blocks VACUUM."""
        until = time.monotonic() + self._wait
        while not self._stop.is_set():
            blockers = fetch(connection, assets.query("postgres/blockers"))
            if not blockers or time.monotonic() > until:
                return
            self._notes.put(f"waits for {describe(blockers[0])}")
            time.sleep(POLL)

    def _clean(self, connection: Connection, observed: Observed, step: Step) -> None:
        """Take away the invalid remains of our own failed build; nobody else can be building it."""
        name = step.data["made"]
        invalid = [i for i in catalog.indexes(connection) if i.name == name and not i.is_valid and not i.is_partitioned]
        building = {b.index_oid for b in catalog.builds(connection)}
        for index in invalid:
            if index.oid not in building and index.oid not in {i.oid for i in observed.indexes if i.is_valid}:
                self._drop_remains(connection, index)

    def _drop_remains(self, connection: Connection, index: catalog.Index) -> None:
        """Bounded: dropping waits for the same transactions the build waited for. The next run tries again."""
        connection.execute("set lock_timeout = '2s'")
        try:
            connection.execute(sql.SQL("drop index concurrently {}").format(sql.Identifier(index.schema, index.name)))
            self._notes.put(f"removed the invalid remains of {index.name}")
        except errors.LockNotAvailable:
            self._notes.put(f"{index.qualified} stays invalid for now: somebody still uses {index.table}")
        finally:
            if not connection.closed:
                connection.execute("set lock_timeout = 0")

    def _after(self, connection: Connection, state: IndexState, outcome: Outcome) -> None:
        """Expression indexes bring statistics of their own, which exist only after ANALYZE."""
        if outcome.steps and state.actual and state.actual.expressions and state.table:
            connection.execute(sql.SQL("analyze {}").format(sql.Identifier(state.table.schema, state.table.name)))

    def _conclude(self) -> None:
        failed = [o for o in self.outcomes if o.state == "failed"]
        if not failed:
            return
        first = failed[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        kind = Stopped if all(o.interrupted for o in failed) else Broken
        hint = first.hint or "run the same command again: it goes on where this one stopped"
        raise kind(f"{first.name} was not built{more}", why=redact(first.error), hint=hint)


def describe(blocker: Mapping[str, Any]) -> str:
    """A blocking session in words: pid, user, application, state, age and what it runs."""
    query = redact(" ".join(str(blocker["query"] or "").split()))
    return (
        f"pid {blocker['pid']} ({blocker['username']}, {blocker['application_name'] or 'no name'}, {blocker['state']}, "
        f"for {format_seconds(blocker['seconds'] or 0)}): {query}"
    )


def wanted_of(plan: Plan) -> dict[tuple[str | None, str], Wanted]:
    """The wishes a plan carries."""
    found = [w for entry in plan.data.get("wanted", []) for w in desired.read(entry["sql"], entry["file"])]
    return {(w.schema, w.name): w for w in found}


def prepare(connection: Connection, plan: Plan) -> Observed:
    """Refuse what must not start: another database, a pooler, a standby, a plan that time has overtaken."""
    found = server(connection)
    require_supported(found)
    plan.refuse_elsewhere(found.system, found.database)
    if found.in_recovery:
        raise Refused("this is a standby", why="indexes are built on the primary", hint="connect to the primary")
    if not found.direct:
        raise Refused(
            "this connection goes through a pooler",
            why="settings made before a build may reach another server session, and the pooler's timeouts end builds",
            hint="connect to PostgreSQL itself, usually port 5432",
        )
    observed = observe(connection, found, list(wanted_of(plan).values()))
    stale = _stale(plan, observed.states)
    if stale:
        raise Refused(
            f"the plan is stale: {stale} is not what it was when the plan was made",
            hint="make a new plan, review it, and apply that",
        )
    _refuse_without_rights(observed, plan)
    return observed


def _stale(plan: Plan, states: Sequence[IndexState]) -> str:
    now = {(s.wanted.schema, s.wanted.name): s for s in states}
    for step in plan.steps:
        state = now.get((step.data.get("schema"), step.data["index"]))
        if state is not None and not settled(state) and planning.fingerprint(state) != step.before:
            return state.object
    return ""


def _refuse_without_rights(observed: Observed, plan: Plan) -> None:
    touched = {(step.data.get("schema"), step.data["index"]) for step in plan.steps}
    for state in observed.states:
        table = state.table
        if table is None or (state.wanted.schema, state.wanted.name) not in touched:
            continue
        if not table.owned:
            raise Refused(
                f"this role may not index {table.qualified}",
                why=f"only its owner {table.owner} may",
                hint=f"connect as a member of {catalog.quote(table.owner)}",
            )
        if not table.may_create:
            schema = catalog.quote(table.schema)
            raise Refused(
                f"this role may not create in schema {schema}",
                hint=f"grant create on schema {schema} to {catalog.quote(observed.server.user)}",
            )


def _briefly(connection: Connection, statement: sql.SQL, step: Step) -> None:
    """A statement with a real lock: never without a timeout, tried again with jitter."""
    connection.execute(sql.SQL("set lock_timeout = {}").format(sql.Literal(SHORT_LOCK)))
    try:
        for attempt in range(LOCK_ATTEMPTS):
            try:
                connection.execute(statement)
            except errors.LockNotAvailable:
                if attempt == LOCK_ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - jitter
            else:
                return
    finally:
        if not connection.closed:
            connection.execute("set lock_timeout = 0")
    raise Stopped(f"no lock for {step.object}")
