"""Jobs: long pieces of work that can be stopped at any moment and taken up again.

A job is a generator of ticks. One runner owns everything around it: the lock against a second runner (taken by polling,
because a blocking wait would hold a snapshot that a concurrent index build waits for), the state row, signals, guards,
throttled progress writes and the end. The store is the engine's (`dbkit/postgres/jobstore.py`); nothing here knows SQL.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from types import FrameType
from typing import Any, Protocol

from dbkit.errors import DbkitError, Interrupted, Refused, Stopped
from dbkit.model import Json


class Status(StrEnum):
    """The life of a job. A `running` row whose runner is gone reads as interrupted and may be taken up."""

    RUNNING = "running"
    PAUSED = "paused"
    """Stopped on request or by a guard; `dbkit job resume` goes on."""
    FAILED = "failed"
    DONE = "done"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Tick:
    """Progress of a job: units done of a total (None if unknown), where to resume, and one line for people."""

    done: float
    total: float | None = None
    note: str = ""
    cursor: Mapping[str, Json] | None = None
    """What the next run needs to go on; None leaves the stored one."""


@dataclass(frozen=True, slots=True)
class Record:
    """The stored state of a job."""

    id: int
    kind: str
    key: str
    status: Status
    spec: Mapping[str, Any]
    cursor: Mapping[str, Any]
    done: float = 0
    total: float | None = None
    note: str = ""
    runner: str = ""
    """host and pid of the process that runs or ran it."""
    requested: str = ""
    """`pause` or `abort` when another process asked for it."""
    started: str = ""
    updated: str = ""
    alive: bool = False
    """Whether its lock is held right now."""


class Log(Protocol):
    """Appends to a job's history."""

    def __call__(self, event: str, detail: Mapping[str, Json], ago: float = 0.0) -> None:
        """An event with what there is to tell about it; it happened `ago` seconds before now."""
        ...


class Aborted(Stopped):
    """Stopped for good, on request: the job will not be taken up again."""


