"""What the index rules judge: one database as it was at one moment. Importing this needs no driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbkit.postgres.catalog import Build, ForeignKey, Index, Partition, Relation
    from dbkit.postgres.indexes.desired import Wanted
    from dbkit.postgres.indexes.states import IndexState


@dataclass(frozen=True, slots=True)
class Reads:
    """Index scans as one server counted them, by index oid."""

    server: str
    since: datetime
    scans: Mapping[int, int]
    last: Mapping[int, datetime]


@dataclass(frozen=True, slots=True)
class Fill:
    """What a b-tree would take if it were built now.

    Between `low` bytes (equal keys stored once, as the server does since 13) and `high` bytes (every key apart).
    """

    low: int
    high: int
    analyzed: datetime | None
    measured: float | None = None
    """The share of the index that holds entries, 0 to 1, read from every page by pgstattuple; None if not measured."""


@dataclass(frozen=True, slots=True)
class Usage:
    """An index and its partitions together: bytes, scans on all servers asked, and the last scan that is known."""

    bytes: int
    scans: int
    last: datetime | None


@dataclass(frozen=True)
class Scene:
    """One database: its indexes, keys, builds, wanted states and statistics."""

    indexes: tuple[Index, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    builds: tuple[Build, ...] = ()
    states: tuple[IndexState, ...] = ()
    relations: tuple[Relation, ...] = ()
    partitions: tuple[Partition, ...] = ()
    now: datetime = field(default_factory=datetime.now)
    primary: Reads | None = None
    """Scans counted by the audited server."""
    replicas: tuple[Reads, ...] = ()
    replicas_unread: tuple[str, ...] = ()
    """Why named replicas could not be asked, one sentence each."""
    standbys: int = 0
    """Standbys that stream from this server and are not among `replicas`."""
    in_recovery: bool = False
    user: str = ""
    """The role that looks, quoted."""
    created: Mapping[int, datetime] = field(default_factory=dict[int, datetime])
    """When an index was last built, where track_commit_timestamp tells."""
    fills: Mapping[int, Fill] = field(default_factory=dict[int, Fill])
    fills_hidden: tuple[str, ...] = ()
    """Why the size of some b-trees could not be estimated, one sentence each."""

    @cached_property
    def by_oid(self) -> Mapping[int, Index]:
        """Indexes by oid."""
        return {i.oid: i for i in self.indexes}

    @cached_property
    def by_table(self) -> Mapping[int, tuple[Index, ...]]:
        """Indexes by the oid of their table."""
        found: dict[int, list[Index]] = {}
        for index in self.indexes:
            found.setdefault(index.table_oid, []).append(index)
        return {oid: tuple(held) for oid, held in found.items()}

    @cached_property
    def relation(self) -> Mapping[int, Relation]:
        """Relations by oid."""
        return {r.oid: r for r in self.relations}

    @cached_property
    def _children(self) -> Mapping[int, tuple[Index, ...]]:
        found: dict[int, list[Index]] = {}
        for index in self.indexes:
            if index.parent_oid is not None:
                found.setdefault(index.parent_oid, []).append(index)
        return {oid: tuple(held) for oid, held in found.items()}

    @cached_property
    def _wanted(self) -> Mapping[int, Wanted]:
        found: dict[int, Wanted] = {}
        for state in self.states:
            for index in (state.equal, state.actual):
                if index is not None:
                    found.setdefault(index.oid, state.wanted)
        return found

    @cached_property
    def unfinished(self) -> frozenset[int]:
        """Indexes of single partitions that a wanted partitioned index is waiting for."""
        leaves = [leaf for state in self.states for leaf in state.leaves]
        return frozenset(i.oid for leaf in leaves for i in (leaf.loose, leaf.remains) if i is not None)

    @cached_property
    def hidden_builds(self) -> bool:
        """Whether somebody builds an index that this role may not see."""
        return any(b.table_oid is None for b in self.builds)

    def children(self, index: Index) -> tuple[Index, ...]:
        """The indexes attached to a partitioned one."""
        return self._children.get(index.oid, ())

    def building(self, index: Index) -> bool:
        """Whether somebody builds the index right now."""
        return any(b.index_oid == index.oid for b in self.builds)

    def wanted(self, index: Index) -> Wanted | None:
        """The wanted index this one stands for, by name or by definition."""
        return self._wanted.get(index.oid)

    def usage(self, index: Index) -> Usage:
        """Size and scans of the index and everything attached to it, over the servers that were asked."""
        held = [index]
        for member in held:
            held += self.children(member)
        servers = [*([self.primary] if self.primary else []), *self.replicas]
        oids = [i.oid for i in held]
        times = [s.last[oid] for s in servers for oid in oids if oid in s.last]
        return Usage(
            bytes=sum(i.bytes for i in held),
            scans=sum(s.scans.get(oid, 0) for s in servers for oid in oids),
            last=max(times, default=None),
        )

    def table_size(self, oid: int) -> tuple[float | None, int]:
        """Rows (None when nobody ran ANALYZE) and bytes of a table, all its partitions included."""
        below = [p for p in self.partitions if not p.is_partitioned and self._below(p.parent_oid, oid)]
        parts = [(p.tuples, p.bytes) for p in below]
        if not parts and oid in self.relation:
            parts = [(self.relation[oid].tuples, self.relation[oid].bytes)]
        counted = [tuples for tuples, _ in parts if tuples >= 0]
        return (sum(counted) if counted or not parts else None), sum(size for _, size in parts)

    def _below(self, parent: int | None, oid: int) -> bool:
        while parent is not None and parent != oid:
            parent = next((p.parent_oid for p in self.partitions if p.oid == parent), None)
        return parent == oid


def enforces(index: Index) -> bool:
    """Whether something other than a query rests on the index: a constraint, a key, replication or CLUSTER."""
    return bool(
        index.is_unique
        or index.constraint_name
        or index.is_exclusion
        or index.is_replica_identity
        or index.is_clustered
        or index.supports_foreign_key
    )
