"""What became of a plan: one Outcome a piece of work, one Ran a statement, and the exhibits and JSON made of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dbkit.errors import Broken, DbkitError, Refused, Stopped, Unreachable
from dbkit.exhibits import Exhibit, Lane, Span, Table, Timeline, Tone
from dbkit.model import Json
from dbkit.plan import Step
from dbkit.secrets import redact
from dbkit.sizes import format_seconds


class End(StrEnum):
    """How a piece of work ended."""

    PENDING = "pending"
    OK = "ok"
    """Done by this run, and verified."""
    ALREADY = "already done"
    """Found done; nothing was run."""
    STOPPED = "stopped"
    """Running the same command again goes on."""
    REFUSED = "refused"
    """It is not what it was when the plan was made."""
    BROKEN = "failed"
    """A person must act."""

    @property
    def good(self) -> bool:
        return self in (End.OK, End.ALREADY)


@dataclass
class Ran:
    """One statement as it ran; times in seconds, `began` since the job did."""

    id: str
    action: str
    object: str
    table: str
    sql: str
    began: float
    seconds: float = 0.0
    waited: float = 0.0
    outcome: str = "running"
    error: str = ""


@dataclass
class Outcome:
    """One piece of work: a wanted index with all its statements, or one step of a plan."""

    object: str
    table: str
    end: End = End.PENDING
    began: float = 0.0
    seconds: float = 0.0
    error: DbkitError | None = None
    ran: list[Ran] = field(default_factory=list[Ran])

    @property
    def waited(self) -> float:
        """Seconds its statements waited for others."""
        return sum(r.waited for r in self.ran)

    def close(self, error: DbkitError | None, began: float) -> None:
        """Note how it ended; without an error it ended well."""
        self.seconds = time.monotonic() - began
        self.error = error
        if error is None:
            self.end = End.OK if self.ran else End.ALREADY
        elif isinstance(error, Refused):
            self.end = End.REFUSED
        else:
            self.end = End.STOPPED if isinstance(error, (Stopped, Unreachable)) else End.BROKEN

    def started(self, step: Step, epoch: float) -> Ran:
        """A statement that starts now."""
        ran = Ran(step.id, step.action, step.object, step.table, step.sql, time.monotonic() - epoch)
        self.ran.append(ran)
        return ran

    def data(self) -> dict[str, Json]:
        """The outcome as JSON."""
        return {
            "object": self.object,
            "table": self.table,
            "outcome": self.end.value,
            "seconds": round(self.seconds, 3),
            "waited": round(self.waited, 3),
            "error": redact(f"{self.error.what}: {self.error.why}") if self.error else None,
        }


def verdict(outcomes: Sequence[Outcome]) -> DbkitError | None:
    """The error a run ends with: the worst kind of all outcomes, None when all is well.

    A refusal is only one when nothing was changed; after changes a person has to look at the half that was done.
    """
    bad = [o for o in outcomes if o.error is not None]
    if not bad:
        return None
    ranks = (End.BROKEN, End.REFUSED, End.STOPPED)
    first = min(bad, key=lambda o: ranks.index(o.end) if o.end in ranks else len(ranks))
    error = first.error or Stopped(first.object)
    changed = any(r.outcome == "done" for o in outcomes for r in o.ran)
    kind = {End.BROKEN: Broken, End.REFUSED: Broken if changed else Refused}.get(first.end, Stopped)
    rest = ", ".join(o.object for o in bad if o is not first)
    good = sum(o.end.good for o in outcomes)
    what = f"{error.what}{f'; also not done: {rest}' if rest else ''}; {good} of {len(outcomes)} are as wanted"
    return kind(what, why=redact(error.why or "") or None, hint=error.hint)


def steps_data(outcomes: Iterable[Outcome]) -> list[dict[str, Json]]:
    """Every statement that ran, as JSON, in the order they began."""
    ran = sorted((r for o in outcomes for r in o.ran), key=lambda r: r.began)
    return [
        {
            "id": r.id,
            "action": r.action,
            "object": r.object,
            "table": r.table,
            "sql": r.sql,
            "outcome": r.outcome,
            "began": round(r.began, 3),
            "seconds": round(r.seconds, 3),
            "waited": round(r.waited, 3),
            "error": r.error or None,
        }
        for r in ran
    ]


def exhibits(outcomes: Sequence[Outcome]) -> tuple[Exhibit, ...]:
    """A table of what was done, and the statements in lanes, one a table."""
    if not outcomes:
        return ()
    rows = tuple(
        (o.object, o.table, o.end.value, format_seconds(o.seconds), format_seconds(o.waited)) for o in outcomes
    )
    columns = ("index", "table", "outcome", "took", "waited")
    done = Table("What was done", columns, rows, numeric=frozenset({"took", "waited"}))
    tables = dict.fromkeys(r.table for o in outcomes for r in o.ran)
    lanes = tuple(Lane(t, tuple(_span(r) for o in outcomes for r in o.ran if r.table == t)) for t in tables)
    if not lanes:
        return (done,)
    return (done, Timeline("Statements by table, in seconds", lanes, note="tables side by side, one table in order"))


def _span(ran: Ran) -> Span:
    tone: Tone = "bad" if ran.outcome == "failed" else "warn" if ran.waited > 1 else "good"
    return Span(round(ran.began, 3), round(ran.began + ran.seconds, 3), f"{ran.action} {ran.object}", tone)
