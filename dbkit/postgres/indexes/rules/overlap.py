"""Indexes that another index makes superfluous: the same twice, or the beginning of a longer one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from dbkit.model import Location, Severity
from dbkit.postgres.indexes.rules import remedies
from dbkit.postgres.indexes.rules.declare import Limits, Remedy, Verdict, comment, index_rule
from dbkit.postgres.indexes.rules.scene import Scene, enforces
from dbkit.sizes import format_bytes

if TYPE_CHECKING:
    from dbkit.postgres.catalog import Index

_SHAPED_BY_STORAGE: Final = ("brin", "bloom")
"""Methods whose storage parameters decide what a scan can do, not only how it is stored."""


class PrefixLimits(Limits):
    """Knobs of pg.index-redundant-prefix."""

    growth: float = 3.0
    """Up to this many times the size of the shorter index, the longer one stands in for it without a second thought;
    beyond, the finding is only an info: the small one may be what keeps the hot pages in memory."""


@index_rule(
    "index-duplicate",
    Severity.WARN,
    ok="No index exists twice",
    bad="""
    create table t (id bigint primary key, a int);
    create index t_a on t (a);
    create index t_a_again on t (a desc);
    """,
    good="""
    create table t (id bigint primary key, a int);
    create index t_a on t (a);
    create index t_a_nulls on t (a desc nulls last);
    create index t_a_hash on t using hash (a);
    """,
    equivalents={
        "pg-index-health": ("DUPLICATED_INDEXES",),
        "pghero": ("duplicate_indexes",),
        "postgres-checkup": ("H004",),
        "splinter": ("duplicate_index",),
    },
)
def duplicate(scene: Scene) -> Iterator[Verdict]:
    """Two valid indexes answer exactly the same questions.

    Why: every write maintains both, VACUUM cleans both, and both take memory; one of them is enough.

    Fix: drop the one nothing rests on. The finding says which one stays: the one that backs a constraint or a foreign
    key, is the replica identity, is unique, is clustered on, or is documented; otherwise the one that is read more.

    Not reported when: they differ in method, column order, operator class, collation, predicate, INCLUDE columns or in
    the place of NULLs; when both enforce something of their own; or when both belong to partitioned indexes (then
    those are compared). Reversed direction of all columns is no difference: a b-tree is read both ways.

    See: pg.index-redundant-prefix.
    """
    for oid, keeper in duplicates(scene).items():
        index = scene.by_oid[oid]
        usage, kept = scene.usage(index), scene.usage(keeper)
        message = (
            f"it answers the same questions as {keeper.qualified}{_role(keeper)} and takes {format_bytes(usage.bytes)}"
            f"; {usage.scans:,} scans here, {kept.scans:,} there"
        )
        yield _superfluous(scene, index, keeper, message, Severity.WARN)


@index_rule(
    "index-redundant-prefix",
    Severity.WARN,
    ok="No index is the beginning of another",
    bad="""
    create table t (id bigint primary key, a int, b int);
    create index t_a on t (a);
    create index t_a_b on t (a, b);
    """,
    good="""
    create table t (id bigint primary key, a int, b int);
    create index t_b on t (b);
    create index t_a_b on t (a, b);
    create index t_a_first on t (a) where b = 1;
    """,
    equivalents={
        "pg-index-health": ("INTERSECTED_INDEXES",),
        "pghero": ("duplicate_indexes",),
        "postgres-checkup": ("H004",),
    },
    limits=PrefixLimits,
)
def redundant_prefix(scene: Scene, limits: PrefixLimits) -> Iterator[Verdict]:
    """A b-tree index is the beginning of a longer one, which serves its queries too.

    Why: a b-tree on (a, b) finds rows by a as well; writes pay for both.

    Fix: drop the shorter one. If the longer one is many times its size (`growth`), measure first: an index that fits
    into memory is faster than one that does not.

    Not reported when: the shorter one is unique, backs a constraint, is a replica identity or clustered on, has INCLUDE
    columns or expressions, or when operator class, collation, order or predicate differ.

    See: pg.index-duplicate. Skip scan (18) uses (a, b) for b, too, but seldom well enough to drop (b).
    """
    for oid, keeper in prefixes(scene).items():
        index = scene.by_oid[oid]
        usage, kept = scene.usage(index), scene.usage(keeper)
        columns, longer = ", ".join(index.keys), ", ".join(k or "(expression)" for k in keeper.keys)
        message = (
            f"({columns}), {format_bytes(usage.bytes)}, is the beginning of {keeper.qualified}{_role(keeper)} "
            f"({longer}), {format_bytes(kept.bytes)}, which serves the same queries"
        )
        severity = Severity.WARN if kept.bytes <= limits.growth * usage.bytes else Severity.INFO
        yield _superfluous(scene, index, keeper, message, severity)


def duplicates(scene: Scene) -> Mapping[int, Index]:
    """Superfluous indexes by oid, each with the one of the same definition that stays."""
    groups: dict[tuple[Any, ...], list[Index]] = {}
    for index in scene.indexes:
        if index.is_valid and index.is_live:
            groups.setdefault(_shape(index), []).append(index)
    found: dict[int, Index] = {}
    for group in groups.values():
        keeper, *others = sorted(group, key=lambda i: _rank(scene, i))
        found.update({other.oid: keeper for other in others if _replaces(keeper, other)})
    return found


def prefixes(scene: Scene) -> Mapping[int, Index]:
    """Indexes by oid that are the beginning of a longer one, each with a longer one that stays itself."""
    doubled = duplicates(scene)
    trees = [i for i in scene.indexes if i.is_valid and i.is_live and i.method == "btree" and i.oid not in doubled]
    found: dict[int, Index] = {}
    for short in trees:
        if enforces(short) or short.included or "" in short.keys or short.parent_oid is not None:
            continue
        longer = [
            other for other in trees if other.table_oid == short.table_oid and _begins(short, other)
        ]  # the longest is never itself the beginning of another, so what is named stays
        if longer:
            most = max(len(other.keys) for other in longer)
            found[short.oid] = min((o for o in longer if len(o.keys) == most), key=lambda o: (o.bytes, o.name))
    return found


def superseded(scene: Scene) -> Mapping[int, Index]:
    """Everything that goes when both rules are followed, each with what takes over its work."""
    return {**prefixes(scene), **duplicates(scene)}


def _superfluous(scene: Scene, index: Index, keeper: Index, message: str, severity: Severity) -> Verdict:
    wanted = scene.wanted(index)
    remedy: Remedy | None = remedies.drop(index, note=f"{keeper.qualified} serves its queries")
    location, fix = None, ""
    if wanted is not None:
        location = Location(wanted.file, wanted.line)
        message += f". It is documented ({wanted.origin or 'no origin given'}): the document asks for too much"
        fix = comment(f"take {wanted.name} out of {wanted.file} first, else the next plan builds it again")
        fix += f"\n{remedy.sql};"
        remedy = None
    elif severity is Severity.INFO:
        fix = comment(f"measure first: the longer index may not fit into memory as well\n{remedy.sql};")
        remedy = None
    return Verdict(
        message,
        index.qualified,
        fix=fix,
        severity=severity,
        remedy=remedy,
        location=location,
        data={"keep": keeper.qualified, "bytes": scene.usage(index).bytes, "scans": scene.usage(index).scans},
    )


def _shape(index: Index) -> tuple[Any, ...]:
    options = index.options
    if index.method == "btree":
        options = min(options, tuple(option ^ 3 for option in options))
    storage = tuple(sorted(index.storage)) if index.method in _SHAPED_BY_STORAGE else ()
    return (
        index.table_oid,
        index.method,
        index.keys,
        index.opclasses,
        index.collations,
        options,
        index.expressions,
        index.predicate,
        tuple(sorted(index.included)),
        storage,
    )


def _rank(scene: Scene, index: Index) -> tuple[Any, ...]:
    """The first of a group stays."""
    usage = scene.usage(index)
    return (
        index.parent_oid is None,  # an attached partition's index cannot be dropped alone
        not index.supports_foreign_key,
        not index.is_primary,
        not index.is_replica_identity,
        not index.is_unique,
        not index.is_immediate,
        not index.nulls_not_distinct,
        not index.constraint_name,
        not index.is_clustered,
        scene.wanted(index) is None,
        -usage.scans,
        usage.bytes,
        index.name,
    )


def _replaces(keeper: Index, other: Index) -> bool:
    """Whether nothing is lost when `other` goes."""
    rests = other.is_primary or other.is_exclusion or other.is_replica_identity or other.is_clustered
    if rests or other.supports_foreign_key or other.parent_oid is not None:
        return False
    if not other.is_unique:
        return True
    stricter_nulls = keeper.nulls_not_distinct or not other.nulls_not_distinct
    return keeper.is_unique and stricter_nulls and (keeper.is_immediate or not other.is_immediate)


def _begins(short: Index, longer: Index) -> bool:
    count = len(short.keys)
    part = longer.options[:count]
    return (
        count < len(longer.keys)
        and longer.keys[:count] == short.keys
        and longer.opclasses[:count] == short.opclasses
        and longer.collations[:count] == short.collations
        and (part == short.options or part == tuple(option ^ 3 for option in short.options))
        and longer.predicate == short.predicate
    )


def _role(index: Index) -> str:
    if index.is_primary:
        return " (the primary key)"
    if index.constraint_name:
        return f" (constraint {index.constraint_name})"
    return " (unique)" if index.is_unique else ""
