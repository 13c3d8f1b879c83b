"""What CREATE TABLE and ALTER TABLE do."""

from __future__ import annotations

from dataclasses import dataclass, field

from dbkit.postgres.ddl import Node
from dbkit.postgres.migrate.actions.base import NOWHERE, ColumnDef, Constraint, OnTable
from dbkit.postgres.migrate.bounds import PartitionKey
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.types import SqlType


@dataclass(slots=True, eq=False, repr=False)
class Like:
    """LIKE of another table, and what is copied beside columns and their NOT NULL."""

    table: Name
    checks: bool = False
    indexes: bool = False
    generated: bool = False
    identity: bool = False
    defaults: bool = False


@dataclass(slots=True, eq=False, repr=False)
class CreateTable(OnTable):
    columns: tuple[ColumnDef, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    parents: tuple[Name, ...] = ()
    likes: tuple[Like, ...] = ()
    partition_of: Name | None = None
    default_partition: bool = False
    partition_key: PartitionKey | None = None
    bound: Node | None = None
    """FOR VALUES of a partition, a PartitionBoundSpec."""
    if_not_exists: bool = False
    temporary: bool = False
    unlogged: bool = False
    from_query: bool = False
    filled: bool = False
    """By the query it is made from."""
    access_method: str = ""
    foreign: bool = False
    of_type: Name | None = None
    """OF: the composite type whose attributes are its columns."""


@dataclass(slots=True, eq=False, repr=False)
class AddColumn(OnTable):
    column: ColumnDef = field(default_factory=lambda: ColumnDef("", SqlType("")))
    if_not_exists: bool = False


@dataclass(slots=True, eq=False, repr=False)
class DropColumn(OnTable):
    column: str = ""
    if_exists: bool = False
    cascade: bool = False


@dataclass(slots=True, eq=False, repr=False)
class AlterType(OnTable):
    column: str = ""
    type: SqlType = field(default_factory=lambda: SqlType(""))
    using: Node | None = None
    collation: str = ""


@dataclass(slots=True, eq=False, repr=False)
class SetDefault(OnTable):
    column: str = ""
    default: Node | None = None
    """None for DROP DEFAULT."""


@dataclass(slots=True, eq=False, repr=False)
class SetNotNull(OnTable):
    column: str = ""


@dataclass(slots=True, eq=False, repr=False)
class DropNotNull(OnTable):
    column: str = ""


@dataclass(slots=True, eq=False, repr=False)
class ColumnSetting(OnTable):
    """SET STATISTICS, STORAGE, COMPRESSION, column options; identity: ADD, SET, DROP; DROP EXPRESSION."""

    column: str = ""
    what: str = ""


@dataclass(slots=True, eq=False, repr=False)
class SetExpression(OnTable):
    column: str = ""
    expression: Node | None = None


@dataclass(slots=True, eq=False, repr=False)
class AddConstraint(OnTable):
    constraint: Constraint = field(default_factory=lambda: Constraint("check"))


@dataclass(slots=True, eq=False, repr=False)
class ValidateConstraint(OnTable):
    name: str = ""


@dataclass(slots=True, eq=False, repr=False)
class DropConstraint(OnTable):
    name: str = ""
    if_exists: bool = False
    cascade: bool = False


@dataclass(slots=True, eq=False, repr=False)
class AlterConstraint(OnTable):
    name: str = ""
    enforcement: bool = False
    """Whether it changes ENFORCED; else only when the constraint is checked."""
    enforced: bool = False


@dataclass(slots=True, eq=False, repr=False)
class SetLogged(OnTable):
    logged: bool = True


@dataclass(slots=True, eq=False, repr=False)
class SetTablespace(OnTable):
    tablespace: str = ""
    kind: str = "table"


@dataclass(slots=True, eq=False, repr=False)
class SetAccessMethod(OnTable):
    method: str = ""


@dataclass(slots=True, eq=False, repr=False)
class AttachPartition(OnTable):
    child: Name = NOWHERE
    default: bool = False
    bound: Node | None = None


@dataclass(slots=True, eq=False, repr=False)
class DetachPartition(OnTable):
    child: Name = NOWHERE
    concurrently: bool = False
    finalize: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Inherit(OnTable):
    parent: Name = NOWHERE
    add: bool = True


@dataclass(slots=True, eq=False, repr=False)
class ToggleTrigger(OnTable):
    verb: str = ""
    name: str = ""
    rule: bool = False


@dataclass(slots=True, eq=False, repr=False)
class ReplicaIdentity(OnTable):
    kind: str = ""


@dataclass(slots=True, eq=False, repr=False)
class RowSecurity(OnTable):
    verb: str = ""


@dataclass(slots=True, eq=False, repr=False)
class OtherAlter(OnTable):
    """ALTER TABLE parts without a rule of their own; `light` takes no more than SHARE UPDATE EXCLUSIVE."""

    what: str = ""
    light: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Rename(OnTable):
    """`kind` is what is renamed (table, column, constraint, index, view ...); `table` the relation or object itself."""

    kind: str = ""
    old: str = ""
    new: str = ""


@dataclass(slots=True, eq=False, repr=False)
class SetSchema(OnTable):
    kind: str = ""
    schema: str = ""
