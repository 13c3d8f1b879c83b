"""Which columns of which tables a view, policy, rule, trigger, publication or function reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import Message

from dbkit.postgres.ddl import Node, walk
from dbkit.postgres.migrate import expressions
from dbkit.postgres.migrate.actions.base import Reads
from dbkit.postgres.migrate.names import Name, of_range

_STATEMENTS: Final = frozenset({"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})


@dataclass(slots=True)
class _Scope:
    """The tables that a query names itself, which its subqueries see and the query around it does not."""

    outer: _Scope | None = None
    tables: list[Name] = field(default_factory=list[Name])
    aliases: dict[str, Name] = field(default_factory=dict[str, Name])

    def add(self, table: Name, alias: str) -> None:
        self.tables.append(table)
        self.aliases[alias] = table

    def outwards(self) -> Iterator[_Scope]:
        here: _Scope | None = self
        while here is not None:
            yield here
            here = here.outer

    def meant(self, qualifier: str, column: str) -> list[Name]:
        """Tables that a reference may mean: which of several has the column is told by the schema."""
        if qualifier:
            return [next((s.aliases[qualifier] for s in self.outwards() if qualifier in s.aliases), Name("", ""))]
        return self.tables if column == "*" else [t for s in self.outwards() for t in s.tables]


def of_query(nodes: Iterable[Any], default: str, *, own: Name | None = None, called: tuple[str, ...] = ()) -> Reads:
    """Columns by table of queries and expressions; `*` stands for all of a table's.

    `own` is the table whose columns an expression names bare (a policy's) and by the names `called` (a rule's OLD and
    NEW). A bare name counts for each table of its query and of those around it.
    """
    given = tuple(nodes)
    outermost = _Scope()
    if own is not None:
        outermost.aliases = dict.fromkeys(called or (own.name,), own)
        outermost.tables = [] if called else [own]
    local = {m.ctename for n in given for m in map(_any, walk(n)) if m.DESCRIPTOR.name == "CommonTableExpr"}
    found: dict[Name, set[str]] = {own: set()} if own is not None else {}
    for node in given:
        _collect(node, outermost, default, found)
    return tuple((table, frozenset(columns)) for table, columns in found.items() if table.name not in local)


def _any(message: Message) -> Any:
    return message


def _collect(message: Any, scope: _Scope, default: str, found: dict[Name, set[str]]) -> None:
    kind = message.DESCRIPTOR.name
    if kind in _STATEMENTS:
        scope = _Scope(scope)
        for table, alias in _named(message, default):
            scope.add(table, alias)
            found.setdefault(table, set())
    elif kind == "ColumnRef":
        words = [f.string.sval if f.WhichOneof("node") == "string" else "*" for f in message.fields]
        for table in scope.meant(words[-2] if len(words) > 1 else "", words[-1]):
            if table in found:
                found[table].add(words[-1])
        return
    elif kind == "JoinExpr":
        for name in message.using_clause:
            for table in scope.tables:
                found[table].add(name.string.sval)
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for item in value if descriptor.is_repeated else (value,):
                _collect(item, scope, default, found)


def _named(statement: Any, default: str) -> Iterator[tuple[Name, str]]:
    """The tables that a statement itself names, each with what it is called there."""
    fields = statement.DESCRIPTOR.fields_by_name
    if "relation" in fields and statement.HasField("relation"):
        yield from _within(statement.relation, default)
    for clause in ("from_clause", "using_clause"):
        if clause in fields:
            for item in getattr(statement, clause):
                yield from _within(item, default)
    if "source_relation" in fields and statement.HasField("source_relation"):
        yield from _within(statement.source_relation, default)


def _within(item: Any, default: str) -> Iterator[tuple[Name, str]]:
    """The tables of one entry of FROM: subqueries have a scope of their own."""
    if isinstance(item, Node):
        kind = item.WhichOneof("node")
        item = getattr(item, kind) if kind else item
    name = item.DESCRIPTOR.name
    if name == "RangeVar":
        yield of_range(item, default), item.alias.aliasname if item.HasField("alias") else item.relname
    elif name == "JoinExpr":
        yield from _within(item.larg, default)
        yield from _within(item.rarg, default)
    elif name == "RangeTableSample":
        yield from _within(item.relation, default)


def of_trigger(node: Any, table: Name) -> Reads:
    """The columns of UPDATE OF and of WHEN."""
    columns = {c.string.sval for c in node.columns}
    if node.HasField("when_clause"):
        columns |= expressions.columns(node.when_clause)
    return ((table, frozenset(columns)),)


def of_publication(node: Any, default: str) -> Reads:
    """The columns of the lists and conditions of a publication's tables."""
    found: list[tuple[Name, frozenset[str]]] = []
    for wrapped in node.pubobjects:
        member = wrapped.publication_obj_spec.pubtable
        columns = {c.string.sval for c in member.columns}
        if member.HasField("where_clause"):
            columns |= expressions.columns(member.where_clause)
        if columns:
            found.append((of_range(member.relation, default), frozenset(columns)))
    return tuple(found)
