"""What one table is and what hangs on it, read in one snapshot: all that decides how a change of it is made."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from dbkit import assets
from dbkit.errors import UsageError
from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import Connection, fetch


@dataclass(frozen=True, slots=True)
class Grant:
    """A privilege on one column. `grantee` is quoted."""

    grantee: str
    privilege: str
    grantable: bool


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Expressions are as the server prints them under search_path pg_catalog."""

    number: int
    name: str
    type: str
    not_null: bool
    default: str | None
    generated: str | None
    identity: str
    statistics: int
    storage: str
    collation: str | None
    comment: str | None
    base: str
    """pg_type.typname: int4, text ..."""
    category: str
    sequence: str | None
    """The sequence that a serial or identity column owns, quoted."""
    domain: bool
    compression: str
    options: tuple[str, ...]
    """`n_distinct=100` ..."""
    labels: tuple[tuple[str, str], ...]
    """Security labels: provider and label."""
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class Constraint:
    """A table constraint; `kind` as pg_constraint.contype."""

    name: str
    kind: str
    definition: str
    validated: bool
    columns: tuple[str, ...]
    parent: tuple[str, str] | None
    parent_columns: tuple[str, ...]
    comment: str | None
    index: int
    inherited: bool


@dataclass(frozen=True, slots=True)
class Child:
    """A foreign key of another table (or of this one) that points here."""

    name: str
    schema: str
    table: str
    definition: str
    validated: bool
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """An index with the columns it uses in keys, expressions and predicate."""

    oid: int
    name: str
    unique: bool
    primary: bool
    valid: bool
    definition: str
    constraint: bool
    replica_identity: bool
    comment: str | None
    clustered: bool
    tablespace: str | None
    statistics: tuple[tuple[int, int], ...]
    """Position of a column of the index and its statistics target, where one was set."""
    uses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trigger:
    """A user's trigger; `columns` are those of UPDATE OF, `uses` those and what its WHEN names."""

    name: str
    definition: str
    enabled: str
    columns: tuple[str, ...]
    uses: tuple[str, ...]
    function: str
    body: str


@dataclass(frozen=True, slots=True)
class Dependant:
    """A view, rule, policy, function or generated column that uses a column (None: the table as a whole)."""

    kind: str
    name: str
    column: str | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """An extended statistics object."""

    name: str
    schema: str
    definition: str
    columns: tuple[str, ...]
    target: int
    comment: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """One table with all that hangs on it."""

    oid: int
    schema: str
    name: str
    kind: str
    """pg_class.relkind: r, p, v ..."""
    is_partition: bool
    rows: float
    bytes: int
    row_security: bool
    forced_row_security: bool
    replica_identity: str
    owned: bool
    owner: str
    may_create: bool
    inherits: bool
    columns: tuple[Column, ...]
    constraints: tuple[Constraint, ...]
    children: tuple[Child, ...]
    indexes: tuple[Index, ...]
    triggers: tuple[Trigger, ...]
    dependants: tuple[Dependant, ...]
    statistics: tuple[Statistics, ...]
    publications: tuple[str, ...]
    leaves: tuple[tuple[str, str], ...]
    grants: tuple[Grant, ...]
    """On the table as a whole."""
    row_type: tuple[str, ...]
    """What uses the table's row type, as the server describes it: `function total(orders)`."""
    partition_key: tuple[str, ...]
    typed: bool
    """CREATE TABLE ... OF."""
    comment: str | None
    major: int

    @property
    def sql(self) -> str:
        """The qualified name, quoted where it must be."""
        return quoted(self.schema, self.name)

    def column(self, name: str) -> Column:
        """The column of that name. Raises UsageError with the nearest names."""
        for found in self.columns:
            if found.name == name:
                return found
        near = difflib.get_close_matches(name, [c.name for c in self.columns], n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has: {', '.join(c.name for c in self.columns)}"
        raise UsageError(f"{self.sql} has no column {quote(name)}", hint=hint)

    def has(self, name: str) -> bool:
        """Whether there is a column of that name."""
        return any(c.name == name for c in self.columns)

    def using(self, column: str) -> list[Dependant]:
        """Views, rules, policies, functions and generated columns on one column."""
        return [d for d in self.dependants if d.column == column]


def read(connection: Connection, name: str) -> Table:
    """The facts of a table named as a user writes it: `users`, `app.users`, `"Users"`."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        oid = _find(connection, name)
        connection.execute("set local search_path = pg_catalog")
        row = fetch(connection, assets.query("postgres/table_facts"), {"table": oid})[0]
    return _table(row)


def of_oid(connection: Connection, oid: int) -> Table:
    """The facts of a table whose oid is known."""
    with connection.transaction():
        connection.execute("set local search_path = pg_catalog")  # so that what the server prints is qualified
        return _table(fetch(connection, assets.query("postgres/table_facts"), {"table": oid})[0])


def _find(connection: Connection, name: str) -> int:
    connection.execute("reset search_path")
    try:
        row = fetch(connection, "select pg_catalog.to_regclass(%s)::oid::bigint as oid", [name])[0]
    finally:
        connection.execute("set local search_path = pg_catalog")
    if row["oid"] is None:
        known = fetch(
            connection,
            "select n.nspname || '.' || c.relname as name "
            "from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema', 'dbkit')",
        )
        names = [str(k["name"]) for k in known]
        near = difflib.get_close_matches(name if "." in name else f"public.{name}", names, n=1)
        raise UsageError(
            f"there is no table {name} in this database",
            hint=f"did you mean {near[0]}?" if near else "write it as schema.table",
        )
    return int(row["oid"])


def _table(row: Mapping[str, Any]) -> Table:
    made = dict(row)
    views = [Dependant(v["kind"], v["name"], v["column"]) for v in made.pop("views")]
    policies = [Dependant("policy", p["name"], p["column"]) for p in made.pop("policies")]
    generated = [Dependant("generated column", g["name"], g["column"]) for g in made.pop("generated")]
    functions = [Dependant(f["kind"], f["name"], f["column"]) for f in made.pop("functions")]
    made["dependants"] = tuple(views + policies + generated + functions)
    for column in made["columns"]:
        column["grants"] = tuple(Grant(**g) for g in column["grants"])
        column["options"] = tuple(column["options"])
        column["labels"] = tuple((p, label) for p, label in column["labels"])
    for index in made["indexes"]:
        index["statistics"] = tuple((position, target) for position, target in index["statistics"])
    made["columns"] = tuple(Column(**c) for c in made["columns"])
    made["constraints"] = tuple(Constraint(**_tuples(c)) for c in made["constraints"])
    made["children"] = tuple(Child(**_tuples(c)) for c in made["children"])
    made["indexes"] = tuple(Index(**_tuples(i)) for i in made["indexes"])
    made["triggers"] = tuple(Trigger(**_tuples(t)) for t in made["triggers"])
    made["statistics"] = tuple(Statistics(**_tuples(s)) for s in made["statistics"])
    made["grants"] = tuple(Grant(**g) for g in made["grants"])
    for name in ("publications", "row_type", "partition_key"):
        made[name] = tuple(made[name])
    made["leaves"] = tuple((s, n) for s, n in made["leaves"])
    return Table(**made)


def _tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    """JSON arrays of names as tuples."""
    made: dict[str, Any] = dict(entry)
    for key, value in made.items():
        if isinstance(value, list):
            made[key] = tuple(map(str, cast(list[Any], value)))
    return made
