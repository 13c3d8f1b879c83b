"""What is known of the database at the point a statement runs; it says so when it does not know.

Built from `--schema FILE`, from the migrations that came before, and from the statements of the file itself. A table
that was only ever altered here is *partial*: what was seen is true, what was not seen is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from dbkit.postgres.ddl import Node
from dbkit.postgres.migrate.actions import Action, AddColumn, Constraint, CreateIndex, CreateTable
from dbkit.postgres.migrate.bounds import PartitionKey
from dbkit.postgres.migrate.expressions import columns as columns_of
from dbkit.postgres.migrate.expressions import proves_not_null
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.types import SqlType

BEFORE: Final = -1
"""The script number of what existed before the first migration read."""


@dataclass(slots=True)
class Column:
    """A column; `type` is None and `not_null` is None where nothing said."""

    name: str
    type: SqlType | None = None
    not_null: bool | None = None
    has_default: bool = False
    generated: str = ""
    reads: frozenset[str] = frozenset()
    """Columns the expression of a generated one reads."""
    identity: bool = False
    collation: str = ""
    born: int = BEFORE


@dataclass(slots=True)
class HeldConstraint:
    """A constraint on a table; `born` and `block` say in which script and transaction it was added."""

    name: str
    constraint: Constraint
    validated: bool
    born: int = BEFORE
    block: int = 0
    inherited: bool = False
    """Whether it belongs to one of the parent table, and comes and goes with that."""

    @property
    def proves(self) -> bool:
        """Whether every row is known to satisfy it, in child tables too."""
        return self.validated and self.constraint.enforced and not self.constraint.no_inherit


@dataclass(slots=True)
class Index:
    """An index; `columns` holds an empty string for each expression."""

    name: str
    table: Name
    columns: tuple[str, ...]
    unique: bool = False
    partial: bool = False
    reads: frozenset[str] = frozenset()
    """Columns in its expressions and its condition."""
    born: int = BEFORE
    constraint: str = ""
    include: tuple[str, ...] = ()
    parent: str = ""


@dataclass(slots=True)
class Table:
    """A table, materialized view or foreign table."""

    name: Name
    complete: bool
    """Whether all of its columns are known."""
    kind: str = "table"
    created: bool = False
    """Whether the statement that made it was read, so that its storage and indexes are known."""
    born: int = BEFORE
    columns: dict[str, Column] = field(default_factory=dict[str, Column])
    constraints: dict[str, HeldConstraint] = field(default_factory=dict[str, HeldConstraint])
    partitioned: bool | None = None
    """None: not known."""
    partition_key: PartitionKey | None = None
    partition_of: Name | None = None
    bound: Node | None = None
    """FOR VALUES of a partition; None also where it is not known."""
    default_partition: Name | None = None
    partitions: list[Name] = field(default_factory=list[Name])
    heirs: list[Name] = field(default_factory=list[Name])
    """Tables that INHERIT from it."""
    of_type: Name | None = None
    """The composite type of a typed table."""
    unlogged: bool | None = None
    temporary: bool = False
    access_method: str = ""
    dropped: bool = False
    filled: bool = False
    """Known to hold more rows than a list of VALUES put in."""
    validated: set[str] = field(default_factory=set[str])
    """Constraints of which nothing is known but the name, and that they were validated."""

    def column(self, name: str) -> Column | None:
        """The column, if it is known."""
        return self.columns.get(name)

    def checks_on(self, column: str) -> list[HeldConstraint]:
        """CHECK constraints that read the column."""
        return [
            c
            for c in self.constraints.values()
            if c.constraint.kind == "check" and column in columns_of(c.constraint.expression)
        ]

    def proof_of_not_null(self, column: str) -> HeldConstraint | None:
        """A validated CHECK that proves the column holds no NULL."""
        for held in self.constraints.values():
            made = held.constraint
            if made.kind == "check" and held.proves and column in proves_not_null(made.expression):
                return held
        return None

    def primary_key(self) -> HeldConstraint | None:
        """The primary key, if it is known."""
        return next((c for c in self.constraints.values() if c.constraint.kind == "primary"), None)

    def foreign_keys(self) -> Iterator[HeldConstraint]:
        """Foreign keys from this table."""
        return (c for c in self.constraints.values() if c.constraint.kind == "foreign")


@dataclass(slots=True)
class Domain:
    name: Name
    base: SqlType
    constrained: bool
    not_null: bool = False
    volatile_default: bool = False
    born: int = BEFORE
    constraints: dict[str, bool] = field(default_factory=dict[str, bool])
    """Constraint name to whether it is validated."""


@dataclass(slots=True)
class Dependant:
    """What reads columns and is tied to them in the catalogue: a view, rule, policy, trigger, publication, function."""

    words: str
    """What it is and its name: `policy p on t`."""
    on: Name | None
    """The table it goes with."""
    reads: dict[tuple[str, str], frozenset[str]]
    """Columns by table; `*` where they are not known."""
    born: int = BEFORE


@dataclass(slots=True)
class Function:
    name: Name
    language: str
    body: str
    volatility: str
    born: int = BEFORE


@dataclass(slots=True)
class Schema:
    """Everything known. Keys are (schema, name), unqualified names filed under the first schema of the search_path."""

    search_path: str = "public"
    tables: dict[tuple[str, str], Table] = field(default_factory=dict[tuple[str, str], Table])
    indexes: dict[tuple[str, str], Index] = field(default_factory=dict[tuple[str, str], Index])
    domains: dict[tuple[str, str], Domain] = field(default_factory=dict[tuple[str, str], Domain])
    types: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    enum_born: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    dependants: dict[tuple[str, ...], Dependant] = field(default_factory=dict[tuple[str, ...], Dependant])
    """By kind and name, with the table in between for those that go with one."""
    functions: dict[tuple[str, str], Function] = field(default_factory=dict[tuple[str, str], Function])
    sequences: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    by_table: dict[tuple[str, str], list[Index]] = field(default_factory=dict[tuple[str, str], list[Index]])
    named_types: set[str] = field(default_factory=set[str])
    """Names of types, not built in, that some column has or had: what is not among them need not be searched for."""
    named_parents: set[str] = field(default_factory=set[str])
    """The same of tables that foreign keys point at."""
    named_heirs: set[str] = field(default_factory=set[str])
    """The same of tables that inherit from others."""
    whole: bool = False
    """True when a schema dump was read: what is not in it does not exist."""

    def key(self, name: Name) -> tuple[str, str]:
        """Where a name is filed."""
        return (name.schema or self.search_path, name.name)

    def table(self, name: Name) -> Table | None:
        """The table, if anything is known of it."""
        return self.tables.get(self.key(name))

    def partial(self, name: Name) -> Table:
        """The table, made up as a partial one if nothing was known."""
        key = self.key(name)
        found = self.tables.get(key)
        if found is None:
            found = self.tables[key] = Table(name, complete=False)
        return found

    def domain(self, kind: SqlType) -> Domain | None:
        """The domain a type names, if it is a known one."""
        return None if kind.builtin else self.domains.get((kind.schema or self.search_path, kind.name))

    def base(self, kind: SqlType) -> tuple[SqlType, bool]:
        """The type under any domains, and whether one of them is constrained."""
        constrained = False
        for _ in range(16):
            domain = self.domain(kind)
            if domain is None or kind.array:
                break
            constrained = constrained or domain.constrained or domain.not_null
            kind = domain.base
        return kind, constrained

    def known_type(self, kind: SqlType) -> bool:
        """Whether the type is built in, or was created in what was read."""
        if kind.builtin:
            return True
        key = (kind.schema or self.search_path, kind.name)
        return key in self.domains or key in self.types

    def index(self, name: Name) -> Index | None:
        """The index, if known."""
        return self.indexes.get(self.key(name))

    def holds(self, action: Action) -> bool:
        """Whether IF NOT EXISTS will find what the action would make, and so do nothing."""
        if isinstance(action, CreateIndex):
            named = action.if_not_exists and bool(action.name) and not action.concurrently
            return named and self.index(Name(action.table.schema, action.name)) is not None
        if isinstance(action, AddColumn):
            found = self.table(action.table) if action.if_not_exists else None
            return found is not None and action.column.name in found.columns
        if isinstance(action, CreateTable):
            found = self.table(action.table) if action.if_not_exists else None
            return found is not None and not found.dropped
        return False

    def adopt(self, parent: Name, heir: Name) -> None:
        """Make a table inherit from another, unless it would then inherit from itself."""
        if not self.circular(parent, heir):
            self.partial(parent).heirs.append(heir)
            self.named_heirs.add(heir.name)

    def circular(self, parent: Name, child: Name) -> bool:
        """Whether the child would stand above itself."""
        keys = {self.key(n) for n in (child, *self.below(child))}
        return self.key(parent) in keys

    def add_index(self, index: Index) -> None:
        """File an index under its name and its table."""
        self.indexes[(index.table.schema or self.search_path, index.name)] = index
        self.by_table.setdefault(self.key(index.table), []).append(index)

    def drop_index(self, name: Name) -> None:
        """Forget an index."""
        found = self.indexes.pop(self.key(name), None)
        if found is not None:
            held = self.by_table.get(self.key(found.table), [])
            self.by_table[self.key(found.table)] = [i for i in held if i is not found]

    def indexes_on(self, table: Name) -> list[Index]:
        """Known indexes of a table."""
        return self.by_table.get(self.key(table), [])

    def referencing(self, table: Name) -> Iterator[tuple[Table, HeldConstraint]]:
        """Tables with a known foreign key to this one, and the key."""
        key = self.key(table)
        for other in self.tables.values() if table.name in self.named_parents else ():
            for held in other.foreign_keys():
                parent = held.constraint.parent
                if parent is not None and self.key(parent) == key:
                    yield other, held

    def leaves(self, table: Name) -> Iterable[Name]:
        """Known partitions of a table."""
        found = self.table(table)
        return tuple(found.partitions) if found else ()

    def below(self, table: Name, *, heirs: bool = True) -> list[Name]:
        """Known partitions of a table, those of its partitions and so on; with `heirs` its child tables too."""
        top = self.table(table)
        if top is None or not (top.partitions or top.heirs):
            return []
        made: dict[tuple[str, str], Name] = {}
        waiting = [table]
        while waiting:
            held = self.table(waiting.pop())
            for child in (*held.partitions, *(held.heirs if heirs else ())) if held is not None else ():
                if self.key(child) not in made:
                    made[self.key(child)] = child
                    waiting.append(child)
        return list(made.values())

    def above(self, table: Name) -> list[Table]:
        """Known tables it inherits from, by INHERITS."""
        if table.name not in self.named_heirs:
            return []
        key = self.key(table)
        return [t for t in self.tables.values() if t.heirs and any(self.key(h) == key for h in t.heirs)]

    def dependants_on(self, table: Name, column: str) -> list[Dependant]:
        """What is known to read the column."""
        key = self.key(table)
        return [d for d in self.dependants.values() if key in d.reads and d.reads[key] & {column, "*"}]

    def tables_using(self, domain: Name) -> list[Table]:
        """Known tables with a column of the domain."""
        if domain.name not in self.named_types:
            return []
        key = self.key(domain)
        return [
            t
            for t in self.tables.values()
            if any(c.type and (c.type.schema or self.search_path, c.type.name) == key for c in t.columns.values())
        ]

    def volatility(self, name: Name) -> str | None:
        """The volatility of a function the migrations created; None when it is not one of them."""
        found = self.functions.get(self.key(name))
        return found.volatility if found else None
