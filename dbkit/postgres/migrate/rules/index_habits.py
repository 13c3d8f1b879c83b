"""Index habits. All are opt-in."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.postgres.migrate import actions as a
from dbkit.postgres.migrate.context import Context, Hazard
from dbkit.postgres.migrate.rules.declare import INFO, also, hazard


@hazard(
    "migrate.index-too-wide",
    on=a.CreateIndex,
    category="style",
    severity=INFO,
    ok="No plain index has more than three key columns",
    bad="create index concurrently i on t (a, b, c, d);",
    good="create index concurrently i on t (a, b, c);",
    opt_in=True,
    known=also(strong="add_index_columns"),
)
def too_wide(ctx: Context, index: a.CreateIndex) -> Iterator[Hazard]:
    """A plain index with more than three key columns rarely pays for itself.

    Why: every write maintains it, while the columns after the first few seldom narrow the result.

    Fix: start with the columns that narrow most; put columns that are only read into INCLUDE.
    """
    if not index.unique and len(index.columns) > 3:
        yield Hazard(f"{index.called} has {len(index.columns)} key columns", str(index.table))


@hazard(
    "migrate.hash-index",
    on=a.CreateIndex,
    category="style",
    severity=INFO,
    ok="No hash index is made",
    bad="create index concurrently i on t using hash (a);",
    good="create index concurrently i on t (a);",
    opt_in=True,
)
def hash_index(ctx: Context, index: a.CreateIndex) -> Iterator[Hazard]:
    """A hash index answers equality only: no order, no range, no uniqueness, no index-only scan.

    Why: a B-tree answers the same question about as fast and all the others too.

    Fix: leave out USING hash unless it was measured to be smaller on long keys.
    """
    if index.method == "hash":
        yield Hazard(f"{index.called} is a hash index, which answers equality only", str(index.table))
