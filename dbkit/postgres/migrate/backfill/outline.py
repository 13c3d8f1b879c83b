"""What a backfill would do, told before it does it; reads only."""

from __future__ import annotations

from psycopg import sql

from dbkit.postgres.catalog import quoted
from dbkit.postgres.connect import connect
from dbkit.postgres.migrate.backfill import ranges, session, tables
from dbkit.postgres.migrate.backfill.job import Knobs
from dbkit.postgres.migrate.backfill.limits import Limits, told
from dbkit.postgres.migrate.backfill.run import preflight
from dbkit.postgres.migrate.changes.spec import BackfillSpec
from dbkit.settings import Target
from dbkit.sizes import format_bytes

BLOCK = 8192


def outline(spec: BackfillSpec, target: Target, knobs: Knobs, *, ours: bool) -> str:
    """The plan of a backfill as text. Raises what `fill` would raise before it starts."""
    with connect(target, purpose="backfill") as connection:
        preflight(connection)
        table = tables.look(connection, spec, knobs.by, ours=ours)
        tables.check(connection, spec, ours=ours)
        limits = Limits.of_texts(knobs.texts)
        triggers = knobs.triggers if ours or knobs.triggers != "auto" else "fire"
        settled = session.settle(connection, spec, table, triggers, limits.batch_time)
        lines = [f"backfill of {quoted(spec.schema, spec.table)} ({knobs.workers} at a time)"]
        for leaf in table.leaves:
            by = f"ranges of {', '.join(leaf.key.columns)}" if leaf.key else "ranges of pages (ctid)"
            size = format_bytes(leaf.pages * BLOCK)
            lines.append(f"  {leaf.qualified}: about {leaf.tuples:,.0f} rows, {size}; {by}: {leaf.why}")
        if table.leaves:
            leaf = table.leaves[0]
            stop = tuple("..." for _ in leaf.key.columns) if leaf.key else ("...",)
            shown = _flat(ranges.update(spec, leaf, stop, stop))
            lines += ["", f"  {shown}", ""]
        lines.append(f"  locks: ROW EXCLUSIVE and the rows of one batch, about {told('batch_time', limits.batch_time)}")
        lines += [f"  note: {note}" for note in settled.notes]
        if table.leave_out:
            lines.append(f"  note: {table.leave_out}")
        held = [f"{name.replace('_', '-')} {told(name, value)}" for name, value in _set(limits)]
        lines.append(f"  holds back at: {', '.join(held)}")
    return "\n".join(lines)


def _set(limits: Limits) -> list[tuple[str, object]]:
    names = [name for name in limits.texts() if name not in ("batch_time", "rest")]
    return [(name, getattr(limits, name)) for name in names if getattr(limits, name) is not None]


def _flat(statement: sql.Composed) -> str:
    return " ".join(statement.as_string().split())
