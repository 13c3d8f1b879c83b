"""The backfill as a job: cut the table into ranges, let workers fill them, hold back while a signal says so.

The job's own thread looks at the server and writes the history; the workers fill. Where the work stands is in
dbkit.backfill, written by the workers in the transaction of each batch: the job's cursor only says that it was begun.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import psycopg

from dbkit.errors import Refused, Stopped
from dbkit.job import Log, Tick
from dbkit.model import Json
from dbkit.postgres.catalog import quoted
from dbkit.postgres.connect import Connection, connect
from dbkit.postgres.migrate.backfill import ranges, session, state, tables
from dbkit.postgres.migrate.backfill.crew import Crew, Shared
from dbkit.postgres.migrate.backfill.limits import Limits, told
from dbkit.postgres.migrate.backfill.survey import Survey, survey
from dbkit.postgres.migrate.backfill.throttle import Hold, Throttle
from dbkit.postgres.migrate.changes.spec import BackfillSpec
from dbkit.settings import Target
from dbkit.sizes import format_seconds

KIND: Final = "backfill"
LOOK_EVERY: Final = 0.5
LOOK_HELD: Final = 0.1
"""Seconds between looks while held back: a session that waited for a batch is through within one."""
RATE_OVER: Final = 30.0
SLICES_A_WORKER: Final = 4
"""So many slices for each worker of a table, so that none is left with a long last one."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """How a backfill is carried out. `texts` are limits given for this run, by name."""

    workers: int = 2
    """One for each range that is filled at a time; while one waits for a commit or a lock, the other works."""
    by: str = "auto"
    """`auto`, `key` or `ctid`."""
    triggers: str = "auto"
    """`skip` the table's own triggers, let them `fire`, or `auto`: skip for a change where the role may."""
    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    resume: int | None = None
    deadline: float | None = None
    """Seconds after which it pauses."""


