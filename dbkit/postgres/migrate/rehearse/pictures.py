"""What the page of a rehearsal shows: statements, the lock timeline, the application's queries, seeded rows."""

from __future__ import annotations

from typing import Final

from dbkit.exhibits import Exhibit, Lane, Span, Table, Text, Timeline, Tone
from dbkit.postgres.migrate.lock_mode import Mode
from dbkit.postgres.migrate.rehearse import predict
from dbkit.postgres.migrate.rehearse.budget import interval
from dbkit.postgres.migrate.rehearse.observed import Observation
from dbkit.postgres.migrate.rehearse.rehearsal import Outcome
from dbkit.sizes import format_seconds

SHOWN_SQL: Final = 72
MOST_LANES: Final = 20
"""Statements that get a lane of their own on the timeline: the longest."""


def exhibits(outcome: Outcome, *, several: bool) -> list[Exhibit]:
    """Statements, timeline, queries, seeded rows and notes of one version."""
    on = f" on PostgreSQL {outcome.version}"
    made: list[Exhibit] = [_statements(outcome, on)]
    if outcome.holds:
        made.append(_timeline(outcome, on))
    if outcome.queries:
        made.append(_queries(outcome, on))
    short = [s for s in outcome.sown if s.rows < s.wanted]
    rows = [(str(s.table), f"{s.rows:,}", f"{s.wanted:,}", s.reason) for s in (short or outcome.sown)]
    if (rows and not several) or short:
        title = f"Tables with fewer rows than wanted{on}" if short else f"Seeded rows{on}"
        made.append(
            Table(title, ("table", "rows", "wanted", "why"), tuple(rows), numeric=frozenset(("rows", "wanted")))
        )
    if outcome.notes or outcome.unsized:
        sentences = [*outcome.notes]
        if outcome.unsized:
            sentences.append(f"the statistics know no size of {', '.join(outcome.unsized)}")
        made.append(Text(f"Notes{on}", ". ".join(s[:1].upper() + s[1:] for s in sentences) + "."))
    return made


def _statements(outcome: Outcome, on: str) -> Table:
    predicted = bool(outcome.predictions)
    columns = ("at", "statement", "lock", "held", "does", *(("at production size",) if predicted else ()))
    rows = [
        (
            f"{s.file}:{s.line}",
            _short(s.sql),
            _locks(s, outcome),
            format_seconds(s.held) if s.locks else "",
            _does(s),
            *((_predicted(outcome, n),) if predicted else ()),
        )
        for n, s in enumerate(outcome.seen)
    ]
    note = "Locks are held to the end of the transaction. "
    if predicted:
        note += (
            "Predictions rest on times measured in this run, on this machine, with the tables in memory; a cold table"
            " takes what its storage takes."
        )
    return Table(
        f"Statements{on}", columns, tuple(rows), note=note.strip(), numeric=frozenset(("held",)), headline=True
    )


def _short(sql: str) -> str:
    flat = " ".join(sql.split())
    return flat if len(flat) <= SHOWN_SQL else f"{flat[: SHOWN_SQL - 3]}..."


def _locks(seen: Observation, outcome: Outcome) -> str:
    """Table locks, the strongest first; those on indexes are in the JSON."""
    shown = [
        (name, mode)
        for name, mode in sorted(seen.locks.items(), key=lambda x: (-x[1], x[0]))
        if name not in outcome.before or not outcome.before[name].is_index
    ]
    by_mode: dict[Mode, list[str]] = {}
    for name, mode in shown:
        by_mode.setdefault(mode, []).append(name)
    return "; ".join(f"{mode.words} on {', '.join(names)}" for mode, names in by_mode.items()) or "none"


