"""What the target's catalogue says about the tables of a workload, read once in one read-only snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import psycopg

from dbkit import assets
from dbkit.postgres import catalog
from dbkit.postgres.catalog import ForeignKey, Index, Partition, Relation, quote
from dbkit.postgres.connect import Connection, Server, explain, fetch

STATEMENT_TIMEOUT: Final = "30s"
LOCK_TIMEOUT: Final = "2s"
TEXTS: Final = ("text", "varchar", "bpchar")


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `distincts` is as in pg_stats: negative is a share of the rows; None without statistics."""

    name: str
    type: str
    """The type's own name, of a domain the one below it: int8, varchar, timestamptz, _text."""
    category: str
    element: str
    """For an array the name of its element type."""
    plain_order: bool
    not_null: bool
    width: int | None
    distincts: float | None
    nulls: float | None


@dataclass(frozen=True, slots=True)
class Writes:
    """Rows written to a table, per second since statistics began."""

    inserts: float = 0.0
    updates: float = 0.0
    hot_updates: float = 0.0

    @property
    def entries(self) -> float:
        """New entries a second in every index."""
        return self.inserts + max(0.0, self.updates - self.hot_updates)


@dataclass(frozen=True)
class Facts:
    """The catalogue as the advice needs it."""

    server: Server
    relations: Mapping[int, Relation]
    partitions: tuple[Partition, ...]
    indexes: tuple[Index, ...]
    foreign_keys: tuple[ForeignKey, ...]
    columns: Mapping[int, Mapping[str, Column]]
    written: Mapping[int, Writes]
    seconds: float
    """How long the server has been counting writes."""
    search_path: tuple[str, ...]
    """The schemas the role's statements look into, in order."""
    extensions: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """Extensions of the database: schema and version by name."""

    @cached_property
    def by_name(self) -> Mapping[tuple[str, str], Relation]:
        """Relations by schema and name."""
        return {(r.schema, r.name): r for r in self.relations.values()}

    @cached_property
    def root(self) -> Mapping[int, int]:
        """The partitioned table above a partition, by oid. A sub-partitioned table belongs to the topmost one."""
        tops = {p.oid for p in self.partitions}
        return {p.oid: p.root_oid for p in self.partitions if p.root_oid not in tops}

    def table(self, schema: str, name: str) -> Relation | None:
        """The table an index would be built on: of a partition the partitioned table."""
        found = self.by_name.get((schema, name))
        return self.relations.get(self.root.get(found.oid, found.oid)) if found else None

    def members(self, table: int) -> tuple[int, ...]:
        """The relations that hold the rows of a table: itself, or its partitions."""
        parts = tuple(p.oid for p in self.partitions if p.root_oid == table and not p.is_partitioned)
        return parts or (table,)

    def rows(self, table: int) -> float:
        """The planner's idea of the number of rows; 0 when never analysed."""
        return sum(max(0.0, self.relations[oid].tuples) for oid in self.members(table) if oid in self.relations)

    def writes(self, table: int) -> Writes:
        """What is written to a table, all partitions together."""
        held = [self.written[oid] for oid in self.members(table) if oid in self.written]
        return Writes(sum(w.inserts for w in held), sum(w.updates for w in held), sum(w.hot_updates for w in held))

    def distincts(self, table: int, column: str) -> float | None:
        """How many different values a column has."""
        found = self.columns.get(table, {}).get(column)
        if found is None or found.distincts is None:
            return None
        return found.distincts if found.distincts >= 0 else -found.distincts * max(1.0, self.rows(table))

    def lacks_index(self, table: int, column: str) -> bool:
        """Whether a foreign key of this one column has no index that begins with it."""
        keys = [k for k in self.foreign_keys if k.table_oid == table and k.columns == (column,)]
        return bool(keys) and not any(
            i.is_valid and i.predicate is None and i.keys[:1] == (column,) for i in self.indexes_of(table)
        )

    def indexes_of(self, table: int) -> Iterable[Index]:
        """The indexes of a table (not those of its partitions)."""
        return (i for i in self.indexes if i.table_oid == table)


def read(connection: Connection, found: Server) -> Facts:
    """Read the catalogue. Raises DbkitError when a lock or the time limit stands in the way."""
    connection.read_only = True
    try:
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read")
            for key, value in (("statement_timeout", STATEMENT_TIMEOUT), ("lock_timeout", LOCK_TIMEOUT)):
                connection.execute("select /* dbkit */ set_config(%s, %s, true)", [key, value])
            return _read(connection, found)
    except psycopg.Error as error:
        raise explain(error, f"cannot read the catalogue of database {found.database}") from None
    finally:
        if not connection.closed:
            connection.read_only = None


def _read(connection: Connection, found: Server) -> Facts:
    path = fetch(connection, assets.query("postgres/search_path"))[0]
    counted = fetch(connection, assets.query("postgres/statistics"))[0]
    seconds = max(1.0, (counted["now"] - counted["since"]).total_seconds())
    columns: dict[int, dict[str, Column]] = {}
    for row in fetch(connection, assets.query("postgres/columns")):
        table = row.pop("table_oid")
        columns.setdefault(table, {})[row["name"]] = Column(**row)
    return Facts(
        server=found,
        relations={r.oid: r for r in catalog.relations(connection)},
        partitions=catalog.partitions(connection),
        indexes=tuple(i for i in catalog.indexes(connection) if not i.schema.startswith("pg_temp")),
        foreign_keys=catalog.foreign_keys(connection),
        columns=columns,
        written={
            row["oid"]: Writes(*(row[name] / seconds for name in ("inserts", "updates", "hot_updates")))
            for row in fetch(connection, assets.query("postgres/table_writes"))
        },
        seconds=seconds,
        search_path=search_path(path),
        extensions={name: (held[0], held[1]) for name, held in path["extensions"].items()},
    )


def search_path(row: Mapping[str, Any], given: str | None = None) -> tuple[str, ...]:
    """The schemas of a search path that exist; `"$user"` is the role's own."""
    parts = [p.strip() for p in (given if given is not None else row["path"]).split(",")]
    names = [row["username"] if p in ('"$user"', "$user") else p.strip('"').replace('""', '"') for p in parts]
    return tuple(n for n in names if n in row["schemas"])


def path_sql(schemas: Iterable[str]) -> str:
    """A search_path as SET takes it."""
    return ", ".join(quote(s) for s in schemas) or "pg_catalog"
