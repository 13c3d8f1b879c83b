"""Candidates for what statements ask of a table: keys compared with `=` first, then the order, then a range.

More is proposed than can be good: each candidate is tried, and only what pays is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from dbkit.postgres.advise.candidate import Candidate, Key
from dbkit.postgres.advise.conditions import Predicate
from dbkit.postgres.advise.facts import TEXTS, Facts
from dbkit.postgres.advise.plans import Need
from dbkit.postgres.catalog import Relation, quote

MAX_KEYS: Final = 4
MAX_INCLUDED: Final = 3
MAX_INCLUDED_BYTES: Final = 32
FEW_VALUES: Final = 50
"""A constant compared with a column of so few values may become the predicate of a partial index."""
_FIRST_VALUE: Final = ("null", "true", "false")
_EVEN: Final = ("equal", "any")


@dataclass(frozen=True, slots=True)
class Lack:
    """An index that would be proposed if an extension were there."""

    table: Relation
    key: Key
    reason: str


def candidates(needs: Iterable[Need], facts: Facts) -> tuple[list[Candidate], list[Lack]]:
    """Candidates for all needs, each shape once, in the order in which they came up."""
    found: dict[str, Candidate] = {}
    lacks: dict[str, Lack] = {}
    groups = count(1)
    for need in needs:
        for made in _of(need, facts, groups):
            if isinstance(made, Lack):
                lacks.setdefault(f"{made.table.oid} {made.key.text} {made.reason}", made)
            else:
                held = found.get(made.shape)
                found[made.shape] = replace(held, group=held.group + made.group) if held else made
    for made in list(_shared(list(found.values()))):
        found.setdefault(made.shape, made)
    return list(found.values()), list(lacks.values())


def _of(need: Need, facts: Facts, groups: Iterator[int]) -> Iterator[Candidate | Lack]:
    yield from _trees(need, facts)
    for predicate in need.predicates:
        if predicate.kind in ("like", "match", "contains"):
            yield from _inverted(need.table, predicate, facts)
        if predicate.kind == "prefix":
            yield from _prefix(need, predicate)
        if predicate.kind == "or":
            group = next(groups)
            for arm in predicate.arms:
                for made in _of(Need(need.table, arm), facts, groups):
                    yield replace(made, group=(group,)) if isinstance(made, Candidate) else made


def _trees(need: Need, facts: Facts) -> Iterator[Candidate]:
    """B-trees: without a predicate, and for each predicate that could be the index's own."""
    yield from _orders(need, facts, None)
    for partial in need.predicates:
        if _fits_partial(partial, need, facts):
            yield from _orders(need, facts, partial)


def _orders(need: Need, facts: Facts, partial: Predicate | None) -> Iterator[Candidate]:
    rest = [p for p in need.predicates if p is not partial]
    even = _unique(
        p.key for p in sorted(rest, key=lambda p: -_distinct(need.table, p, facts)) if _is_even(p) and not p.others
    )
    joins = _unique(p.key for p in rest if p.kind == "equal" and p.others)
    ranges = [p for p in rest if p.kind == "range" and not p.others]
    known = {k.text for k in even}
    order = tuple(k for k in need.order if k.text not in known)
    tails: list[tuple[Key, ...]] = [()]
    if order:
        tails.append(order)
        tails += [(*order, p.key) for p in ranges if p.key.text not in {k.text for k in order}]
    tails += [(p.key, *p.more) for p in ranges]
    heads: list[tuple[Key, ...]] = [even[:2], even[:MAX_KEYS], ()]
    heads += [(key,) for key in even]
    heads += [(join, *(k for k in even if k.text != join.text)) for join in joins]
    heads += [(*(k for k in even if k.text != join.text), join) for join in joins if even]
    heads += [(join,) for join in joins]
    if partial is not None and partial.kind in _FIRST_VALUE and not any((even, joins, order, ranges)):
        tails.append((partial.key,))
    for number, head in enumerate(dict.fromkeys(heads)):
        for tail in tails:
            keys = _without_repeats((*head, *tail))[:MAX_KEYS]
            if keys:
                made = _tree(need.table, keys, min(len(head), len(keys)), partial)
                if not head and even and order and tail[: len(order)] == order:
                    made = replace(made, gamble=True)
                yield made
                if number < 2:
                    yield from _covering(made, need, facts)


def _tree(table: Relation, keys: tuple[Key, ...], free: int, partial: Predicate | None) -> Candidate:
    tail = keys[free:]
    if all(k.descending and not k.nulls for k in tail):  # read backwards, it serves the same order
        keys = (*keys[:free], *(k.plain for k in tail))
    return Candidate(
        table,
        keys,
        where=partial.where if partial else "",
        where_columns=partial.key.columns if partial else (),
        free=free,
    )


