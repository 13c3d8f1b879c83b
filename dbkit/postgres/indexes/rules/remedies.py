"""The statements that mend indexes, each with its lock and its way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbkit.postgres.indexes.rules.declare import Remedy

if TYPE_CHECKING:
    from dbkit.postgres.catalog import Index

QUIET: Final = "nobody who reads or writes; VACUUM, ANALYZE and other DDL on the table wait"
STALLS: Final = "everybody who reads or writes the table, from the moment it waits for its lock"


def drop(index: Index, *, note: str = "") -> Remedy:
    """Drop an index (or the constraint that owns it); without stalling traffic where PostgreSQL can."""
    if index.constraint_name:
        return _drop_constraint(index)
    if index.is_partitioned:
        return Remedy(
            "drop-index", index.qualified, index.table, f"drop index {index.qualified}",
            f"ACCESS EXCLUSIVE on {index.table} and every partition", STALLS, recreate(index), "the index is gone",
            safe=False, note="an index of a partitioned table cannot be dropped concurrently: set lock_timeout first",
        )  # fmt: skip
    return Remedy(
        "drop-index", index.qualified, index.table, f"drop index concurrently {index.qualified}",
        f"SHARE UPDATE EXCLUSIVE on {index.table}", QUIET, recreate(index), "the index is gone",
        safe=True, note=note,
    )  # fmt: skip


def reindex(index: Index, *, note: str = "") -> Remedy:
    """Build the index anew beside itself and swap the two."""
    return Remedy(
        "reindex", index.qualified, index.table, f"reindex index concurrently {index.qualified}",
        f"SHARE UPDATE EXCLUSIVE on {index.table}", QUIET,
        "-- nothing to take back: the index has the same definition as before", "the index is valid and smaller",
        safe=True, note=note,
    )  # fmt: skip


def create(name: str, qualified: str, table: str, columns: str) -> Remedy:
    """Build a new b-tree without stopping writers. `name` and `columns` are quoted, `table` and `qualified` whole."""
    return Remedy(
        "create-index", qualified, table, f"create index concurrently {name} on {table} ({columns})",
        f"SHARE UPDATE EXCLUSIVE on {table}", QUIET, f"drop index concurrently {qualified}",
        "the index is there and valid", safe=True,
    )  # fmt: skip


def recreate(index: Index) -> str:
    """The statement that builds the index again: without blocking writers where PostgreSQL can."""
    text = index.definition
    if index.tablespace:
        from dbkit.postgres.catalog import quote

        tail = f" WHERE {index.predicate}" if index.predicate else ""
        head = text.removesuffix(tail)
        text = f"{head} TABLESPACE {quote(index.tablespace)}{tail}" if text.endswith(tail) else text
    if index.is_partitioned:
        return text.replace(" ON ONLY ", " ON ", 1)
    kind = "CREATE UNIQUE INDEX " if index.is_unique else "CREATE INDEX "
    return f"{kind}CONCURRENTLY {text.removeprefix(kind)}"


def _drop_constraint(index: Index) -> Remedy:
    from dbkit.postgres.catalog import quote

    name = quote(index.constraint_name or "")
    words = {"p": "primary key", "u": "unique"}.get(index.constraint_type or "", "exclude")
    undo = (
        f"{recreate(index)};\nalter table {index.table} add constraint {name} {words} using index {quote(index.name)}"
        if words != "exclude"
        else "-- add the exclusion constraint again; its definition is in your migrations"
    )
    return Remedy(
        "drop-constraint", index.qualified, index.table, f"alter table {index.table} drop constraint {name}",
        f"ACCESS EXCLUSIVE on {index.table}", STALLS, undo, "the constraint is gone",
        safe=False, note="short, but it waits for every running statement: set lock_timeout first",
    )  # fmt: skip
