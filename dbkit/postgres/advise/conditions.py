"""Reads the conditions that EXPLAIN (VERBOSE) prints: which column or expression is compared, how, and with what.

The server has resolved names, views, functions and row-level policies before it prints them, and every column carries
the alias of its table; so nothing is guessed here. The text is read by PostgreSQL's own grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from dbkit.errors import UsageError
from dbkit.postgres import ddl
from dbkit.postgres.advise.candidate import Key
from dbkit.postgres.advise.facts import TEXTS, Column
from dbkit.postgres.catalog import quote

Kind = Literal[
    "equal", "any", "range", "null", "not-null", "true", "false", "prefix", "like", "match", "contains", "or"
]

_SUBPLAN: Final = re.compile(
    r"\((?:hashed |alternatives: |rescan )*(?:SubPlan|InitPlan|CTE) [^()]*\)(?:\.col\d+)?", re.IGNORECASE
)
_ANY_OF_SUBPLAN: Final = re.compile(r"\((?:ANY|ALL) \(")
_RANGES: Final = ("<", "<=", ">", ">=")
_SWAPPED: Final = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<=", "@>": "<@", "<@": "@>", "&&": "&&", "@@": "@@"}
_LIKES: Final = ("~~", "~~*", "~", "~*")
_CONTAINS: Final = ("@>", "<@", "&&", "?", "?|", "?&", "@?")
_TEXT_NAMES: Final = ("text", "varchar", "bpchar")


@dataclass(frozen=True, slots=True)
class Predicate:
    """One condition on one table alias."""

    kind: Kind
    alias: str
    key: Key
    """What is compared: for a row comparison its first column."""
    operator: str = ""
    column: Column | None = None
    """The column when the key is a plain one."""
    others: frozenset[str] = frozenset()
    """Aliases on the other side: empty for a constant or a parameter, else it is a join."""
    where: str = ""
    """The whole condition as SQL without alias, if it holds no parameter and no call: fit for a partial index."""
    pattern: str | None = None
    """The text compared with by LIKE, where it is known."""
    more: tuple[Key, ...] = ()
    """The further columns of a row comparison."""
    arms: tuple[tuple[Predicate, ...], ...] = ()


@dataclass(slots=True)
class Reading:
    """What was read of one plan."""

    predicates: list[Predicate] = field(default_factory=list[Predicate])
    unread: list[str] = field(default_factory=list[str])


Tables = Mapping[str, Mapping[str, Column]]
"""The columns of each alias."""


def read(text: str, tables: Tables, into: Reading) -> None:
    """Add the predicates of one condition of a plan."""
    try:
        node = expression(text)
    except UsageError:
        into.unread.append(text)
        return
    into.predicates += _conjunction(node, tables)


def expression(text: str) -> Any:
    """The parsed expression of a plan's text; what a sub-select yields is an unknown value, as a parameter is."""
    text = _ANY_OF_SUBPLAN.sub("((", _SUBPLAN.sub("$9999", text))
    return ddl.parse(f"select {text}")[0].node.select_stmt.target_list[0].res_target.val


def sort_keys(texts: list[str], tables: Tables) -> tuple[tuple[str, Key], ...] | None:
    """The keys of a Sort node, each with its alias; None when one is no expression over one table."""
    found: list[tuple[str, Key]] = []
    for text in texts:
        try:
            statement = ddl.parse(f"select 1 order by {_SUBPLAN.sub('$9999', text)}")
        except UsageError:
            return None
        item = statement[0].node.select_stmt.sort_clause[0].sort_by
        held = key_of(item.node, tables)
        if held is None:
            return None
        alias, key = held
        descending = item.sortby_dir == ddl.numbers("SortByDir")["SORTBY_DESC"]
        nulls = {
            ddl.numbers("SortByNulls")["SORTBY_NULLS_FIRST"]: "first",
            ddl.numbers("SortByNulls")["SORTBY_NULLS_LAST"]: "last",
        }.get(item.sortby_nulls, "")
        if nulls == ("first" if descending else "last"):
            nulls = ""
        found.append((alias, Key(key.text, key.columns, descending, nulls)))
    return tuple(found)


