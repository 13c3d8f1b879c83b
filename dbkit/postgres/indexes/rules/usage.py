"""Indexes nobody reads, over all servers that were asked and for as long as they have counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dbkit.model import Location, Severity
from dbkit.postgres.indexes.rules import remedies
from dbkit.postgres.indexes.rules.declare import Blind, Limits, Size, Verdict, comment, index_rule
from dbkit.postgres.indexes.rules.foreign_keys import serves
from dbkit.postgres.indexes.rules.overlap import superseded
from dbkit.postgres.indexes.rules.scene import Scene, Usage, enforces
from dbkit.sizes import format_bytes, format_seconds

if TYPE_CHECKING:
    from dbkit.postgres.catalog import Index

_DAY = 86400.0


class UnusedLimits(Limits):
    """Knobs of pg.index-unused and pg.index-documented-unused."""

    max_scans: int = 50
    """Up to this many scans since statistics began, an index counts as hardly used; without any, as unused."""
    min_bytes: Size = 2**20
    """Smaller indexes are not worth a finding."""
    min_days: float = 14.0
    """Statistics younger than this say nothing: weekly and monthly work has not been seen yet."""
    idle_days: float = 180.0
    """An index last read longer ago than this is unused, however often it was read before (16 and newer)."""


@index_rule(
    "index-unused",
    Severity.WARN,
    ok="Every index of some size is read",
    bad="""
    -- policy: {min_days: 0}
    create table t (id bigint primary key, a int);
    insert into t select n, n from generate_series(1, 100000) n;
    create index t_a on t (a);
    """,
    good="""
    -- policy: {min_days: 0}
    create table t (id bigint primary key, a int);
    insert into t select n, n from generate_series(1, 100000) n;
    create index t_a on t (a);
    analyze t;
    select count(found.id) from generate_series(1, 60) n, lateral (select id from t where a = n offset 0) found;
    """,
    equivalents={
        "pg-index-health": ("UNUSED_INDEXES",),
        "pghero": ("unused_indexes",),
        "postgres-checkup": ("H002",),
        "splinter": ("unused_index",),
        "pg-extras": ("unused_indexes",),
    },
    limits=UnusedLimits,
)
def unused(scene: Scene, limits: UnusedLimits) -> Iterator[Verdict | Blind]:
    """An index has not, or hardly, been read since the server began to count.

    Why: every write and every VACUUM maintains it, it takes memory and keeps updates from being HOT, for nobody.

    Fix: see that the statistics cover your rarest job (month's end, year's end) and every replica, then drop it
    concurrently; the finding has the statement that builds it again. An index with a few scans is only an info.

    Not reported when: statistics are younger than `min_days`, it is smaller than `min_bytes`, or it is new (where
    track_commit_timestamp is on; otherwise the age of an index is unknown). Never: unique indexes, constraints, replica
    identities, the clustered index, indexes that serve a foreign key, expression indexes (their statistics help the
    planner without a scan), single partitions (the whole counts), wanted indexes (see pg.index-documented-unused), and
    one that is to take over the work of a duplicate or a prefix.

    See: S2 4.1 asks for regular index-usage analysis. Name the standbys in `replicas` of the target: each server counts
    its own scans.
    """
    blind = too_early(scene, limits)
    if blind:
        yield blind
        return
    inherited = _inherited(scene)
    gone = superseded(scene)
    for index in scene.indexes:
        if index.oid in gone or not _may_go(scene, index, limits) or scene.wanted(index) is not None:
            continue
        usage = scene.usage(index)
        reading = _reading(usage, inherited.get(index.oid, 0), scene.now, limits)
        if reading is None:
            continue
        certain = reading.never and not scene.standbys
        remedy = remedies.drop(index, note=f"not read since {_since(scene)}")
        hidden = _standbys(scene)
        yield Verdict(
            f"{reading.words} since {_since(scene)}{_asked(scene)}, {format_bytes(usage.bytes)} on {index.table}"
            f"{hidden}",
            index.qualified,
            hint=hidden.removeprefix("; "),
            fix="" if certain else comment(f"only when you are sure:\n{remedy.sql};\nto undo: {remedy.undo};"),
            severity=Severity.WARN if certain else Severity.INFO,
            remedy=remedy if certain else None,
            data={"scans": usage.scans, "bytes": usage.bytes, "since": scene.primary.since.isoformat()}
            if scene.primary
            else {},
        )


@index_rule(
    "index-documented-unused",
    Severity.INFO,
    ok="Every documented index of some size is read",
    bad="""
    -- wanted: create index t_a on t (a);
    -- policy: {min_days: 0}
    create table t (id bigint primary key, a int);
    insert into t select n, n from generate_series(1, 100000) n;
    create index t_a on t (a);
    """,
    good="""
    -- wanted: create index t_a on t (a);
    -- policy: {min_days: 0}
    create table t (id bigint primary key, a int);
    insert into t select n, n from generate_series(1, 100000) n;
    create index t_a on t (a);
    analyze t;
    select count(found.id) from generate_series(1, 60) n, lateral (select id from t where a = n offset 0) found;
    """,
    limits=UnusedLimits,
)
def documented_unused(scene: Scene, limits: UnusedLimits) -> Iterator[Verdict | Blind]:
    """A documented index has not, or hardly, been read: document and traffic disagree.

    Why: either the queries it was made for are gone, or they cannot use it (another expression, another collation, a
    type cast), and then the document promises a speed that nobody gets.

    Fix: none by itself. Look for the query with `dbkit index advise`; then change the query or the document.

    Not reported when: as pg.index-unused.

    See: pg.index-unused.
    """
    blind = too_early(scene, limits)
    if blind:
        yield blind
        return
    for index in scene.indexes:
        wanted = scene.wanted(index)
        if wanted is None or index.parent_oid is not None or not index.is_valid:
            continue
        usage = scene.usage(index)
        reading = _reading(usage, 0, scene.now, limits)
        if reading is None or usage.bytes < limits.min_bytes or _new(scene, index, limits):
            continue
        reason = f": {wanted.why}" if wanted.why else ""
        yield Verdict(
            f"it is documented ({wanted.origin or wanted.file}{reason}), but {reading.words} since {_since(scene)}"
            f"{_asked(scene)}, {format_bytes(usage.bytes)}{_standbys(scene)}",
            index.qualified,
            location=Location(wanted.file, wanted.line),
            data={"scans": usage.scans, "bytes": usage.bytes},
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    words: str
    never: bool


def too_early(scene: Scene, limits: UnusedLimits) -> Blind | None:
    """Why use cannot be judged here and now; None when it can."""
    if scene.in_recovery:
        return Blind("this is a standby: audit the primary and name this server in its `replicas`")
    if scene.replicas_unread:
        return Blind(f"not every replica could be asked: {'; '.join(scene.replicas_unread)}")
    if scene.primary is None:
        return Blind("index scans were not read")
    for reads in (scene.primary, *scene.replicas):
        seconds = (scene.now - reads.since).total_seconds()
        if seconds < limits.min_days * _DAY:
            return Blind(
                f"{reads.server} has counted scans for {format_seconds(seconds)} only, since "
                f"{reads.since:%Y-%m-%d %H:%M}; "
                f"a verdict needs {limits.min_days:g} days (limit min_days)"
            )
    return None


def _may_go(scene: Scene, index: Index, limits: UnusedLimits) -> bool:
    if not index.is_valid or enforces(index) or index.expressions or index.parent_oid is not None:
        return False
    if any(serves(index, key) for key in scene.foreign_keys if key.table_oid == index.table_oid):
        return False
    return scene.usage(index).bytes >= limits.min_bytes and not _new(scene, index, limits)


def _new(scene: Scene, index: Index, limits: UnusedLimits) -> bool:
    created = scene.created.get(index.oid)
    return created is not None and (scene.now - created).total_seconds() < limits.min_days * _DAY


def _reading(usage: Usage, inherited: int, now: datetime, limits: UnusedLimits) -> _Reading | None:
    """How little an index is read, in words; None when it is read enough."""
    idle = (now - usage.last).total_seconds() / _DAY if usage.last else None
    if usage.scans == 0 and not inherited:
        return _Reading("no scan", never=True)
    if idle is not None and idle > limits.idle_days and not inherited:
        return _Reading(f"last read on {usage.last:%Y-%m-%d}, {idle:.0f} days ago; {usage.scans:,} scans", never=True)
    if usage.scans + inherited <= limits.max_scans:
        last = f", the last on {usage.last:%Y-%m-%d}" if usage.last else ""
        return _Reading(f"only {usage.scans:,} scan{'s' if usage.scans != 1 else ''}{last}", never=False)
    return None


def _inherited(scene: Scene) -> dict[int, int]:
    """Scans that an index takes over when its duplicates and prefixes are dropped."""
    found: dict[int, int] = {}
    for oid, keeper in superseded(scene).items():
        found[keeper.oid] = found.get(keeper.oid, 0) + scene.usage(scene.by_oid[oid]).scans
    return found


def _since(scene: Scene) -> str:
    since = scene.primary.since if scene.primary else scene.now
    return f"{since:%Y-%m-%d} ({(scene.now - since).days} days)"


def _asked(scene: Scene) -> str:
    names = [reads.server for reads in scene.replicas]
    return f", {', '.join(names)} included" if names else ""


def _standbys(scene: Scene) -> str:
    if not scene.standbys:
        return ""
    many = "a standby streams" if scene.standbys == 1 else f"{scene.standbys} standbys stream"
    return f"; {many} from here and counts for itself: name it in `replicas` of the target"