def _does(seen: Observation) -> str:
    if seen.unrehearsed:
        return f"not rehearsed: {seen.unrehearsed}"
    if seen.error:
        return f"fails, which the revision expects: {seen.error}" if seen.caught else f"FAILS: {seen.error}"
    parts = [f"rewrites {', '.join(seen.rewritten)}"] if seen.rewritten else []
    parts += [f"reads {', '.join(seen.scanned)}"] if seen.scanned else []
    made = [b for b in seen.built if b not in seen.rewritten]
    parts += [f"builds {', '.join(made)}"] if made else []
    if seen.proved and not seen.scanned:
        parts.append("checks nothing: proved by constraints")
    if seen.waited >= 0.005:
        parts.append(f"waited {format_seconds(seen.waited)}")
    if seen.repeats:
        parts.append(f"ran {1 + seen.repeats:,} times, {format_seconds(seen.seconds)} in all")
    return "; ".join(parts) or "brief"


def _predicted(outcome: Outcome, position: int) -> str:
    seen = outcome.seen[position]
    if seen.error:
        return ""
    own = outcome.predictions[position]
    if own is None:
        return "size not known"
    words = interval(own) if seen.work or seen.tables else "as here"
    held = predict.held(outcome.seen, outcome.predictions, position)
    if held is not None and seen.locks and held.likely > own.likely * 1.5 and held.likely - own.likely > 0.01:
        words += f"; lock held {format_seconds(held.likely)}"
    return words


_TONES: Final[dict[Mode, Tone]] = {
    Mode.ACCESS_EXCLUSIVE: "bad",
    Mode.EXCLUSIVE: "warn",
    Mode.SHARE_ROW_EXCLUSIVE: "warn",
    Mode.SHARE: "warn",
}


def _timeline(outcome: Outcome, on: str) -> Timeline:
    """One lane a relation, coloured by what its lock keeps out; below them the probes that had to wait."""
    start = min((s.start for s in outcome.seen), default=0.0)
    longest = {id(s) for s in sorted(outcome.seen, key=lambda s: -s.seconds)[:MOST_LANES]}
    lanes = [
        Lane(f"{s.file}:{s.line}", (Span(s.start - start, s.end - start, _short(s.sql)),))
        for s in outcome.seen
        if id(s) in longest
    ]
    tables = [h.relation for h in sorted(outcome.holds, key=lambda h: (-h.mode, h.start))]
    for relation in dict.fromkeys(tables):
        if relation in outcome.before and outcome.before[relation].is_index:
            continue
        spans = tuple(
            Span(
                max(h.start - start, 0.0),
                h.end - start,
                f"{h.mode.words} {_taken_at(outcome, h.statement)}",
                _TONES.get(h.mode, "neutral" if h.mode < Mode.SHARE_UPDATE_EXCLUSIVE else "good"),
            )
            for h in sorted(outcome.holds, key=lambda h: h.start)
            if h.relation == relation
        )
        lanes.append(Lane(relation, spans))
    for stall in outcome.stalls:
        span = Span(max(stall.start - start, 0.0), stall.start + stall.seconds - start, f"{stall.kind} waits", "bad")
        lanes.append(Lane(f"{stall.kind} of {stall.relation} waits", (span,)))
    each = "each statement" if len(longest) == len(outcome.seen) else f"the {len(longest)} longest statements"
    note = (
        f"Above, when {each} ran; below, how long each relation stayed locked. Red keeps readers and writers"
        " out, amber writers, green only other schema changes and VACUUM. The bars below the relations are the longest"
        " waits of a probing reader and writer on each table."
    )
    if not outcome.stalls:
        note = note.partition(" The bars")[0] + " No probing reader or writer had to wait."
    return Timeline(f"Locks{on}", tuple(lanes), note=note)


def _taken_at(outcome: Outcome, position: int) -> str:
    if not 0 <= position < len(outcome.seen):
        return ""
    seen = outcome.seen[position]
    return f"by {seen.file}:{seen.line} {_short(seen.sql)}"


def _queries(outcome: Outcome, on: str) -> Table:
    rows = [
        (
            q.version,
            _short(q.sql),
            *(f"{t.runs} runs, {t.failed} failed, longest {format_seconds(t.longest)}" for t in q.tallies.values()),
            next((t.error for t in q.tallies.values() if t.error), ""),
        )
        for q in outcome.queries
    ]
    return Table(
        f"Application queries{on}",
        ("app", "query", "before", "during", "after", "first error"),
        tuple(rows),
        headline=True,
    )