class BackfillJob:
    """One fill of one table. `ours` says that dbkit wrote the spec, with triggers that keep filled rows right."""

    kind = KIND

    def __init__(self, spec: BackfillSpec, target: Target, knobs: Knobs, *, ours: bool) -> None:
        self._fill, self._target, self._knobs, self._ours = spec, target, knobs, ours
        self.number = 0
        """The job's number, set by whoever runs it once it is known."""
        self.left: Survey | None = None
        """What was still pending at the end, where that was counted."""
        self.shared = Shared(Limits.of_texts(knobs.texts))
        self.held: dict[str, float] = {}
        """Seconds held back by each signal."""
        self._hurry = False
        self._rate: deque[tuple[float, float]] = deque()
        self._total = 0.0

    @property
    def key(self) -> str:
        return f"backfill of {quoted(self._fill.schema, self._fill.table)}"

    @property
    def spec(self) -> Mapping[str, Json]:
        plan: dict[str, Json] = {**asdict(self._fill), "columns": list(self._fill.columns)}
        return {
            "work": state.work_of(self._fill),
            "change": self._fill.change,
            "plan": plan,
            "ours": self._ours,
            "workers": self._knobs.workers,
            "by": self._knobs.by,
            "triggers": self._knobs.triggers,
        }

    def cancel(self) -> None:
        """Second signal: batches that run are cancelled, not waited for."""
        self._hurry = True

    def ticks(self, cursor: Mapping[str, Any], log: Log) -> Generator[Tick, None, None]:
        """Fill, and say every half second how far it is."""
        try:
            with ExitStack() as stack:
                yield from self._ticks(cursor, log, stack)
        except psycopg.OperationalError as error:
            if error.sqlstate is not None and not error.sqlstate.startswith(("57P", "08")):
                raise
            raise Stopped(
                "the connection to the server was lost", hint="run the same command again: what was committed stays"
            ) from None

    def _ticks(self, cursor: Mapping[str, Any], log: Log, stack: ExitStack) -> Generator[Tick, None, None]:
        control = stack.enter_context(connect(self._target, purpose="backfill watch"))
        table = self._look(control, log)
        triggers = self._knobs.triggers if self._ours or self._knobs.triggers != "auto" else "fire"
        settled = session.settle(control, self._fill, table, triggers, self.shared.limits.batch_time)
        for note in settled.notes:
            log("session", {"reason": note})
        fresh = not cursor.get("begun")
        self._cut(control, table, log, fresh=fresh)
        yield Tick(0, None, "ranges are cut", cursor={"begun": True})
        self._limits(control, log, begin=True)
        rels = [leaf.oid for leaf in table.leaves]
        crew = Crew(self._fill, self._target, settled, self.shared)
        throttle = Throttle(control, crew.pids, rels)
        stack.callback(lambda: self._flush(log))
        stack.callback(lambda: crew.close(hurry=self._hurry))
        while True:
            parts = state.parts(control, self._fill, table)
            open_ = [part for part in parts if not part.finished]
            self.shared.seen = sum(p.seen for p in parts)
            self._total = max(sum(p.seen if p.finished else max(p.total, p.seen) for p in parts), 1)
            if not open_:
                break
            self.shared.hold.set()  # nothing is filled before the first look
            crew.start(open_, self._knobs.workers)
            yield from self._watch(control, crew, throttle, log)
            table = tables.look(control, self._fill, self._knobs.by, ours=self._ours)
            self._cut(control, table, log, fresh=False)  # partitions that were attached meanwhile
        if not self._ours:
            yield from self._count(control)
        yield Tick(self._total, self._total, self._end())

    def _look(self, control: Connection, log: Log) -> tables.Table:
        table = tables.look(control, self._fill, self._knobs.by, ours=self._ours)
        heir = session.inherits(control, table, self._fill)
        if heir:
            raise Refused(
                f"{quoted(self._fill.schema, self._fill.table)} has the child table {heir} by inheritance",
                hint="fill each table by itself with --table, or detach it first",
            )
        tables.check(control, self._fill, ours=self._ours)
        for leaf in table.leaves:
            by = f"by {', '.join(leaf.key.columns)}" if leaf.key else "by ctid"
            log("walk", {"object": leaf.qualified, "by": by, "reason": leaf.why, "pages": leaf.pages})
        if table.leave_out:
            log("left out", {"reason": table.leave_out})
        return table

    def _cut(self, control: Connection, table: tables.Table, log: Log, *, fresh: bool) -> None:
        known = set[int]() if fresh else {p.leaf.oid for p in state.parts(control, self._fill, table)}
        count = self._knobs.workers * SLICES_A_WORKER if self._knobs.workers > 1 else 1
        cut = [s for leaf in table.leaves if leaf.oid not in known for s in ranges.slices(control, leaf, count)]
        if cut or fresh:
            state.begin(control, self._fill, table, cut, fresh=fresh)
        for leaf in table.leaves:
            if leaf.oid not in known:
                log("range", {"object": leaf.qualified, "slices": sum(1 for s in cut if s.leaf.oid == leaf.oid)})

    def _limits(self, control: Connection, log: Log, *, begin: bool = False) -> None:
        """Take up the limits as they stand in dbkit.job_limit; the flags of this run are written there first."""
        held = state.limits(control, self.number)
        if begin:
            given = {**{n: t for n, t in Limits().texts().items() if n not in held}, **self._knobs.texts}
            state.set_limits(control, self.number, given)
            held = state.limits(control, self.number)
        now = Limits.of_texts({name: value for name, (value, _) in held.items()})
        before = self.shared.limits
        if now != before:
            for name, (_, by) in held.items():
                value = getattr(now, name)
                if value != getattr(before, name):
                    log("limit", {"limit": name, "value": told(name, value), "reason": f"set by {by}"})
            self.shared.limits = now

    def _watch(self, control: Connection, crew: Crew, throttle: Throttle, log: Log) -> Generator[Tick, None, None]:
        """Until the workers are through: look, hold, release, tell."""
        since: dict[str, float] = {}
        looked = 0.0
        while crew.working:
            now = time.monotonic()
            if now - looked >= (LOOK_HELD if since else LOOK_EVERY):
                looked = now
                self._limits(control, log)
                holds = throttle.look(self.shared.limits)
                self._hold(holds, since, log, now)
                for name in [n for n in throttle.blind if n not in self.held]:
                    self.held[name] = 0.0
                    log("blind", {"limit": name, "reason": throttle.blind[name]})
                self._flush(log)
                self._overdue(holds, since, now)
                yield Tick(min(self.shared.seen, self._total), self._total, self._note(now, holds))
            time.sleep(0.02)
        self._hold([], since, log, time.monotonic())
        self._flush(log)
        if self.shared.errors:
            raise self.shared.errors[0]

    def _hold(self, holds: list[Hold], since: dict[str, float], log: Log, now: float) -> None:
        """Begin or end holding back, each with its reason in the history."""
        names = {hold.signal for hold in holds}
        for hold in holds:
            if hold.signal not in since:
                since[hold.signal] = now
                log("held", {"limit": hold.signal, "reason": hold.reason})
                if hold.signal == "max_waiters":
                    self.shared.yields += 1
        for name in [n for n in since if n not in names]:
            spent = now - since.pop(name)
            self.held[name] = self.held.get(name, 0.0) + spent
            log("released", {"limit": name, "seconds": round(spent, 3)})
        if since:
            self.shared.hold.set()
        else:
            self.shared.hold.clear()

    def _overdue(self, holds: list[Hold], since: Mapping[str, float], now: float) -> None:
        for hold in holds:
            if now - since.get(hold.signal, now) > self.shared.limits.max_hold:
                raise Stopped(
                    f"the backfill was held back for {format_seconds(now - since[hold.signal])}",
                    why=hold.reason,
                    hint=f"go on with `dbkit job resume {self.number}` when it has cleared",
                )

    def _count(self, control: Connection) -> Generator[Tick, None, None]:
        """No triggers of ours stand behind this fill: see what was written meanwhile without it."""
        control.execute("set /* dbkit */ row_security = off")
        table = tables.look(control, self._fill, self._knobs.by, ours=self._ours)
        for found in survey(control, self._fill, table):
            self.left = found
            yield Tick(self._total, self._total, f"counting what is left: {found.pages} of {found.total} pages")

    def _note(self, now: float, holds: list[Hold]) -> str:
        self._rate.append((now, self.shared.seen))
        while now - self._rate[0][0] > RATE_OVER:
            self._rate.popleft()
        span = now - self._rate[0][0]
        rate = (self.shared.seen - self._rate[0][1]) / span if span > 0 else 0.0
        parts = [f"{100 * min(1.0, self.shared.seen / self._total):.0f} %"]
        if rate > 0:
            parts.append(f"{rate:,.0f} rows/s")
            parts.append(f"{format_seconds(max(0.0, self._total - self.shared.seen) / rate)} left")
        if holds:
            parts.append("held: " + "; ".join(hold.reason for hold in holds))
        return ", ".join(parts)

    def _end(self) -> str:
        shared = self.shared
        left = f", {self.left.differing} rows pending again" if self.left and self.left.differing else ""
        return (
            f"{shared.rows:,} rows filled in {shared.batches:,} batches, longest {format_seconds(shared.longest)}{left}"
        )

    def _flush(self, log: Log) -> None:
        now = time.monotonic()
        for at, event, detail in self.shared.told():
            log(event, detail, now - at)
