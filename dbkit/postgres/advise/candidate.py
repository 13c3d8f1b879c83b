"""An index that might be proposed: what it is built on, and its CREATE INDEX."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dbkit.postgres import ddl
from dbkit.postgres.catalog import Relation, quote
from dbkit.postgres.indexes.desired import Wanted


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an index. `text` is SQL: a quoted column, or an expression in parentheses."""

    text: str
    columns: tuple[str, ...]
    """The columns it rests on, unquoted."""
    descending: bool = False
    nulls: str = ""
    """`first` or `last` where it differs from the default of the direction."""
    opclass: str = ""

    @property
    def sql(self) -> str:
        """As it stands between the parentheses of CREATE INDEX."""
        order = " desc" if self.descending else ""
        nulls = f" nulls {self.nulls}" if self.nulls else ""
        return f"{self.text}{f' {self.opclass}' if self.opclass else ''}{order}{nulls}"

    @property
    def plain(self) -> Key:
        """The same key in ascending order."""
        return replace(self, descending=False, nulls="")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index on `table` (for a partitioned table the root). `wanted` is the file's statement when one asks for it."""

    table: Relation
    keys: tuple[Key, ...]
    method: str = "btree"
    included: tuple[str, ...] = ()
    where: str = ""
    where_columns: tuple[str, ...] = ()
    free: int = 0
    """How many leading keys are compared with `=` and may change places."""
    gamble: bool = False
    """It gives the order and leaves out what the statement compares with `=`."""
    turned: bool = False
    """Its keys are in another order than the most selective first, for the sake of another statement."""
    group: tuple[int, ...] = ()
    wanted: Wanted | None = None

    @property
    def columns(self) -> frozenset[str]:
        """Every column whose change costs a new entry."""
        return frozenset(c for k in self.keys for c in k.columns) | set(self.included) | set(self.where_columns)

    @property
    def shape(self) -> str:
        """What follows ON: equal for two candidates that are the same index."""
        if self.wanted is not None:
            return self.statement("_", concurrently=False).partition(" ON ")[2]
        method = "" if self.method == "btree" else f" using {self.method}"
        include = f" include ({', '.join(quote(c) for c in self.included)})" if self.included else ""
        where = f" where {self.where}" if self.where else ""
        keys = ", ".join(k.sql for k in self.keys)
        return f"{self.table.qualified}{method} ({keys}){include}{where}"

    def statement(self, name: str, *, concurrently: bool = True) -> str:
        """The CREATE INDEX under a name (unquoted)."""
        if self.wanted is not None:
            node = ddl.copy(self.wanted.node)
            node.idxname, node.concurrent = name, concurrently
            node.relation.schemaname, node.relation.relname = self.table.schema, self.table.name
            return ddl.deparse_node(index_stmt=node)
        return f"create index {'concurrently ' if concurrently else ''}{quote(name)} on {self.shape}"

    def words(self) -> str:
        """For a sentence: the keys, and what else is special."""
        return self.shape.removeprefix(self.table.qualified).strip()


def of_wanted(wanted: Wanted, table: Relation) -> Candidate:
    """A wanted index that is not there yet, as a candidate that comes before all others."""
    node: Any = wanted.node
    keys = tuple(
        Key(quote(p.index_elem.name) if p.index_elem.name else "(expression)", _columns(p)) for p in node.index_params
    )
    where = _columns(node.where_clause) if node.HasField("where_clause") else ()
    included = tuple(str(p.index_elem.name) for p in node.index_including_params)
    return Candidate(
        table, keys, method=node.access_method or "btree", included=included, where_columns=where, wanted=wanted
    )


def _columns(node: Any) -> tuple[str, ...]:
    """The columns an expression or index element names."""
    found: list[str] = []
    for message in ddl.walk(node):
        held: Any = message
        if held.DESCRIPTOR.name == "ColumnRef":
            found.append(held.fields[-1].string.sval)
        elif held.DESCRIPTOR.name == "IndexElem" and held.name:
            found.append(held.name)
    return tuple(dict.fromkeys(found))
