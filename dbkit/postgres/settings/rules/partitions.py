"""Whether tables that are partitioned by ranges have partitions for what is still to come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dbkit.model import Severity
from dbkit.postgres.indexes.rules.declare import Limits
from dbkit.postgres.settings.rules.declare import Verdict, Verdicts, setting_rule
from dbkit.postgres.settings.scene import Scene

_MAXIMUM: Final = 63


class PartitionLimits(Limits):
    """Knobs of pg.partitions-run-out."""

    warn_days: float = 14.0
    retired_days: float = 365.0
    """A table whose last partition ended so long ago is kept for its history and gets no more rows."""


@setting_rule(
    "partitions-run-out",
    Severity.WARN,
    "health",
    ok="Every table partitioned by ranges has partitions for what is to come",
    bad="""
    -- the last month begins, and nobody made the next one
    create table t (at date not null) partition by range (at);
    create table t_last partition of t for values from ('2026-01-01') to ('2026-02-01');
    create table u (id bigint not null) partition by range (id);
    create table u_0 partition of u for values from (0) to (1000);
    create table u_default partition of u default;
    insert into u values (5000);
    -- policy: {retired_days: 100000}
    """,
    good="""
    -- partitions far ahead, a last one without an end, and a table of the past
    create table t (at date not null) partition by range (at);
    create table t_last partition of t for values from ('2026-01-01') to ('2126-02-01');
    create table u (id bigint not null) partition by range (id);
    create table u_0 partition of u for values from (0) to (1000);
    create table u_1 partition of u for values from (1000) to (maxvalue);
    insert into u values (5000);
    create table v (at timestamptz not null) partition by range (at);
    create table v_2019 partition of v for values from ('2019-01-01 00:00+00') to ('2020-01-01 00:00+00');
    """,
    limits=PartitionLimits,
)
def partitions_run_out(scene: Scene, limits: PartitionLimits) -> Verdicts:
    """A table partitioned by ranges comes to the end of its partitions, or rows lie beyond them.

    Why: beyond the last partition an insert fails; where there is a default partition rows go there, no partition can
    be made for them until they are moved, and every new partition scans them.

    Fix: make the next partitions, built apart and attached under SHARE UPDATE EXCLUSIVE, and let a scheduler do so from
    then on. A table that `dbkit migrate new partition-table` made has a function for it:
    `select TABLE_add_partitions(3)`.
    Rows of the default partition have to be moved first: `dbkit explain partitions` says how.

    Not reported when: the last partition ends more than `warn_days` ahead, has no end, or ended more than
    `retired_days` ago with nothing beyond it. Ranges of whole numbers: when no row lies in the last one yet. Looked at
    are ranges of one column of a date, a time stamp or a whole number; whether rows are there is told by statistics.

    See: S2 4.1 (partition large tables by time), S4 1.1.
    """
    for row in scene.rows("partition_ends"):
        told = _told(row, limits)
        if told:
            yield Verdict(
                f"{row['table_name']}: {told}",
                row["table_name"],
                fix=_next(row),
                data={"ends": row["ends"], "days_left": row["days_left"], "in_default": row["in_default"]},
            )


def _told(row: Mapping[str, Any], limits: PartitionLimits) -> str:
    """What is wrong, in words; empty where nothing is."""
    if row["in_default"]:
        return (
            f"rows lie in its default partition {row['default_partition']}, "
            f"beyond {row['last_partition']}, which ends at {row['ends']}"
        )
    days = row["days_left"]
    rest = row["default_partition"]
    beyond = "inserts beyond it fail" if rest is None else f"rows beyond it go to {rest}"
    if days is None:
        told = f"rows have reached its last partition {row['last_partition']}, which ends at {row['ends']}: {beyond}"
        return told if row["reached"] else ""
    if days > limits.warn_days or days < -limits.retired_days:
        return ""
    when = f"ends in {days:.0f} days" if days >= 0 else f"ended {-days:.0f} days ago"
    return f"its last partition {row['last_partition']} {when} ({row['ends']}): {beyond}"


def _next(row: Mapping[str, Any]) -> str:
    """The next partitions as SQL, for 30 days and three at least; a comment alone where their width is not known."""
    from dbkit.postgres.catalog import quote, quoted

    if row["in_default"]:
        return "-- move the rows of the default partition first: `dbkit explain partitions`"
    lines: list[str] = []
    for low, high in row["next"] or ():
        mark = "".join(letter for letter in low.removesuffix(" 00:00:00") if letter.isdigit())
        name = quoted(row["schema"], f"{row['name'][: _MAXIMUM - 1 - len(mark)]}_{mark}")
        zone = "+00" if row["type"] == "timestamp with time zone" else ""
        lines.append(f"create table {name} (like {row['table_name']} including all);")
        bounds = f"from ('{low}{zone}') to ('{high}{zone}')"
        lines.append(f"alter table {row['table_name']} attach partition {name} for values {bounds};")
    return "\n".join(lines) or f"-- no width to go on from: make the next partition of {quote(row['name'])} by hand"


RULES: Final = (partitions_run_out,)
