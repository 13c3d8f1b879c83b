"""What a plan asks of each table: which rows, in which order, which columns; from EXPLAIN (VERBOSE, FORMAT JSON)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dbkit.errors import UsageError
from dbkit.postgres.advise import conditions
from dbkit.postgres.advise.candidate import Key
from dbkit.postgres.advise.conditions import Predicate, Reading
from dbkit.postgres.advise.facts import Column, Facts
from dbkit.postgres.catalog import Index, Relation, quote

Node = Mapping[str, Any]

_CONDITIONS: Final = (
    "Filter", "Index Cond", "Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter",
)  # fmt: skip
_PASSING: Final = ("Limit", "Gather", "Gather Merge", "Append", "Merge Append", "Result", "LockRows", "Memoize")
_EXTREME: Final = re.compile(r"(min|max)\((.+)\)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan of one statement: the tree, its cost in the planner's own units."""

    tree: Node

    @property
    def cost(self) -> float:
        """Cost of the whole statement; one unit is the reading of one page in order."""
        return float(self.tree["Total Cost"])

    def nodes(self) -> Iterator[Node]:
        """All nodes, from the top."""
        return _walk(self.tree)

    def relations(self) -> set[tuple[str, str]]:
        """Schema and name of every relation the plan reads or writes."""
        return {(n.get("Schema", ""), n["Relation Name"]) for n in self.nodes() if "Relation Name" in n}

    def indexes(self) -> set[str]:
        """Names of the indexes it reads."""
        return {n["Index Name"] for n in self.nodes() if "Index Name" in n}

    def steps(self) -> tuple[str, ...]:
        """Each node in words, such as `Seq Scan on jobs`; a partition's scans are said once."""
        return tuple(dict.fromkeys(_words(n) for n in self.nodes()))


@dataclass(frozen=True, slots=True)
class Need:
    """What one statement asks of one table, under one alias."""

    table: Relation
    predicates: tuple[Predicate, ...]
    order: tuple[Key, ...] = ()
    """Wanted order of rows: of ORDER BY, GROUP BY, DISTINCT, min() or max()."""
    used: frozenset[str] | None = None
    """The columns the statement reads; None when that is not known."""

    @property
    def columns(self) -> frozenset[str]:
        """The columns it compares or sorts by: an index without one of them changes nothing."""
        found = {c for key in self.order for c in key.columns}
        for p in (*self.predicates, *(p for held in self.predicates for arm in held.arms for p in arm)):
            found |= {c for key in (p.key, *p.more) for c in key.columns}
        return frozenset(found)


@dataclass(slots=True)
class Asked:
    """The needs of one plan, and conditions that could not be read."""

    needs: list[Need] = field(default_factory=list[Need])
    unread: list[str] = field(default_factory=list[str])


def needs(plan: Plan, facts: Facts) -> Asked:
    """What a plan asks of the tables of `facts`."""
    scans = _scans(plan, facts)
    tables: dict[str, Mapping[str, Column]] = {
        alias: facts.columns.get(table.oid, {}) for alias, (table, _) in scans.items()
    }
    reading = Reading()
    for text in dict.fromkeys(t for n in plan.nodes() for t in _conditions(n)):
        conditions.read(text, tables, reading)
    orders: dict[str, list[tuple[Key, ...]]] = {}
    for alias, keys in _orders(plan, tables, scans, facts):
        orders.setdefault(alias, []).append(keys)
    used = _used(plan, scans)
    held: dict[tuple[object, ...], Need] = {}
    for alias, (table, base) in scans.items():
        mine = tuple(dict.fromkeys(p for p in reading.predicates if p.alias == alias))
        wanted = [*orders.get(alias, ()), *(orders.get(base, ()) if base != alias else ())]
        columns = used.get(alias)
        for order in dict.fromkeys(wanted) or [()]:
            need = Need(table, mine, order, columns)
            if mine or order:
                identity = (table.oid, order, tuple(sorted((p.kind, p.key.text, p.where) for p in mine)))
                held.setdefault(identity, need)
    return Asked(list(held.values()), reading.unread)


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", ()):
        yield from _walk(child)


def _scans(plan: Plan, facts: Facts) -> dict[str, tuple[Relation, str]]:
    """Table by alias, with the alias under which nodes above speak of a partitioned table."""
    found: dict[str, tuple[Relation, str]] = {}
    for node in plan.nodes():
        if "Relation Name" not in node or node["Node Type"] == "ModifyTable":
            continue
        schema, name, alias = node.get("Schema", ""), node["Relation Name"], node["Alias"]
        table = facts.table(schema, name)
        if table is None or table.kind not in ("r", "p", "m"):
            continue
        base = re.sub(r"_\d+\Z", "", alias) if (schema, name) != (table.schema, table.name) else alias
        found.setdefault(alias, (table, base))
        found.setdefault(base, (table, base))
    return found


