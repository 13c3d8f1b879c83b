"""The job runner against a store in memory: whatever happens and in whatever order, states and locks stay true."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dbkit.errors import Broken, Interrupted, Refused, Stopped
from dbkit.job import Aborted, Guard, Hooks, Record, Status, Tick, run

TOTAL = 6


class Killed(BaseException):
    """The process ends here: nothing of it runs any more, and the server gives its lock free."""


class MemoryStore:
    def __init__(self):
        self.rows, self.locks, self.history = {}, set(), []
        self.dies_at_save = None

    def try_lock(self, key):
        if key in self.locks:
            return False
        self.locks.add(key)
        return True

    def holder(self, key):
        return "somebody", ""

    def unlock(self, key):
        self.locks.discard(key)

    def begin(self, job):
        open_ = [r for r in self.rows.values() if r.status in (Status.RUNNING, Status.PAUSED, Status.FAILED)]
        if open_:
            record = replace(open_[-1], status=Status.RUNNING, requested="")
        else:
            record = Record(len(self.rows) + 1, job.kind, job.key, Status.RUNNING, job.spec, {})
        self.rows[record.id] = record
        return record

    def save(self, record, tick):
        if self.dies_at_save is not None:
            self.dies_at_save -= 1
            if self.dies_at_save < 0:
                raise Killed
        held = self.rows[record.id]
        cursor = tick.cursor if tick.cursor is not None else held.cursor
        self.rows[record.id] = replace(held, done=tick.done, total=tick.total, note=tick.note, cursor=cursor)
        return held.requested

    def end(self, record, status, note):
        self.rows[record.id] = replace(self.rows[record.id], status=status, note=note, requested="")

    def log(self, record, event, detail, ago=0.0):
        self.history.append((record.id, event, detail))


class Counting:
    """Counts to TOTAL, one committed unit a tick; `before` is called before each unit."""

    kind, key, spec = "count", "numbers", {}

    def __init__(self, done, before=lambda unit: None):
        self.done, self.before, self.closed, self.cancelled = done, before, 0, 0

    def ticks(self, cursor, log):
        try:
            for unit in range(int(cursor.get("next", 0)), TOTAL):
                self.before(unit)
                self.done.append(unit)
                log("unit", {"number": unit})
                yield Tick(unit + 1, TOTAL, f"unit {unit}", {"next": unit + 1})
        finally:
            self.closed += 1

    def cancel(self):
        self.cancelled += 1


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.store, self.done, self.finished = MemoryStore(), [], 0

    def go(self, before=lambda unit: None, **options):
        return run(Counting(self.done, before), self.store, Hooks(sleep=lambda seconds: None, lock_wait=0, **options))

    @property
    def open(self):
        return [r for r in self.store.rows.values() if r.status not in (Status.DONE, Status.ABORTED)]

    def start_afresh(self):
        if not self.open:
            self.done.clear()

    @rule()
    def to_the_end(self):
        self.start_afresh()
        record = self.go()
        assert self.done == list(range(TOTAL))
        assert self.store.rows[record.id].status is Status.DONE
        self.finished += 1

    @property
    def at(self):
        """The unit at which the next run starts."""
        self.start_afresh()
        return int(self.open[-1].cursor.get("next", 0)) if self.open else 0

    @rule(unit=st.integers(0, TOTAL - 1), request=st.sampled_from(["pause", "abort"]))
    def asked(self, unit, request):
        if self.at == TOTAL:
            return

        def ask(now):
            if now >= unit:
                record = self.open[-1]
                self.store.rows[record.id] = replace(self.store.rows[record.id], requested=request)

        with pytest.raises(Stopped) as stop:
            self.go(ask)
        assert isinstance(stop.value, Aborted) is (request == "abort")
        last = max(self.store.rows)
        assert self.store.rows[last].status is (Status.ABORTED if request == "abort" else Status.PAUSED)

    @rule(unit=st.integers(0, TOTAL - 1), number=st.sampled_from([signal.SIGINT, signal.SIGTERM]))
    def signalled(self, unit, number):
        when = max(unit, self.at)
        if when == TOTAL:
            return
        with pytest.raises(Interrupted) as stop:
            self.go(lambda now: os.kill(os.getpid(), number) if now == when else None)
        assert stop.value.exit_code == 128 + number
        assert self.store.rows[max(self.store.rows)].status is Status.PAUSED

    @rule(unit=st.integers(0, TOTAL - 1), error=st.sampled_from([Broken, Stopped, ValueError]))
    def fails(self, unit, error):
        when = max(unit, self.at)
        if when == TOTAL:
            return

        def fail(now):
            if now >= when:
                raise error("it does not work")

        with pytest.raises(error):
            self.go(fail)
        status = Status.PAUSED if error is Stopped else Status.FAILED
        assert self.store.rows[max(self.store.rows)].status is status

    @rule(saves=st.integers(0, TOTAL - 1))
    def killed(self, saves):
        """Between a unit's commit and the write of its cursor: that unit alone may be seen twice."""
        self.start_afresh()
        self.store.dies_at_save = saves
        held = self.store.end
        self.store.end = lambda record, status, note: None  # a dead process writes nothing
        try:
            self.go()
        except Killed:
            self.done[:] = self.done[: int(self.open[-1].cursor.get("next", 0))]
            assert self.store.rows[max(self.store.rows)].status is Status.RUNNING
        else:  # it had come further than the kill; its end was never written
            assert self.open
        finally:
            self.store.dies_at_save = None
            self.store.end = held

    @rule()
    def held_back(self):
        self.start_afresh()
        clock = iter(range(10**6))
        guard = Guard("lag", lambda: "a replica lags by 9 s", patience=3)
        if self.at == TOTAL:
            return
        with pytest.raises(Stopped) as stop:
            self.go(guards=[guard], clock=lambda: next(clock))
        assert stop.value.why == "a replica lags by 9 s"
        assert ("held", "lag") in [(event, detail.get("guard")) for _, event, detail in self.store.history]

    @rule()
    def while_another_runs(self):
        self.store.locks.add("numbers")
        before = dict(self.store.rows)
        with pytest.raises(Refused) as refused:
            self.go()
        assert refused.value.why == "somebody"
        assert self.store.rows == before
        self.store.locks.discard("numbers")

    @invariant()
    def no_lock_outlives_its_run(self):
        assert self.store.locks == set()

    @invariant()
    def at_most_one_job_is_open(self):
        assert len(self.open) <= 1

    @invariant()
    def every_unit_once_and_in_order(self):
        assert self.done == list(range(len(self.done)))

    @invariant()
    def the_cursor_never_runs_ahead(self):
        for record in self.open:
            assert int(record.cursor.get("next", 0)) <= len(self.done)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


def test_the_deadline_stops_with_a_way_on():
    clock = iter(range(10**6))
    store, job = MemoryStore(), Counting([])
    with pytest.raises(Stopped, match="deadline") as stop:
        run(job, store, Hooks(deadline=3, clock=lambda: next(clock), sleep=lambda seconds: None))
    assert stop.value.hint == "go on with `dbkit job resume 1`"
    assert job.closed == 1
    assert run(Counting(job.done), store).status is Status.RUNNING
    assert job.done == list(range(TOTAL))


def test_the_second_signal_cancels():
    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests run in the background of a shell
    job = Counting([], lambda unit: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)] if unit == 1 else None)
    with pytest.raises(Interrupted):
        run(job, MemoryStore())
    assert job.cancelled == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_progress_is_told_for_every_tick():
    seen = []
    run(Counting([]), MemoryStore(), Hooks(progress=lambda record, tick: seen.append((record.id, tick.done))))
    assert seen == [(1, n + 1) for n in range(TOTAL)]
