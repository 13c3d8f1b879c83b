"""Rules about the indexes that are there: invalid, building, the same twice, unused, missing on foreign keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import permutations
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from dbkit.model import Severity
from dbkit.postgres.indexes.rules.declare import Verdict, index_rule
from dbkit.sizes import format_bytes

if TYPE_CHECKING:
    from dbkit.postgres.catalog import Build, ForeignKey, Index
    from dbkit.postgres.indexes.compare import IndexState


@dataclass(frozen=True, slots=True)
class Scene:
    """What the health rules judge."""

    indexes: tuple[Index, ...]
    foreign_keys: tuple[ForeignKey, ...]
    builds: tuple[Build, ...]
    states: tuple[IndexState, ...]
    stats_since: datetime | None
    """Since when the server counts index scans; None when it cannot tell."""
    sees_builds: bool

    def building(self, index: Index) -> bool:
        """Whether somebody builds the index right now."""
        return any(b.index_oid == index.oid for b in self.builds)


class UnusedLimits(BaseModel):
    """Knobs of pg.index-unused."""

    model_config = ConfigDict(extra="forbid")
    max_scans: int = 50
    """An index with at most this many scans since statistics began counts as unused."""
    min_bytes: int = 1024 * 1024
    """Smaller ones are not worth a finding."""


_TABLE = "create table t (id bigint primary key, a int, b int);"
_LEFTOVER = re.compile(r"_ccnew\d*$|_ccold\d*$")


@index_rule(
    "index-invalid",
    Severity.ERROR,
    ok="Every index is valid",
    bad="-- a concurrent build that failed or was cancelled",
    good=f"{_TABLE} create index t_a on t (a);",
    equivalents={
        "pg-index-health": ("INVALID_INDEXES",),
        "pghero": ("invalid_indexes",),
        "postgres-checkup": ("H001",),
    },
)
def invalid(scene: Scene) -> Iterator[Verdict]:
    """An index is INVALID: no query uses it, yet every write maintains it once it is ready.

    Why: a concurrent build failed half-way. An INVALID UNIQUE index that is ready already rejects duplicate rows.

    Fix: drop it concurrently and build it again; `dbkit index apply` does both for a wanted index.

    Not reported when: somebody is building it now, or it is a partitioned parent whose children are being attached.

    See: the notes on CREATE INDEX CONCURRENTLY in the PostgreSQL manual.
    """
    for index in scene.indexes:
        if index.is_valid or index.is_partitioned or scene.building(index) or not scene.sees_builds:
            continue
        if _LEFTOVER.search(index.name):
            detail = "it is left over from REINDEX CONCURRENTLY"
        elif index.is_unique and index.is_ready:
            detail = "it serves no query, but already rejects duplicate rows"
        else:
            detail = "it serves no query; a concurrent build failed half-way"
        drop = "" if index.constraint_name else f"drop index concurrently {index.qualified};"
        yield Verdict(f"the index on {index.table} is INVALID: {detail}", index.qualified, "", drop, safe=True)


@index_rule(
    "index-building",
    Severity.INFO,
    ok="No index is being built",
    bad="-- while create index concurrently runs in another session",
    good=_TABLE,
)
def building(scene: Scene) -> Iterator[Verdict]:
    """An index is being built right now.

    Why: VACUUM, ANALYZE and DDL on its table wait until it is done, and it waits for old transactions.

    Fix: none; wait for it.

    Not reported when: the role may not see other sessions (see what was skipped).

    See: pg_stat_progress_create_index.
    """
    for build in scene.builds:
        yield Verdict(
            f"pid {build.pid} is at: {build.phase or 'a phase this role may not see'}", str(build.index_oid or "")
        )


@index_rule(
    "index-duplicate",
    Severity.WARN,
    ok="No index exists twice",
    bad=f"{_TABLE} create index t_a on t (a); create index t_a2 on t (a);",
    good=f"{_TABLE} create index t_a on t (a); create index t_a_down on t (a desc nulls last);",
    equivalents={
        "pg-index-health": ("DUPLICATED_INDEXES",),
        "pghero": ("duplicate_indexes",),
        "postgres-checkup": ("H004",),
    },
)
def duplicate(scene: Scene) -> Iterator[Verdict]:
    """Two valid indexes have the same definition.

    Why: every write pays for both, and one of them is enough.

    Fix: drop the one that no constraint, foreign key or replica identity needs.

    Not reported when: they differ in direction, predicate, operator class, collation or uniqueness.

    See: `dbkit explain pg.index-redundant`.
    """
    from dbkit.postgres.indexes.compare import same_definition

    wanted = {s.actual.oid for s in scene.states if s.actual}
    usable = [i for i in scene.indexes if i.is_valid and i.parent_oid is None]
    for table in sorted({i.table_oid for i in usable}):
        here = sorted(
            (i for i in usable if i.table_oid == table), key=lambda i: (not _needed(i), i.oid not in wanted, i.name)
        )
        for position, index in enumerate(here):
            twin = next((other for other in here[:position] if same_definition(other, index)), None)
            if twin is not None and not _needed(index):
                yield Verdict(
                    f"it is the same as {twin.qualified} and takes {format_bytes(index.bytes)}",
                    index.qualified,
                    f"to undo: {index.definition}",
                    _drop(index),
                    safe=True,
                )


@index_rule(
    "index-redundant",
    Severity.INFO,
    ok="No index is the beginning of another",
    bad=f"{_TABLE} create index t_a on t (a); create index t_ab on t (a, b);",
    good=f"{_TABLE} create index t_b on t (b); create index t_ab on t (a, b);",
    equivalents={"pg-index-health": ("INTERSECTED_INDEXES",), "pghero": ("duplicate_indexes",)},
)
def redundant(scene: Scene) -> Iterator[Verdict]:
    """A b-tree index is the beginning of a longer one that serves its queries too.

    Why: the longer one answers the same questions; writes pay for both.

    Fix: drop the shorter one, unless its smaller size matters to you.

    Not reported when: it is unique, backs a constraint, has INCLUDE columns, or differs in predicate, collation, order.

    See: `dbkit explain pg.index-duplicate`.
    """
    trees = [
        i for i in scene.indexes if i.is_valid and i.method == "btree" and i.parent_oid is None and not i.expressions
    ]
    for short in trees:
        if short.is_unique or _needed(short) or short.included:
            continue
        longer = next((other for other in trees if _begins(short, other)), None)
        if longer is not None:
            yield Verdict(
                f"({', '.join(short.keys)}) is the beginning of {longer.qualified} ({', '.join(longer.keys)})",
                short.qualified,
                f"to undo: {short.definition}",
                _drop(short),
            )


@index_rule(
    "index-unused",
    Severity.WARN,
    ok="Every index is used",
    bad=f"{_TABLE} create index t_b on t (b); -- and no query that reads it",
    good=f"{_TABLE} -- no index beyond the primary key",
    equivalents={"pg-index-health": ("UNUSED_INDEXES",), "pghero": ("unused_indexes",), "postgres-checkup": ("H002",)},
    limits=UnusedLimits,
)
def unused(scene: Scene, limits: UnusedLimits) -> Iterator[Verdict]:
    """An index has hardly been read since the server began to count.

    Why: it costs every write and every vacuum, and serves nobody here. Replicas count their own scans.

    Fix: look at the replicas and at the age of the statistics first, then drop it concurrently.

    Not reported when: it enforces something, supports a foreign key, is an expression index or belongs to a partition,
    is smaller than `min_bytes`, or is a wanted index (see `pg.index-wanted-unused`).

    See: S2 4.1 asks for this analysis regularly.
    """
    since = f"since {scene.stats_since:%Y-%m-%d %H:%M}" if scene.stats_since else "since an unknown time"
    wanted = {s.equal.oid for s in scene.states if s.equal}
    leading = {(fk.table_oid, frozenset(fk.columns)) for fk in scene.foreign_keys}
    for index in scene.indexes:
        if not index.is_valid or _needed(index) or index.is_unique or index.expressions or index.parent_oid is not None:
            continue
        supports = any((index.table_oid, frozenset(index.keys[:n])) in leading for n in range(1, len(index.keys) + 1))
        if index.is_partitioned or index.oid in wanted or supports:
            continue
        if index.scans <= limits.max_scans and index.bytes >= limits.min_bytes:
            message = f"{index.scans} scans {since}, {format_bytes(index.bytes)}; replicas were not asked"
            yield Verdict(message, index.qualified, f"to undo: {index.definition}", _drop(index))


@index_rule(
    "index-wanted-unused",
    Severity.INFO,
    ok="Every wanted index is used",
    bad="-- a documented index that no query reads",
    good="-- a documented index that queries read",
    limits=UnusedLimits,
)
def wanted_unused(scene: Scene, limits: UnusedLimits) -> Iterator[Verdict]:
    """A wanted index has hardly been read since the server began to count.

    Why: the document and the traffic disagree; one of them is out of date.

    Fix: none by itself; ask who needs it.

    Not reported when: it is smaller than `min_bytes`.

    See: `dbkit explain pg.index-unused`.
    """
    for state in scene.states:
        index = state.equal
        if index and index.is_valid and index.scans <= limits.max_scans and index.bytes >= limits.min_bytes:
            yield Verdict(f"documented ({state.wanted.origin}), but {index.scans} scans so far", index.qualified)


@index_rule(
    "index-foreign-key-missing",
    Severity.WARN,
    ok="Every foreign key has an index on its own columns",
    bad=f"{_TABLE} create table c (t_id bigint references t);",
    good=f"{_TABLE} create table c (t_id bigint references t); create index c_t on c (t_id);",
    equivalents={"pg-index-health": ("FOREIGN_KEYS_WITHOUT_INDEX",), "postgres-checkup": ("H003",), "eugene": ("E15",)},
)
def foreign_key_missing(scene: Scene) -> Iterator[Verdict]:
    """A foreign key has no index on its own columns.

    Why: every delete, and every update of the key, on the referenced table reads the whole referencing table.

    Fix: build one concurrently.

    Not reported when: a valid, non-partial index begins with the key's columns in any order.

    See: the section on foreign keys in the PostgreSQL manual.
    """
    for key in scene.foreign_keys:
        wanted = set(permutations(key.columns)) if len(key.columns) < 7 else {key.columns}
        covered = any(
            i.table_oid == key.table_oid and i.is_valid and i.predicate is None and i.keys[: len(key.columns)] in wanted
            for i in scene.indexes
        )
        if not covered:
            yield Verdict(
                f"{key.name} ({', '.join(key.columns)}) has no index; {key.parent_changes} updates and deletes "
                "on the referenced table so far",
                key.table,
                fix=f"create index concurrently on {key.table} ({', '.join(key.columns)});",
                safe=True,
            )


@index_rule(
    "index-undocumented",
    Severity.INFO,
    ok="Every index is in the wanted set",
    bad=f"{_TABLE} create index somebody_tried on t (a);",
    good=_TABLE,
)
def undocumented(scene: Scene) -> Iterator[Verdict]:
    """An index is not in the wanted set.

    Why: nobody wrote down why it is there; the next rebuild of the database will not have it.

    Fix: add it to the wanted set with its reason, or drop it.

    Not reported when: it backs a constraint, belongs to a partition, or the table has no wanted index at all.

    See: `dbkit index status`.
    """
    known = {i.oid for s in scene.states for i in (s.actual, s.equal) if i}
    tables = {s.table.oid for s in scene.states if s.table}
    for index in scene.indexes:
        if index.oid not in known and index.table_oid in tables and not _needed(index) and index.parent_oid is None:
            yield Verdict("it is not in the wanted set", index.qualified, index.definition)


def _needed(index: Index) -> bool:
    """Something other than queries rests on the index."""
    return bool(
        index.constraint_name
        or index.is_primary
        or index.is_exclusion
        or index.is_replica_identity
        or index.is_clustered
        or index.supports_foreign_key
    )


def _begins(short: Index, longer: Index) -> bool:
    count = len(short.keys)
    return (
        short.table_oid == longer.table_oid
        and count < len(longer.keys)
        and longer.keys[:count] == short.keys
        and longer.opclasses[:count] == short.opclasses
        and longer.collations[:count] == short.collations
        and longer.options[:count] == short.options
        and longer.predicate == short.predicate
    )


def _drop(index: Index) -> str:
    kind = "drop index" if index.is_partitioned else "drop index concurrently"
    return f"{kind} {index.qualified};"


SCENE_RULES = (invalid, building, duplicate, redundant, foreign_key_missing, undocumented)
LIMIT_RULES = (unused, wanted_unused)
RULES = (*SCENE_RULES, *LIMIT_RULES)
