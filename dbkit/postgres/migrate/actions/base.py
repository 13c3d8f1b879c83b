"""What every action is built from: constraints and columns as written, and the action itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from dbkit.postgres.ddl import Node
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.types import SqlType

NOWHERE: Final = Name("", "")
"""No name given."""
Reads: TypeAlias = tuple[tuple[Name, frozenset[str]], ...]
"""Columns by the table they belong to; `*` stands for all of them."""
ConstraintKind: TypeAlias = Literal["check", "foreign", "unique", "primary", "exclude", "notnull"]


@dataclass(slots=True, eq=False, repr=False)
class Constraint:
    """A table or column constraint as written."""

    kind: ConstraintKind
    name: str = ""
    columns: tuple[str, ...] = ()
    expression: Node | None = None
    not_valid: bool = False
    enforced: bool = True
    index: str = ""
    """USING INDEX: the index that becomes the constraint."""
    parent: Name | None = None
    parent_columns: tuple[str, ...] = ()
    actions: str = ""
    """MATCH, ON DELETE and ON UPDATE as SQL, with a leading space."""
    nulls_not_distinct: bool = False
    include: tuple[str, ...] = ()
    deferrable: str = ""
    reads: frozenset[str] = frozenset()
    """Columns in the expressions of an exclusion."""
    no_inherit: bool = False
    """NO INHERIT: child tables need not hold to it."""
    exact: bool = True
    """False when it says more than is held here (storage options, periods), so that it cannot be written anew."""


@dataclass(slots=True, eq=False, repr=False)
class ColumnDef:
    """A column as written in CREATE TABLE or ADD COLUMN."""

    name: str
    type: SqlType
    not_null: bool = False
    null: bool = False
    default: Node | None = None
    identity: str = ""
    generated: Literal["", "stored", "virtual"] = ""
    expression: Node | None = None
    collation: str = ""
    constraints: tuple[Constraint, ...] = ()
    exact: bool = True
    """False when it says more than is held here (storage, compression)."""


@dataclass(slots=True, eq=False, repr=False)
class Action:
    """Anything a statement does."""


@dataclass(slots=True, eq=False, repr=False)
class OnTable(Action):
    """An action on one table."""

    table: Name
    only: bool = field(default=False, kw_only=True)
    """ONLY: not on its partitions and child tables."""
