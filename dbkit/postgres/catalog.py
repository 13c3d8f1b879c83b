"""What is there: the indexes and foreign keys of a database, read in one consistent snapshot.

The fields of `Index` are those that decide whether two indexes are the same (never deparsed text), and how the index
is used. Names are unquoted as the catalogue holds them; `qualified` quotes where SQL needs it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from dbkit import assets
from dbkit.postgres.connect import Connection, fetch


@dataclass(frozen=True, slots=True)
class Index:
    """One index. `columns` holds key and INCLUDE columns by name, '' for an expression; `key_count` are keys."""

    oid: int
    schema: str
    name: str
    table_oid: int
    table_schema: str
    table_name: str
    on_partitioned: bool
    is_partitioned: bool
    parent_oid: int | None
    method: str
    is_unique: bool
    is_primary: bool
    is_exclusion: bool
    is_replica_identity: bool
    is_clustered: bool
    is_valid: bool
    is_ready: bool
    is_live: bool
    is_immediate: bool
    nulls_not_distinct: bool
    key_count: int
    columns: tuple[str, ...]
    opclasses: tuple[str, ...]
    collations: tuple[str, ...]
    options: tuple[int, ...]
    """Per key column: bit 1 = DESC, bit 2 = NULLS FIRST."""
    expressions: str | None
    predicate: str | None
    storage: tuple[str, ...]
    """reloptions such as fillfactor=90."""
    tablespace: str | None
    definition: str
    constraint_name: str | None
    constraint_type: str | None
    """p, u or x when a primary key, unique or exclusion constraint owns the index."""
    supports_foreign_key: bool
    """A foreign key elsewhere points at this index."""
    bytes: int
    tuples: float
    pages: int
    scans: int
    last_scan: datetime | None
    """Time of the last scan; PostgreSQL 16 and newer, None otherwise or if never."""
    table_tuples: float

    @property
    def table(self) -> str:
        """The table's qualified, quoted name."""
        return quoted(self.table_schema, self.table_name)

    @property
    def qualified(self) -> str:
        """The index's qualified, quoted name."""
        return quoted(self.schema, self.name)

    @property
    def keys(self) -> tuple[str, ...]:
        """Key columns without the INCLUDE columns."""
        return self.columns[: self.key_count]

    @property
    def included(self) -> tuple[str, ...]:
        """INCLUDE columns."""
        return self.columns[self.key_count :]


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """One foreign key; `parent_changes` counts updates and deletes on the referenced table since statistics began."""

    oid: int
    name: str
    table_schema: str
    table_name: str
    table_oid: int
    columns: tuple[str, ...]
    parent_schema: str
    parent_name: str
    parent_oid: int
    table_tuples: float
    parent_changes: int

    @property
    def table(self) -> str:
        """The referencing table's qualified, quoted name."""
        return quoted(self.table_schema, self.table_name)


@dataclass(frozen=True, slots=True)
class Build:
    """An index build in progress; what the role may not see is None."""

    pid: int
    database: str
    table_oid: int | None
    index_oid: int | None
    command: str | None
    phase: str | None
    lockers_total: int | None
    lockers_done: int | None
    current_locker_pid: int | None
    blocks_total: int | None
    blocks_done: int | None
    tuples_total: int | None
    tuples_done: int | None
    partitions_total: int | None
    partitions_done: int | None
    username: str | None
    application_name: str | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, view, sequence, index or composite type; `kind` is pg_class.relkind."""

    oid: int
    schema: str
    name: str
    kind: str
    tuples: float
    bytes: int
    owned: bool
    """Whether this role may alter it (owner, or a member of the owner)."""
    owner: str
    may_create: bool
    """Whether this role may create objects in its schema."""

    @property
    def qualified(self) -> str:
        """Schema and name, quoted where needed."""
        return quoted(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition at any level below the partitioned table `root_oid`."""

    root_oid: int
    oid: int
    parent_oid: int
    level: int
    schema: str
    name: str
    is_partitioned: bool
    is_foreign: bool
    tuples: float
    bytes: int

    @property
    def qualified(self) -> str:
        """Schema and name, quoted where needed."""
        return quoted(self.schema, self.name)


def quoted(schema: str, name: str) -> str:
    """`schema.name` as the server would quote it: plain where possible."""
    return f"{quote(schema)}.{quote(name)}"


def quote(name: str) -> str:
    """An identifier for people and scripts: bare when it is plain lower case and not reserved, else quoted."""
    if name.isascii() and name.isidentifier() and name == name.lower() and name not in _RESERVED:
        return name
    return sql.Identifier(name).as_string()


def indexes(connection: Connection, tables: Collection[int] | None = None) -> tuple[Index, ...]:
    """Every index of the user's schemas, by table and name; or only those of some tables and of this session's
    temporary ones, which is much less work in a database with many.
    """
    query: sql.SQL | sql.Composed = sql.SQL(assets.query("postgres/indexes"))
    if tables is not None:
        chosen = sql.SQL(", ").join(map(sql.Literal, [0, *tables]))
        only = "select * from ({}) i where i.table_oid in ({}) or i.table_schema like 'pg\\_temp%'"
        query = sql.SQL(only).format(query, chosen)
    return tuple(Index(**_tupled(row)) for row in fetch(connection, query))


def foreign_keys(connection: Connection) -> tuple[ForeignKey, ...]:
    """Every foreign key of the user's schemas, by table and name."""
    return tuple(ForeignKey(**_tupled(row)) for row in fetch(connection, assets.query("postgres/foreign_keys")))


def relations(connection: Connection) -> tuple[Relation, ...]:
    """Every relation of the user's schemas."""
    return tuple(Relation(**row) for row in fetch(connection, assets.query("postgres/relations")))


def partitions(connection: Connection) -> tuple[Partition, ...]:
    """Every partition, parents before children."""
    return tuple(Partition(**row) for row in fetch(connection, assets.query("postgres/partitions")))


def builds(connection: Connection) -> tuple[Build, ...]:
    """Index builds in this database at this moment."""
    return tuple(Build(**row) for row in fetch(connection, assets.query("postgres/index_builds")))


def _tupled(row: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


# Reserved words of PostgreSQL 14 to 18 (pg_get_keywords(), catcode R and T): they need quotes as identifiers.
_RESERVED = frozenset(
    """all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
    column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
    current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze
    from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit
    localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references
    returning right select session_user similar some symmetric system_user table tablesample then to trailing true union
    unique user using variadic verbose when where window with""".split()
)