def columns(node: Any) -> set[tuple[str, str]]:
    """Alias and name of every column in an expression; the alias is empty where the server left it out."""
    return {_names(held) for held in _all(node) if held.DESCRIPTOR.name == "ColumnRef"}


def key_of(node: Any, tables: Tables) -> tuple[str, Key] | None:
    """The alias and index key of an expression over one table's columns; None when an index cannot be built on it."""
    node = _bare(node, tables)
    kind = node.WhichOneof("node")
    used = columns(node)
    aliases = {alias for alias, _ in used}
    if len(aliases) != 1 or not aliases <= set(tables):
        return None
    alias = aliases.pop()
    known = tables[alias]
    names = tuple(sorted(name for _, name in used))
    if not all(name in known for name in names):
        return None
    if kind == "column_ref":
        return alias, Key(quote(names[0]), names)
    if kind in ("null_test", "boolean_test", "bool_expr") or _has_unknown(node) or _is_cast_column(node):
        return None
    text = _plain_sql(node)
    return alias, Key(text if kind == "func_call" and _is_call(text) else f"({text})", names)


def _conjunction(node: Any, tables: Tables) -> list[Predicate]:
    kind = node.WhichOneof("node")
    if kind == "bool_expr":
        operators = ddl.numbers("BoolExprType")
        if node.bool_expr.boolop == operators["AND_EXPR"]:
            return [p for arg in node.bool_expr.args for p in _conjunction(arg, tables)]
        if node.bool_expr.boolop == operators["OR_EXPR"]:
            return _or(node, tables)
        inner = node.bool_expr.args[0]
        return _flag(node, inner, tables, "false") if inner.WhichOneof("node") == "column_ref" else []
    if kind == "column_ref":
        return _flag(node, node, tables, "true")
    if kind == "null_test":
        held = key_of(node.null_test.arg, tables)
        if held is None:
            return []
        null = node.null_test.nulltesttype == ddl.numbers("NullTestType")["IS_NULL"]
        return [_predicate("null" if null else "not-null", held, node, tables)]
    return list(_comparison(node, tables)) if kind == "a_expr" else []


def _flag(node: Any, column: Any, tables: Tables, kind: Kind) -> list[Predicate]:
    held = key_of(column, tables)
    return [_predicate(kind, held, node, tables)] if held else []


def _or(node: Any, tables: Tables) -> list[Predicate]:
    arms = tuple(tuple(_conjunction(arg, tables)) for arg in node.bool_expr.args)
    aliases = {p.alias for arm in arms for p in arm}
    if len(aliases) != 1 or not all(arms) or any(p.kind == "or" for arm in arms for p in arm):
        return []
    first = arms[0][0]
    return [Predicate("or", first.alias, first.key, arms=arms)]


def _comparison(node: Any, tables: Tables) -> Iterator[Predicate]:
    expr = node.a_expr
    operator = expr.name[-1].string.sval
    kinds = ddl.numbers("A_Expr_Kind")
    if expr.lexpr.WhichOneof("node") == "row_expr" and expr.rexpr.WhichOneof("node") == "row_expr":
        yield from _row(node, operator, tables)
        return
    if expr.kind == kinds["AEXPR_OP_ANY"]:
        held = key_of(expr.lexpr, tables)
        if held is not None and operator == "=" and not _mentions(expr.rexpr, held[0]):
            yield _predicate("any", held, node, tables, operator, expr.rexpr)
        return
    if expr.kind != kinds["AEXPR_OP"] or not expr.HasField("lexpr"):
        return
    for mine, other, turned in ((expr.lexpr, expr.rexpr, False), (expr.rexpr, expr.lexpr, True)):
        sign = _SWAPPED.get(operator, "") if turned else operator
        held = key_of(mine, tables)
        if held is None or not sign or _mentions(other, held[0]):
            continue
        kind = _kind(sign)
        if kind is not None:
            yield _predicate(kind, held, node, tables, sign, other)