def _conditions(node: Node) -> Iterator[str]:
    for name in _CONDITIONS:
        if name in node:
            yield node[name]


def _orders(
    plan: Plan,
    tables: Mapping[str, Mapping[str, Column]],
    scans: Mapping[str, tuple[Relation, str]],
    facts: Facts,
) -> Iterator[tuple[str, tuple[Key, ...]]]:
    for node in plan.nodes():
        texts = list(node.get("Sort Key", ())) or list(node.get("Group Key", ()))
        found = conditions.sort_keys(texts, tables) if texts else None
        if found and len({alias for alias, _ in found}) == 1:
            yield found[0][0], tuple(key for _, key in found)
        if node["Node Type"] == "Aggregate" and "Group Key" not in node:
            yield from _extremes(node, tables, scans)
        index = _read_in_order(node, facts)
        if index is not None:
            yield node["Alias"], _keys(index, backward=node.get("Scan Direction") == "Backward")


def _extremes(
    node: Node, tables: Mapping[str, Mapping[str, Column]], scans: Mapping[str, tuple[Relation, str]]
) -> Iterator[tuple[str, tuple[Key, ...]]]:
    """`min(x)` and `max(x)` are the first row in an order."""
    for text in node.get("Output", ()):
        matched = _EXTREME.fullmatch(text)
        if matched is None:
            continue
        argument = matched[2]
        if len(scans) == 1 and "." not in argument:
            argument = f"{quote(next(iter(scans)))}.{argument}"
        found = conditions.sort_keys([argument], tables)
        if found:
            yield found[0][0], (found[0][1],)


def _read_in_order(node: Node, facts: Facts) -> Index | None:
    """The plain index a node reads in order, when that order may be the reason for its choice."""
    if node["Node Type"] not in ("Index Scan", "Index Only Scan") or "Filter" not in node:
        return None
    name = node["Index Name"]
    found = next((i for i in facts.indexes if i.name == name and i.schema == node.get("Schema")), None)
    return found if found is not None and found.method == "btree" and "" not in found.keys else None


def _keys(index: Index, *, backward: bool) -> tuple[Key, ...]:
    keys: list[Key] = []
    for name, option in zip(index.keys, index.options, strict=True):
        descending, first = bool(option & 1) != backward, bool(option & 2) != backward
        keys.append(Key(quote(name), (name,), descending, "" if first == descending else "first" if first else "last"))
    return tuple(keys)


def _used(plan: Plan, scans: Mapping[str, tuple[Relation, str]]) -> dict[str, frozenset[str]]:
    """The columns each alias is read for. A scan below other nodes may print all columns without need: those are left
    out, what is needed of them is seen above.
    """
    found: dict[str, set[str]] = {alias: set() for alias in scans}
    alone = next(iter(scans)) if len({base for _, base in scans.values()}) == 1 else ""
    for node, exact in _exact(plan.tree, top=True):
        texts = [*_conditions(node), *node.get("Sort Key", ()), *node.get("Group Key", ())]
        texts += node.get("Output", ()) if exact else ()
        for text in texts:
            for alias, name in _columns(text):
                for place in {alias or alone, *(a for a, (_, base) in scans.items() if base == (alias or alone))}:
                    if place in found:
                        found[place].add(name)
    return {alias: frozenset(names) for alias, names in found.items()}


def _exact(node: Node, *, top: bool) -> Iterator[tuple[Node, bool]]:
    yield node, top or "Relation Name" not in node
    below = top and node["Node Type"] in _PASSING
    for child in node.get("Plans", ()):
        yield from _exact(child, top=below)


def _columns(text: str) -> set[tuple[str, str]]:
    try:
        return conditions.columns(
            conditions.expression(re.sub(r" (?:ASC|DESC)?(?: NULLS (?:FIRST|LAST))?\Z", "", text))
        )
    except UsageError:
        return set()


def _words(node: Node) -> str:
    kind = node["Node Type"]
    if "Index Name" in node and "Relation Name" in node:
        return f"{kind} using {node['Index Name']} on {node['Relation Name']}"
    if "Relation Name" in node:
        return f"{kind} on {node['Relation Name']}"
    if "Index Name" in node:
        return f"{kind} on {node['Index Name']}"
    return kind
