"""The job that carries out a plan: tables side by side, the work on one table in order, under one watch.

A failure on one table does not stop the others. What each statement did goes into the job's history.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psycopg

from dbkit.errors import Broken, DbkitError
from dbkit.job import Log, Tick
from dbkit.model import Json
from dbkit.plan import Plan
from dbkit.postgres import catalog
from dbkit.postgres.connect import Connection, connect
from dbkit.postgres.indexes import cleanup, failure, schedule
from dbkit.postgres.indexes.build import POLL, Builder
from dbkit.postgres.indexes.outcome import Outcome, verdict
from dbkit.postgres.indexes.schedule import Schedule, Task
from dbkit.postgres.indexes.watch import Limits, Watch
from dbkit.settings import Target

KEY = "indexes"
"""Every job that builds or drops indexes in a database holds this one lock."""


class PlanJob:
    """Carries out a plan of kind `index` or `fix`; `outcomes` and `leftovers` are there when it has ended."""

    def __init__(self, plan: Plan, target: Target, *, jobs: int = 1, limits: Limits | None = None) -> None:
        self._plan = plan
        self._target = target
        self._jobs = max(1, jobs)
        self._limits = limits or Limits()
        self._watch: Watch | None = None
        self._epoch = time.monotonic()
        self._tasks = schedule.tasks(plan)
        self.outcomes = [task.outcome for task in self._tasks]
        self.leftovers: list[str] = []

    @property
    def kind(self) -> str:
        return self._plan.kind

    @property
    def key(self) -> str:
        return KEY

    @property
    def spec(self) -> Mapping[str, Json]:
        limits = self._limits
        return {
            "plan": self._plan.json_data(),
            "work": _work(self._plan),
            "jobs": self._jobs,
            "wait": limits.wait,
            "max_wait": limits.max_wait,
            "deadline": limits.deadline,
        }

    def cancel(self) -> None:
        """Leave at once: what a cancelled build leaves is for the next run. Called inside a signal handler."""
        if self._watch is not None:
            self._watch.stopping = self._watch.hurry = True

    def ticks(self, cursor: Mapping[str, Any], log: Log) -> Generator[Tick, None, None]:
        """Carry out the plan; a tick every half second. Where to go on is read from the catalogue."""
        del cursor
        self._epoch = time.monotonic()
        with connect(self._target, purpose="watch") as connection:
            work = Schedule(self._tasks, _sizes(connection))
            watch = self._watch = Watch(connection)
            count = min(self._jobs, len({outcome.table for outcome in self.outcomes}))
            workers = [threading.Thread(target=self._work, args=(watch, work), daemon=True) for _ in range(count)]
            for worker in workers:
                worker.start()
            try:
                while any(worker.is_alive() for worker in workers):
                    _wait(workers)
                    _drain(watch, log)
                    yield Tick(self._good(), len(self.outcomes), watch.look())
                self._name_leftovers(connection, log)
            finally:
                self._leave(watch, workers, log)
        yield Tick(self._good(), len(self.outcomes), f"{self._good()} of {len(self.outcomes)} are as wanted")
        error = verdict(self.outcomes)
        if error is not None:
            raise error

    def _leave(self, watch: Watch, workers: list[threading.Thread], log: Log) -> None:
        watch.stopping = True
        while any(worker.is_alive() for worker in workers):
            watch.cancel()  # again and again: a cancel that arrives just before its statement is lost
            for worker in workers:
                worker.join(0.2)
            _drain_if_possible(watch, log)
        _drain_if_possible(watch, log)

    def _good(self) -> int:
        return sum(outcome.end.good for outcome in self.outcomes)

    def _work(self, watch: Watch, work: Schedule) -> None:
        while True:
            with work.take(lambda: watch.stopping) as tasks:
                if not tasks:
                    return
                self._table(watch, tasks)

    def _table(self, watch: Watch, group: Sequence[Task]) -> None:
        """The work on one table, in order. After a failure the rest of the table is still tried."""
        builder: Builder | None = None
        try:
            for task in group:
                if watch.stopping:
                    return
                began = time.monotonic()
                task.outcome.began = began - self._epoch
                try:
                    if builder is None or builder.connection.closed:
                        builder = Builder(self._target, watch, self._limits, self._epoch)
                    task.do(builder)
                except DbkitError as error:
                    task.outcome.close(error, began)
                except psycopg.Error as error:
                    task.outcome.close(failure.of_build(error, task.outcome.object), began)
                except Exception as error:  # a defect of ours must not end as a silent thread
                    why = f"{type(error).__name__}: {error}"
                    hint = "this is a defect of dbkit: report it with `dbkit job show`"
                    task.outcome.close(Broken(task.outcome.object, why=why, hint=hint), began)
                else:
                    task.outcome.close(None, began)
                _tell(watch, task.outcome)
        finally:
            if builder is not None:
                builder.close()

    def _name_leftovers(self, connection: Connection, log: Log) -> None:
        self.leftovers = cleanup.leftovers(catalog.indexes(connection), {step.table for step in self._plan.steps})
        for text in self.leftovers:
            log("leftover", {"told": text})


def _sizes(connection: Connection) -> dict[str, int]:
    """Bytes by qualified table; a partitioned one has those of its partitions."""
    relations = catalog.relations(connection)
    names = {relation.oid: relation.qualified for relation in relations}
    sizes = {relation.qualified: relation.bytes for relation in relations}
    for partition in catalog.partitions(connection):
        root = names.get(partition.root_oid, "")
        sizes[root] = sizes.get(root, 0) + partition.bytes
    return sizes


def _wait(workers: list[threading.Thread]) -> None:
    """Until the next look; shorter when all workers have left."""
    until = time.monotonic() + POLL
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))


def _tell(watch: Watch, outcome: Outcome) -> None:
    detail: dict[str, Json] = {"outcome": outcome.end.value, "seconds": round(outcome.seconds, 3)}
    if outcome.error is not None:
        detail |= {"what": outcome.error.what, "why": outcome.error.why, "hint": outcome.error.hint}
    watch.say("outcome", object=outcome.object, **detail)


def _drain(watch: Watch, log: Log) -> None:
    for at, event, detail in watch.events():
        log(event, detail, time.monotonic() - at)


def _drain_if_possible(watch: Watch, log: Log) -> None:
    with suppress(psycopg.OperationalError):  # the store's connection may be what was lost
        _drain(watch, log)


def _work(plan: Plan) -> str:
    """What the plan is to achieve, as a short hash: the same for a plan made again after an interruption."""
    told = plan.data.get("wanted") if plan.kind == "index" else [step.sql for step in plan.steps]
    return hashlib.sha256(json.dumps([plan.kind, told]).encode()).hexdigest()[:16]