def _covering(made: Candidate, need: Need, facts: Facts) -> Iterator[Candidate]:
    """With what else the statement reads, when that is little: the table itself need not be looked at then."""
    if need.used is None:
        return
    columns = facts.columns.get(need.table.oid, {})
    held = {c for k in made.keys if k.text == quote(k.columns[0] if k.columns else "") for c in k.columns}
    more = sorted(need.used - held)
    width = sum(columns[name].width or MAX_INCLUDED_BYTES for name in more if name in columns)
    whole = len(need.used) >= len(columns)  # `select *`: a copy of the table is no index
    if (
        not whole
        and 0 < len(more) <= MAX_INCLUDED
        and width <= MAX_INCLUDED_BYTES
        and all(name in columns for name in more)
    ):
        yield replace(made, included=tuple(more))


def _prefix(need: Need, predicate: Predicate) -> Iterator[Candidate]:
    """`like 'abc%'`: a range of a b-tree that sorts by bytes."""
    key = predicate.key
    column = predicate.column
    if column is None or not column.plain_order:
        kind = column.type if column is not None and column.type in TEXTS else "text"
        key = replace(key, opclass=f"{kind}_pattern_ops")
    even = _unique(p.key for p in need.predicates if _is_even(p) and not p.others)
    yield Candidate(need.table, (key,), free=0)
    if even:
        yield Candidate(need.table, (*even[: MAX_KEYS - 1], key), free=len(even[: MAX_KEYS - 1]))


def _inverted(table: Relation, predicate: Predicate, facts: Facts) -> Iterator[Candidate | Lack]:
    key = predicate.key
    if predicate.kind == "like":
        if "pg_trgm" not in facts.extensions:
            told = f"{predicate.operator} on {key.text} could use a trigram index"
            yield Lack(table, key, f"{told}: create extension pg_trgm, then advise again")
            return
        schema = facts.extensions["pg_trgm"][0]
        yield Candidate(table, (replace(key, opclass=f"{quote(schema)}.gin_trgm_ops"),), method="gin")
        return
    column = predicate.column
    if predicate.kind == "match":
        if column is None or column.type == "tsvector":
            yield Candidate(table, (key,), method="gin")
        return
    if column is None:
        return
    if column.type == "jsonb":
        narrow = predicate.operator in ("@>", "@?")
        yield Candidate(table, (replace(key, opclass="jsonb_path_ops" if narrow else ""),), method="gin")
    elif column.category == "A" and predicate.operator in ("@>", "<@", "&&"):
        yield Candidate(table, (key,), method="gin")
    elif column.category == "R" and predicate.operator in ("@>", "<@", "&&"):
        yield Candidate(table, (key,), method="gist")


def _shared(made: Sequence[Candidate]) -> Iterator[Candidate]:
    """Longer indexes with the keys of a shorter one in front, so that one serves both."""
    trees = [c for c in made if c.method == "btree"]
    for short in trees:
        names = {k.text for k in short.keys}
        if short.free < len(short.keys) or short.where or short.included:
            continue
        for longer in trees:
            front = longer.keys[: longer.free]
            if longer.table.oid != short.table.oid or len(front) <= len(names):
                continue
            if names < {k.text for k in front} and longer.keys[: len(names)] != short.keys:
                rest = tuple(k for k in longer.keys if k.text not in names)
                yield replace(longer, keys=(*short.keys, *rest), turned=True)


def _fits_partial(predicate: Predicate, need: Need, facts: Facts) -> bool:
    if not predicate.where or predicate.kind not in (*_FIRST_VALUE, "not-null", "equal"):
        return False
    if predicate.kind != "equal":
        return True
    column = predicate.column
    values = facts.distincts(need.table.oid, column.name) if column is not None else None
    return column is not None and column.category in "SEB" and values is not None and 1 < values <= FEW_VALUES


def _is_even(predicate: Predicate) -> bool:
    return predicate.kind in (*_EVEN, *_FIRST_VALUE)


def _distinct(table: Relation, predicate: Predicate, facts: Facts) -> float:
    if predicate.column is None:
        return 200.0  # the planner's own guess for an expression
    return facts.distincts(table.oid, predicate.column.name) or 0.0


def _unique(keys: Iterable[Key]) -> tuple[Key, ...]:
    return tuple({k.text: k for k in keys}.values())


def _without_repeats(keys: tuple[Key, ...]) -> tuple[Key, ...]:
    seen: dict[str, Key] = {}
    for key in keys:
        seen.setdefault(key.text, key)
    return tuple(seen.values())
