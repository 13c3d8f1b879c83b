"""What a change is, as far as the backfill, the verification and the gate need to know.

All of it is read from the two revisions that `dbkit migrate new` wrote (their `change = {...}` and the identifiers of
the revisions) and from the catalogue; nothing here is stored a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FILLING: Final = "dbkit.filling"
"""The setting in which a session of the backfill names the trigger (`kept`) that need not look at what it writes."""


class Phase(StrEnum):
    """Where a change stands, derived from alembic_version and the catalogue."""

    NEW = "new"
    """Written, not begun, or rolled back."""
    EXPANDING = "expanding"
    """Its expand revision was begun and has not ended: run `expand` again, or `rollback`."""
    EXPANDED = "expanded"
    """Both shapes are there and every write keeps them equal; rows nobody wrote are still to be filled."""
    VERIFIED = "verified"
    """The server has validated the tie: every row is equal and stays so. The new application may start."""
    CONTRACTING = "contracting"
    """Its contract revision was begun and has not ended: run `contract` again."""
    CONTRACTED = "contracted"
    """Only the new shape is left."""


@dataclass(frozen=True, slots=True)
class BackfillSpec:
    """The rows of one table that are to be filled, and the check that ties what is filled to what it comes from.

    The three SQL texts were parsed by the real grammar when the revision was read. They name columns bare and quoted,
    functions with their schema, and so mean the same under any search_path.
    """

    change: str
    """The id of the change; for a table filled without one, a name that says so."""
    schema: str
    table: str
    """Unquoted, as in pg_class.relname. A partitioned table is named itself; its leaves are the backfill's to find."""
    assignments: str
    """What follows SET: `"display_name" = "full_name"`."""
    pending: str
    """True for a row still to be filled: `"display_name" is distinct from "full_name"`. Never null."""
    columns: tuple[str, ...]
    """The columns that are written, unquoted."""
    tie: str = ""
    """Name of the CHECK constraint (made NOT VALID by expand) whose validation proves all rows; empty where none is."""
    oid: int = 0
    """The table's oid when it was looked up; 0 when it was not."""
    key: str = ""
    """The column to range over (integer, unique, not null), unquoted; empty lets the backfill choose, ctid included."""
    immutable: bool = True
    """False when an expression reads more than the row (a volatile default): then there is nothing to verify twice."""
    kept: str = ""
    """The trigger that keeps filled rows right where no check can, such as over two tables; verify notes on it that all
    rows agreed. Empty where there is a tie."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change, as its revisions and the catalogue tell it."""

    id: str
    """A slug, unique in the environment: `users-full_name-display_name`."""
    kind: str
    """`rename-column`, `change-type`, `set-not-null` ..."""
    schema: str
    table: str
    """Unquoted name of the table the change is about, or of the type."""
    old: tuple[str, ...]
    """Columns of the old shape that contract takes away, unquoted; empty where none goes away."""
    new: tuple[str, ...]
    """Columns of the new shape, unquoted."""
    expand: str
    """Revision id."""
    contract: str
    """Revision id; empty for a change that needs no second revision."""
    phase: Phase
    backfills: tuple[BackfillSpec, ...] = ()
    """In the order they must run: a parent before its children."""
    reads_old: tuple[str, ...] = ()
    """Relations (qualified, unquoted) whose use is use of the old shape as a whole: the table of a drop-table."""
    swaps: tuple[tuple[str, str, str], ...] = ()
    """Schema, table and column of what a swap drops under the name that stays."""
    lost: tuple[str, ...] = ()
    """Indexes that go with the old shape and have no copy, as `index public.t_name_idx`."""
    base: str = ""
    """What the table is called while a view stands in its place, unquoted; its triggers are there."""
    keys: tuple[tuple[str, ...], ...] = ()
    """Columns of unique keys that contract takes away: `on conflict` must not rest on them any more."""
    halved: bool = False
    """It was written with a contract revision, which the folder does not hold."""
    returning: str = ""
    """The revision whose rollback was cut off half way; empty where none was."""

    @property
    def qualified(self) -> str:
        """schema.table, unquoted."""
        return f"{self.schema}.{self.table}"
