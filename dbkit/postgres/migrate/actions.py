"""What statements do, in our own words: the reader turns the grammar's nodes into these, rules and the schema use them.

One statement may hold several actions (an ALTER TABLE with three parts). Names are resolved against the search_path
where one is known. Expressions stay nodes of the grammar, touched only through `dbkit.postgres.ddl` and `expressions`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from dbkit.postgres.ddl import Node
from dbkit.postgres.migrate.bounds import PartitionKey
from dbkit.postgres.migrate.names import Name, quote
from dbkit.postgres.migrate.types import SqlType

NOWHERE: Final = Name("", "")
"""No name given."""
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


@dataclass(slots=True, eq=False, repr=False)
class CreateTable(OnTable):
    columns: tuple[ColumnDef, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    parents: tuple[Name, ...] = ()
    likes: tuple[Name, ...] = ()
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
    only: bool = False


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
    only: bool = False
    method: str = "btree"

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
class Vacuum(Action):
    full: bool = False
    analyze_only: bool = False
    tables: tuple[Name, ...] = ()


@dataclass(slots=True, eq=False, repr=False)
class Cluster(Action):
    table: Name | None = None


@dataclass(slots=True, eq=False, repr=False)
class Truncate(Action):
    tables: tuple[Name, ...] = ()
    cascade: bool = False


@dataclass(slots=True, eq=False, repr=False)
class LockTable(Action):
    tables: tuple[Name, ...] = ()
    mode: int = 8


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
    tables: tuple[Name, ...] = ()
    columns: frozenset[str] = frozenset()
    replace: bool = False
    with_data: bool = True


@dataclass(slots=True, eq=False, repr=False)
class CreateFunction(Action):
    name: Name = NOWHERE
    language: str = ""
    body: str = ""
    volatility: Literal["volatile", "stable", "immutable"] = "volatile"
    replace: bool = False


@dataclass(slots=True, eq=False, repr=False)
class CreateTrigger(OnTable):
    name: str = ""
    constraint_on: Name | None = None


@dataclass(slots=True, eq=False, repr=False)
class CreateRule(OnTable):
    name: str = ""


@dataclass(slots=True, eq=False, repr=False)
class Policy(OnTable):
    name: str = ""
    verb: str = "create"


@dataclass(slots=True, eq=False, repr=False)
class Sequence(Action):
    name: Name = NOWHERE
    create: bool = True
    type: str = ""
    owned_by: tuple[str, ...] = ()
    restarts: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Extension(Action):
    name: str = ""
    verb: str = "create"


@dataclass(slots=True, eq=False, repr=False)
class Privileges(Action):
    grant: bool = True


@dataclass(slots=True, eq=False, repr=False)
class Dml(OnTable):
    verb: Literal["insert", "update", "delete", "merge", "copy"] = "insert"
    narrowed: bool = True
    """False without WHERE, or with one that is always true."""
    columns: tuple[str, ...] = ()
    rows: int = 0
    """Rows of a VALUES list; 0 when the statement reads them from elsewhere."""


@dataclass(slots=True, eq=False, repr=False)
class Query(Action):
    """A SELECT; `tables` it reads, `calls` the functions it calls by name."""

    tables: tuple[Name, ...] = ()
    calls: tuple[Name, ...] = ()


@dataclass(slots=True, eq=False, repr=False)
class Transaction(Action):
    verb: Literal["begin", "commit", "rollback", "savepoint", "rollback-to", "release", "prepare"] = "begin"
    chain: bool = False


@dataclass(slots=True, eq=False, repr=False)
class SetVariable(Action):
    name: str = ""
    value: str | None = None
    """None for RESET or DEFAULT."""
    local: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Code(Action):
    """A DO block or a CALL: what runs inside is in other statements, listed by `bodies`."""

    language: str = "plpgsql"
    body: str = ""
    calls: Name | None = None


@dataclass(slots=True, eq=False, repr=False)
class OutsideTransaction(Action):
    """CREATE DATABASE, CREATE TABLESPACE, ALTER SYSTEM and others that refuse a transaction block."""

    what: str = ""


@dataclass(slots=True, eq=False, repr=False)
class Harmless(Action):
    """A statement that locks no table against anyone: COMMENT, GRANT, ANALYZE, CREATE EXTENSION ..."""

    what: str = ""


@dataclass(slots=True, eq=False, repr=False)
class Unread(Action):
    """A statement, or a part of one, that is not judged, and why."""

    what: str = ""
    why: str = "dbkit does not judge this kind of statement"
