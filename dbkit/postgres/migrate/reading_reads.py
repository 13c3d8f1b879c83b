"""Which columns of which tables a view, policy, rule, trigger, publication or function reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dbkit.postgres.ddl import walk
from dbkit.postgres.migrate import expressions
from dbkit.postgres.migrate.actions.base import Reads
from dbkit.postgres.migrate.names import Name, of_range


def of_query(nodes: Iterable[Any], default: str, *, own: Name | None = None, called: tuple[str, ...] = ()) -> Reads:
    """Columns by table of queries and expressions; `*` stands for all of a table's.

    `own` is the table whose columns an expression names bare (a policy's) and by the names `called` (a rule's OLD and
    NEW). A bare name among several tables counts for each of them: which one has it is told by the schema.
    """
    aliases: dict[str, list[Name]] = {}
    local: set[str] = set()
    tables: list[Name] = []
    refs: list[tuple[str, str]] = []
    if own is not None:
        for name in called or (own.name,):
            aliases[name] = [own]
        if not called:
            tables.append(own)
    for node in nodes:
        for message in walk(node):
            held: Any = message
            kind = message.DESCRIPTOR.name
            if kind == "RangeVar":
                table = of_range(held, default)
                tables.append(table)
                alias = held.alias.aliasname if held.HasField("alias") else held.relname
                aliases.setdefault(alias, []).append(table)
            elif kind == "CommonTableExpr":
                local.add(held.ctename)
            elif kind == "JoinExpr":
                refs += (("", name.string.sval) for name in held.using_clause)
            elif kind == "ColumnRef":
                words = [f.string.sval if f.WhichOneof("node") == "string" else "*" for f in held.fields]
                refs.append((words[-2] if len(words) > 1 else "", words[-1]))
    found: dict[Name, set[str]] = {t: set() for t in (*tables, *((own,) if own else ())) if t.name not in local}
    for qualifier, column in refs:
        for table in aliases.get(qualifier, ()) if qualifier else tables:
            if table in found:
                found[table].add(column)
    return tuple((table, frozenset(columns)) for table, columns in found.items())


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
