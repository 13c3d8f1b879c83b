"""Which piece of work comes next: tables side by side, one table's work in order, and nobody held up without need.

A concurrent build waits at its end for every older snapshot. PostgreSQL exempts other concurrent builds from that,
except those of an index with an expression or a predicate, whose functions might read any table: all others wait for
them to the last. Such builds therefore come after the others, the smallest table first.
Source: indexcmds.c, PROC_IN_SAFE_IC (PostgreSQL 14 and newer).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dbkit.plan import Plan
from dbkit.postgres.indexes import steps, wishes
from dbkit.postgres.indexes.build import Builder
from dbkit.postgres.indexes.desired import Wanted
from dbkit.postgres.indexes.outcome import Outcome
from dbkit.postgres.settings import execute as settings
from dbkit.postgres.settings.steps import ACTIONS as SETTINGS


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work with its outcome."""

    outcome: Outcome
    do: Callable[[Builder], None]
    holds_others: bool = False
    """Whether concurrent builds on other tables wait for this one."""


class Schedule:
    """Hands tasks to workers, a table at a time; no two workers are on one table at once."""

    def __init__(self, tasks: Sequence[Task], sizes: Mapping[str, int]) -> None:
        groups: dict[tuple[bool, str], list[Task]] = {}
        for task in tasks:
            groups.setdefault((task.holds_others, task.outcome.table), []).append(task)

        def order(key: tuple[bool, str]) -> tuple[bool, int]:
            # The largest table first: the run cannot be shorter than its longest table.
            return key[0], sizes.get(key[1], 0) * (1 if key[0] else -1)

        self._waiting = [(key[1], groups[key]) for key in sorted(groups, key=order)]
        self._busy: set[str] = set()
        self._changed = threading.Condition()

    @contextmanager
    def take(self, stopping: Callable[[], bool]) -> Generator[Sequence[Task]]:
        """The next tasks, all of one table that is nobody's while the block lasts; none when there is nothing left."""
        with self._changed:
            while True:
                found = next((n for n, (table, _) in enumerate(self._waiting) if table not in self._busy), None)
                if found is not None or not self._waiting or stopping():
                    break
                self._changed.wait(0.5)
            table, tasks = self._waiting.pop(found) if found is not None and not stopping() else ("", [])
            self._busy.add(table)
        try:
            yield tasks
        finally:
            with self._changed:
                self._busy.discard(table)
                self._changed.notify_all()


def tasks(plan: Plan) -> list[Task]:
    """The work of a plan: the wanted indexes of an index plan, the single steps of another, in its order."""
    found: list[Task] = []
    wanted = wishes.of_plan(plan)
    seen: set[tuple[str | None, str]] = set()
    for step in plan.steps:
        if plan.kind != "index":
            outcome = Outcome(step.object, step.table)
            take = settings.take if step.action in SETTINGS else steps.take
            found.append(Task(outcome, lambda b, s=step, o=outcome, t=take: t(b, s, o)))
            continue
        key = (step.data.get("schema"), str(step.data.get("index")))
        wish = wanted.get(key)
        if wish is not None and key not in seen:
            seen.add(key)
            outcome = Outcome(wish.name, step.table)
            found.append(Task(outcome, lambda b, w=wish, o=outcome: wishes.settle(b, w, o), _holds_others(wish)))
    return found


def _holds_others(wish: Wanted) -> bool:
    node = wish.node
    return bool(node.HasField("where_clause")) or any(not p.index_elem.name for p in node.index_params)
