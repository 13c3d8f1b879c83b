"""Indexes that are not there for queries: failed builds, half-attached partitioned ones, and builds in progress."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from dbkit.model import Severity
from dbkit.postgres.indexes.rules import remedies
from dbkit.postgres.indexes.rules.declare import Blind, Verdict, comment, index_rule
from dbkit.sizes import format_bytes, format_seconds

if TYPE_CHECKING:
    from dbkit.postgres.catalog import Build, Index
    from dbkit.postgres.indexes.rules.scene import Scene

_REINDEX_NEW: Final = re.compile(r"_ccnew\d*$")
_REINDEX_OLD: Final = re.compile(r"_ccold\d*$")


@index_rule(
    "index-invalid",
    Severity.ERROR,
    ok="Every index is valid",
    bad="""
    create table t (a int);
    insert into t values (1), (1);
    -- fails: the rows are not unique, and the index stays behind
    create unique index concurrently t_a on t (a);
    """,
    good="""
    create table t (a int);
    insert into t values (1), (2);
    create unique index concurrently t_a on t (a);
    """,
    equivalents={
        "pg-index-health": ("INVALID_INDEXES",),
        "pghero": ("invalid_indexes",),
        "postgres-checkup": ("H001",),
    },
)
def invalid(scene: Scene) -> Iterator[Verdict | Blind]:
    """An index is INVALID: no query uses it.

    Why: a concurrent build, REINDEX or DROP ended half-way. Most of these remains are maintained by every write
    nevertheless, and an INVALID UNIQUE index that is ready already rejects duplicate rows.

    Fix: drop it concurrently and build it again; `dbkit index apply` does both for a wanted index. Remains of REINDEX
    CONCURRENTLY (`_ccnew`, `_ccold`) are dropped: the index they were made for still works. A partitioned index
    becomes valid when the index of its last partition is attached.

    Not reported when: somebody is building it now (see pg.index-building), or the wanted set has the partitioned
    index half attached (see pg.index-missing).

    See: "Building Indexes Concurrently" at CREATE INDEX, "Rebuilding Indexes Concurrently" at REINDEX.
    """
    hidden = False
    for index in scene.indexes:
        if (index.is_valid and index.is_live) or scene.building(index):
            continue
        if index.is_partitioned:
            if index.parent_oid is None and not _reported_as_missing(scene, index):
                yield _half_attached(scene, index)
        elif scene.hidden_builds:
            hidden = True
        else:
            yield _broken(scene, index)
    if hidden:
        yield Blind(
            "there are INVALID indexes and builds of other roles this role cannot see, so they cannot be told apart: "
            f"grant pg_read_all_stats to {scene.user}"
        )


@index_rule(
    "index-building",
    Severity.INFO,
    ok="No index is being built",
    bad="""
    create table t (a int);
    -- session 1, stays open:
    begin;
    insert into t values (1);
    -- session 2, waits for session 1:
    create index concurrently t_a on t (a);
    """,
    good="""
    create table t (a int);
    create index concurrently t_a on t (a);
    """,
)
def building(scene: Scene) -> Iterator[Verdict | Blind]:
    """An index is being built right now.

    Why: VACUUM, ANALYZE and DDL on its table wait until it is done, and the build itself waits for old transactions.

    Fix: none; wait for it, or end the transaction it waits for.

    Not reported when: nobody builds. Builds of other roles without pg_read_all_stats are a skip.

    See: pg_stat_progress_create_index.
    """
    for build in scene.builds:
        if build.table_oid is not None:
            yield _progress(scene, build)
    if scene.hidden_builds:
        yield Blind(f"another role builds an index this role cannot see: grant pg_read_all_stats to {scene.user}")


def _broken(scene: Scene, index: Index) -> Verdict:
    wanted = scene.wanted(index)
    size = format_bytes(index.bytes)
    attached = index.parent_oid is not None
    severity = Severity.ERROR if wanted or attached else Severity.WARN
    note = "an INVALID remain; no query uses it"
    if not index.is_live:
        why = "a DROP INDEX CONCURRENTLY was interrupted; nobody uses or maintains it"
    elif _REINDEX_NEW.search(index.name):
        why = f"a REINDEX CONCURRENTLY failed and left its new copy ({size}); the old index still works"
        severity = Severity.ERROR if index.is_unique and index.is_ready else Severity.WARN
    elif _REINDEX_OLD.search(index.name):
        why = f"a REINDEX CONCURRENTLY left the old copy ({size}) behind; its successor works"
        severity = Severity.WARN
    elif index.is_unique and index.is_ready:
        why = "a concurrent build did not end; it serves no query, yet it already rejects duplicate rows"
        severity = Severity.ERROR
    elif index.is_ready:
        why = f"a concurrent build did not end; it serves no query, yet every write maintains it ({size})"
    else:
        why = "a concurrent build failed; it serves no query and is not maintained"
    if wanted:
        why += f". {wanted.name} is documented at {wanted.file}:{wanted.line}: `dbkit index apply` builds it again"
    data = {"ready": index.is_ready, "unique": index.is_unique, "bytes": index.bytes}
    # An attached partition's index cannot be dropped alone.
    remedy = remedies.reindex(index, note=note) if attached else remedies.drop(index, note=note)
    return Verdict(
        f"the index on {index.table} is INVALID: {why}", index.qualified, severity=severity, remedy=remedy, data=data
    )


def _half_attached(scene: Scene, index: Index) -> Verdict:
    parts = [p for p in scene.partitions if p.parent_oid == index.table_oid and not p.is_foreign]
    held = {child.table_oid: child for child in scene.children(index)}
    missing = [p.qualified for p in parts if p.oid not in held]
    sick = [child.qualified for child in held.values() if not child.is_valid]
    if missing:
        named = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        why = f"{len(missing)} of {len(parts)} partitions have no index attached to it: {named}"
        hint = "write it into the wanted indexes; `dbkit index apply` builds the rest and attaches it"
    elif sick:
        why = f"the attached {sick[0]} is INVALID"
        hint = f"reindex index concurrently {sick[0]}; then attach it again"
    elif foreign := [p.qualified for p in scene.partitions if p.parent_oid == index.table_oid and p.is_foreign]:
        why = f"{foreign[0]} is a foreign table, beside which an index made in steps never becomes valid"
        hint = (
            "the partitions' own indexes serve queries; for a valid one, `create index` on the table under another "
            "name, which blocks writes while it builds, then drop this one"
        )
    else:
        why = "every partition is attached, but the last one was when its index was not valid"
        hint = f"alter index {index.qualified} attach partition (the index of one partition), once more"
    return Verdict(
        f"the index on the partitioned table {index.table} is not valid: {why}",
        index.qualified,
        hint=hint,
        fix=comment(hint),
        severity=Severity.WARN,
        data={"partitions": len(parts), "missing": missing, "invalid": sick},
    )


def _reported_as_missing(scene: Scene, index: Index) -> bool:
    return any(
        s.state.value == "invalid-parent" and any(i is not None and i.oid == index.oid for i in (s.actual, s.equal))
        for s in scene.states
    )


def _progress(scene: Scene, build: Build) -> Verdict:
    index = scene.by_oid.get(build.index_oid or 0)
    table = scene.relation.get(build.table_oid or 0)
    name = index.qualified if index else table.qualified if table else f"relation {build.table_oid}"
    done = ""
    if build.blocks_total:
        done = f", {100 * (build.blocks_done or 0) // build.blocks_total} % of its blocks"
    waits = f"; it waits for pid {build.current_locker_pid}" if build.current_locker_pid else ""
    lasts = f" for {format_seconds(build.seconds)}" if build.seconds is not None else ""
    return Verdict(
        f"pid {build.pid} ({build.username or 'unknown role'}) runs {build.command or 'a build'} on "
        f"{table.qualified if table else name}{lasts}: {build.phase or 'starting'}{done}{waits}",
        name,
        data={"pid": build.pid, "phase": build.phase, "waits_for": build.current_locker_pid or None},
    )
