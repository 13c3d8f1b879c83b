"""What happens to indexes, views, types, functions and whatever else is not a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dbkit.postgres.ddl import Node
from dbkit.postgres.migrate.actions.base import NOWHERE, Action, Constraint, OnTable, Reads
from dbkit.postgres.migrate.names import Name, quote
from dbkit.postgres.migrate.types import SqlType


@dataclass(slots=True, eq=False, repr=False)
class Drop(Action):
    kind: str = ""
    names: tuple[Name, ...] = ()
    on: Name | None = None
    """The table of a trigger, rule or policy."""
    cascade: bool = False
    concurrently: bool = False
    if_exists: bool = False


@dataclass(slots=True, eq=False, repr=False)
class CreateIndex(OnTable):
    name: str = ""
    columns: tuple[str, ...] = ()
    """Key columns in order; an expression is an empty string."""
    unique: bool = False
    concurrently: bool = False
    if_not_exists: bool = False
    partial: bool = False
    reads: frozenset[str] = frozenset()
    """Columns in its expressions and its condition."""
    method: str = "btree"
    include: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        """The index in words: its name, or its columns where the server picks one."""
        if self.name:
            return f"index {quote(self.name)} on {self.table}"
        columns = ", ".join(c or "..." for c in self.columns)
        return f"an index on {self.table} ({columns})"


@dataclass(slots=True, eq=False, repr=False)
class AttachIndex(Action):
    parent: Name = NOWHERE
    child: Name = NOWHERE


@dataclass(slots=True, eq=False, repr=False)
class Reindex(Action):
    kind: str = ""
    name: Name = NOWHERE
    concurrently: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Refresh(Action):
    view: Name = NOWHERE
    concurrently: bool = False
    with_data: bool = True


@dataclass(slots=True, eq=False, repr=False)
class CreateDomain(Action):
    name: Name = NOWHERE
    base: SqlType = field(default_factory=lambda: SqlType(""))
    constraints: tuple[Constraint, ...] = ()
    default: Node | None = None


@dataclass(slots=True, eq=False, repr=False)
class AlterDomain(Action):
    name: Name = NOWHERE
    verb: str = ""
    """set-default, drop-not-null, set-not-null, add-constraint, drop-constraint, validate"""
    constraint: Constraint | None = None
    constraint_name: str = ""


@dataclass(slots=True, eq=False, repr=False)
class CreateType(Action):
    name: Name = NOWHERE
    kind: str = ""
    values: tuple[str, ...] = ()


@dataclass(slots=True, eq=False, repr=False)
class AlterEnum(Action):
    name: Name = NOWHERE
    value: str = ""
    renamed_from: str = ""
    placed: bool = False
    if_not_exists: bool = False


@dataclass(slots=True, eq=False, repr=False)
class CreateView(Action):
    name: Name = NOWHERE
    materialized: bool = False
    reads: Reads = ()
    replace: bool = False
    with_data: bool = True


@dataclass(slots=True, eq=False, repr=False)
class CreateFunction(Action):
    name: Name = NOWHERE
    language: str = ""
    body: str = ""
    volatility: Literal["volatile", "stable", "immutable"] = "volatile"
    replace: bool = False
    reads: Reads = ()
    """Of a body in BEGIN ATOMIC, which the catalogue ties to what it reads; a body in quotes is tied to nothing."""


@dataclass(slots=True, eq=False, repr=False)
class CreateTrigger(OnTable):
    name: str = ""
    constraint_on: Name | None = None
    reads: Reads = ()


@dataclass(slots=True, eq=False, repr=False)
class CreateRule(OnTable):
    name: str = ""
    reads: Reads = ()


@dataclass(slots=True, eq=False, repr=False)
class Policy(OnTable):
    name: str = ""
    verb: str = "create"
    reads: Reads = ()


@dataclass(slots=True, eq=False, repr=False)
class Publication(Action):
    name: str = ""
    verb: Literal["create", "add", "set", "drop", "options"] = "create"
    reads: Reads = ()
    """Only of tables with a column list or a condition."""
    tables: tuple[Name, ...] = ()


@dataclass(slots=True, eq=False, repr=False)
class Subscription(Action):
    name: str = ""
    what: str = ""
    """What is done to it, in words; empty where it goes on receiving what it did."""


@dataclass(slots=True, eq=False, repr=False)
class Sequence(Action):
    name: Name = NOWHERE
    create: bool = True
    type: str = ""
    owned_by: tuple[str, ...] = ()
    restarts: bool = False
    steps: bool = False
    """Whether ALTER changes which numbers come next."""


@dataclass(slots=True, eq=False, repr=False)
class Extension(Action):
    name: str = ""
    verb: str = "create"


@dataclass(slots=True, eq=False, repr=False)
class Privileges(Action):
    grant: bool = True