class Job(Protocol):
    """A piece of work. `key` names what it works on: two jobs of one key never run at once."""

    @property
    def kind(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def spec(self) -> Mapping[str, Json]:
        """Everything `dbkit job resume` needs to make the job again; no secrets."""
        ...

    def ticks(self, cursor: Mapping[str, Any], log: Log) -> Generator[Tick, None, None]:
        """Do the work. Closing the generator must leave a state from which `ticks(last cursor)` goes on.

        `log` appends to the job's history; it is called by the generator itself, never by another thread.
        """
        ...

    def cancel(self) -> None:
        """Called inside a signal handler on the second signal: leave now, without tidying up. Only sets a flag."""
        ...


class Store(Protocol):
    """Where job state lives, beside the data it is about."""

    def try_lock(self, key: str) -> bool:
        """Take the job lock without waiting; as often as it is taken here it has to be given back."""
        ...

    def holder(self, key: str) -> tuple[str, str]:
        """Who holds the lock, in words for an error message, and a hint where there is more to do than to wait."""
        ...

    def unlock(self, key: str) -> None: ...
    def begin(self, job: Job) -> Record:
        """The unfinished record of this kind and key, taken over, or a new one."""
        ...

    def save(self, record: Record, tick: Tick) -> str:
        """Write progress and cursor; returns the request another process has left, or an empty string."""
        ...

    def end(self, record: Record, status: Status, note: str) -> None: ...
    def log(self, record: Record, event: str, detail: Mapping[str, Json], ago: float = 0.0) -> None:
        """Append to the job's history: every decision with its reason, `ago` seconds after it was made."""
        ...


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition checked between ticks; `look` returns a reason to hold back, or None.

    After `patience` seconds the job stops with exit 5.
    """

    name: str
    look: Callable[[], str | None]
    patience: float = 600.0
    pause: float = 1.0


@dataclass
class Hooks:
    """What the caller wants to see and limit. Times are in seconds."""

    progress: Callable[[Record, Tick], None] = lambda record, tick: None
    guards: Sequence[Guard] = ()
    lock_wait: float = 5.0
    save_every: float = 1.0
    deadline: float | None = None
    sleep: Callable[[float], None] = field(default=time.sleep)
    clock: Callable[[], float] = field(default=time.monotonic)


def run(job: Job, store: Store, hooks: Hooks | None = None) -> Record:
    """Run a job to its end under its lock.

    Raises Refused when another runner holds the lock, Stopped when paused, out of time or held back by a guard,
    Interrupted on SIGINT or SIGTERM (after saving), and whatever the job itself raises (state `failed`).
    """
    held = hooks or Hooks()
    with locked(job.key, store, held), _signals(job) as received:
        return _drive(job, store, store.begin(job), held, received)


@contextmanager
def locked(key: str, store: Store, hooks: Hooks) -> Generator[None]:
    """Hold the lock of a key, so that what is decided within still holds when a job of that key runs within.

    Raises Refused when another runner holds it for longer than `hooks.lock_wait`.
    """
    until = hooks.clock() + hooks.lock_wait
    while not store.try_lock(key):
        if hooks.clock() >= until:
            who, hint = store.holder(key)
            raise Refused(
                f"another dbkit is already working on {key}",
                why=who,
                hint=hint or "wait for it, or see `dbkit job list`; nothing was changed by this run",
            )
        hooks.sleep(min(0.2, hooks.lock_wait))
    try:
        yield
    finally:
        store.unlock(key)


def _drive(job: Job, store: Store, record: Record, hooks: Hooks, received: list[int]) -> Record:
    began = saved = hooks.clock()
    tick = Tick(record.done, record.total, record.note)
    work = job.ticks(record.cursor, partial(store.log, record))
    try:
        for tick in work:
            now = hooks.clock()
            hooks.progress(record, tick)
            request = ""
            if tick.cursor is not None or now - saved >= hooks.save_every:
                request, saved = store.save(record, tick), now
            _leave_if_asked(received, request, record)
            if hooks.deadline is not None and now - began > hooks.deadline:
                raise Stopped(
                    f"job {record.id} reached its deadline", hint=f"go on with `dbkit job resume {record.id}`"
                )
            _heed(hooks, store, record, tick, received)
    except (Stopped, Interrupted) as stop:
        work.close()
        store.save(record, tick)
        store.end(record, Status.ABORTED if isinstance(stop, Aborted) else Status.PAUSED, stop.what)
        raise
    except BaseException as error:
        work.close()
        what = error.what if isinstance(error, DbkitError) else f"{type(error).__name__}: {error}"
        store.end(record, Status.FAILED, what)
        raise
    store.save(record, tick)
    store.end(record, Status.DONE, tick.note)
    return record


def _leave_if_asked(received: list[int], request: str, record: Record) -> None:
    hint = f"go on with `dbkit job resume {record.id}`"
    if received:
        name = signal.Signals(received[0]).name
        raise Interrupted(f"job {record.id} interrupted by {name}, state saved", signal_number=received[0], hint=hint)
    if request == "pause":
        raise Stopped(f"job {record.id} was asked to pause", hint=hint)
    if request == "abort":
        raise Aborted(
            f"job {record.id} was aborted on request", hint=f"`dbkit job show {record.id}` lists what it left"
        )


def _heed(hooks: Hooks, store: Store, record: Record, tick: Tick, received: list[int]) -> None:
    """Hold the job back while a guard says so."""
    for guard in hooks.guards:
        since, logged = hooks.clock(), False
        while (reason := guard.look()) is not None:
            if not logged:
                store.log(record, "held", {"guard": guard.name, "reason": reason})
                logged = True
            if hooks.clock() - since > guard.patience:
                raise Stopped(
                    f"job {record.id} stopped by its guard {guard.name}",
                    why=reason,
                    hint=f"go on with `dbkit job resume {record.id}` when it has cleared",
                )
            hooks.progress(record, Tick(tick.done, tick.total, f"held by {guard.name}: {reason}"))
            _leave_if_asked(received, store.save(record, tick), record)
            hooks.sleep(guard.pause)


@contextmanager
def _signals(job: Job) -> Generator[list[int]]:
    """The first SIGINT or SIGTERM lets the job finish its tick; the second cancels what runs. Main thread only."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            job.cancel()

    held: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            held[number] = signal.signal(number, note)
    except ValueError:  # not the main thread: signals stay with whoever owns it
        pass
    try:
        yield received
    finally:
        for number, previous in held.items():
            signal.signal(number, previous)