def _kind(operator: str) -> Kind | None:
    if operator == "=":
        return "equal"
    if operator in _RANGES:
        return "range"
    if operator in _LIKES:
        return "like"
    if operator == "^@":
        return "prefix"
    if operator == "@@":
        return "match"
    return "contains" if operator in _CONTAINS else None


def _row(node: Any, operator: str, tables: Tables) -> Iterator[Predicate]:
    """`(a, b) < ($1, $2)`, the condition of a keyset page."""
    left = [key_of(arg, tables) for arg in node.a_expr.lexpr.row_expr.args]
    held = [k for k in left if k is not None]
    if operator not in _RANGES or len(held) != len(left) or len({alias for alias, _ in held}) != 1:
        return
    if not any(_mentions(arg, held[0][0]) for arg in node.a_expr.rexpr.row_expr.args):
        made = _predicate("range", held[0], node, tables, operator, node.a_expr.rexpr)
        yield Predicate(made.kind, made.alias, made.key, operator, made.column, more=tuple(k for _, k in held[1:]))


def _predicate(
    kind: Kind, held: tuple[str, Key], node: Any, tables: Tables, operator: str = "", other: Any = None
) -> Predicate:
    alias, key = held
    others = frozenset(a for a, _ in columns(other)) if other is not None else frozenset[str]()
    constant = not others and not _has_unknown(node) and not _has_call(other)
    pattern = None
    if kind == "like" and other is not None:
        pattern = _text(other)
        if operator == "~~" and pattern is not None and re.match(r"[^%_\\]", pattern):
            kind = "prefix"
    return Predicate(
        kind,
        alias,
        key,
        operator,
        tables[alias].get(key.columns[0]) if key.text == quote(key.columns[0]) else None,
        others,
        _plain_sql(node) if constant else "",
        pattern,
    )


def _bare(node: Any, tables: Tables) -> Any:
    """Without the cast between kinds of text, for which an index on the column itself is used."""
    if node.WhichOneof("node") != "type_cast" or node.type_cast.arg.WhichOneof("node") != "column_ref":
        return node
    alias, name = _names(node.type_cast.arg.column_ref)
    found = tables.get(alias, {}).get(name)
    target = node.type_cast.type_name.names[-1].string.sval
    same = found is not None and (found.type == target or (found.type in TEXTS and target in _TEXT_NAMES))
    return node.type_cast.arg if same else node


def _is_cast_column(node: Any) -> bool:
    """A column under a cast: an index on it would serve, were the value compared with of the column's own type."""
    while node.WhichOneof("node") == "type_cast":
        node = node.type_cast.arg
    return node.WhichOneof("node") == "column_ref"


def _names(reference: Any) -> tuple[str, str]:
    fields = [f.string.sval for f in reference.fields]
    return (fields[-2] if len(fields) > 1 else "", fields[-1])


def _mentions(node: Any, alias: str) -> bool:
    return any(a in (alias, "") for a, _ in columns(node))


def _has_unknown(node: Any) -> bool:
    return any(m.DESCRIPTOR.name in ("ParamRef", "SubLink", "SQLValueFunction") for m in _all(node))


def _has_call(node: Any) -> bool:
    return node is not None and any(m.DESCRIPTOR.name == "FuncCall" for m in _all(node))


def _is_call(text: str) -> bool:
    return re.fullmatch(r"[a-z_][\w.]*\(.*\)", text, re.DOTALL) is not None


def _text(node: Any) -> str | None:
    """The string constant below casts."""
    while node.WhichOneof("node") == "type_cast":
        node = node.type_cast.arg
    if node.WhichOneof("node") != "a_const" or not node.a_const.HasField("sval"):
        return None
    return str(node.a_const.sval.sval)


def _plain_sql(node: Any) -> str:
    """The expression without its alias, as it stands in CREATE INDEX."""
    made = ddl.copy(node)
    for held in _all(made):
        if held.DESCRIPTOR.name == "ColumnRef" and len(held.fields) > 1:
            last = ddl.copy(held.fields[-1])
            del held.fields[:]
            held.fields.add().CopyFrom(last)
    return ddl.deparse_expression(made)


def _all(node: Any) -> Iterator[Any]:
    return iter(ddl.walk(node))
