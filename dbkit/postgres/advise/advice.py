"""What comes of a run: each proposed index with what it saves and costs, in words and as a finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dbkit.model import Json, Location, Severity
from dbkit.postgres.advise.candidate import Candidate, Key
from dbkit.postgres.advise.choose import Query
from dbkit.postgres.advise.facts import Writes
from dbkit.postgres.advise.plans import Plan
from dbkit.postgres.catalog import Index, quote, quoted
from dbkit.postgres.indexes.rules import remedies
from dbkit.postgres.indexes.rules.declare import Remedy, Verdict
from dbkit.sizes import format_bytes

NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposed index."""

    name: str
    candidate: Candidate
    saved: float
    """Share of the analysed workload's time (or cost), 0 to 1."""
    before: float
    """Cost of the helped statements, one call each, without it."""
    after: float
    """The same with it and everything else that is proposed."""
    bytes: int
    helped: tuple[Query, ...]
    writes: Writes
    hot: tuple[str, ...] = ()
    """Fingerprints of updates of the workload that set a column of it."""
    redundant: tuple[Index, ...] = ()
    """Existing indexes it stands in for."""
    invalid: Index | None = None
    """An INVALID index that has the definition already."""

    @property
    def qualified(self) -> str:
        """The index's qualified, quoted name."""
        return self.invalid.qualified if self.invalid else quoted(self.candidate.table.schema, self.name)

    @property
    def partitioned(self) -> bool:
        """Whether the table is partitioned, so that the index is built leaf by leaf."""
        return self.candidate.table.kind == "p"

    @property
    def statement(self) -> str:
        """The CREATE INDEX as a file of wanted indexes holds it."""
        return self.candidate.statement(self.name, concurrently=not self.partitioned)

    @property
    def count(self) -> str:
        """How many statements it helps, in words."""
        return f"{len(self.helped)} statements" if len(self.helped) != 1 else "one statement"

    @property
    def falls(self) -> float:
        """By which share the cost of the helped statements falls."""
        return 1 - self.after / self.before if self.before else 0.0

    def remedy(self) -> Remedy | None:
        """The one statement that brings it about; None on a partitioned table, which takes several."""
        if self.invalid is not None:
            return remedies.reindex(self.invalid)
        if self.partitioned:
            return None
        table = self.candidate.table.qualified
        return Remedy(
            "create-index", self.qualified, table, self.statement, f"SHARE UPDATE EXCLUSIVE on {table}", remedies.QUIET,
            f"drop index concurrently {self.qualified}", "the index is there and valid", safe=True,
        )  # fmt: skip

    def verdict(self) -> Verdict:
        """The finding."""
        first = self.helped[0].statement if self.helped else None
        where = Location(first.file, first.line) if first and first.file else None
        wanted = self.candidate.wanted
        if wanted is not None and where is None:
            where = Location(wanted.file, wanted.line)
        fix = ""
        if self.partitioned and self.invalid is None:
            fix = f"-- partitioned: `--plan FILE` and `dbkit apply` build it partition by partition\n{self.statement};"
        return Verdict(
            " ".join((self._what(), self._saves(), *self._costs(), *self._notes())),
            self.qualified,
            fix=fix,
            severity=Severity.WARN,
            remedy=self.remedy(),
            location=where,
            data=self.data(),
            key=self.candidate.shape,
        )

    def data(self) -> Mapping[str, Json]:
        """For programs."""
        return {
            "index": self.name,
            "table": self.candidate.table.qualified,
            "definition": self.statement,
            "method": self.candidate.method,
            "bytes": self.bytes,
            "cost_before": round(self.before, 2),
            "cost_after": round(self.after, 2),
            "saves": round(self.saved, 4),
            "statements": [q.statement.fingerprint for q in self.helped],
            "entries_per_second": round(self.writes.entries, 3),
            "hot_updates_per_second": round(self.writes.hot_updates, 3),
            "hot_updates_lost_by": list(self.hot),
            "makes_redundant": [i.qualified for i in self.redundant],
            "documented": self.candidate.wanted.file if self.candidate.wanted else None,
            "invalid": self.invalid.qualified if self.invalid else None,
        }

    def _what(self) -> str:
        table = self.candidate.table.qualified
        if self.invalid is not None:
            return f"the INVALID index {self.invalid.qualified}, once rebuilt, serves"
        if self.candidate.wanted is not None:
            wanted = self.candidate.wanted
            return f"the documented index {wanted.name} ({wanted.file}:{wanted.line}) is missing and would serve"
        return f"an index on {table} {self.candidate.words()} would serve"

    def _saves(self) -> str:
        return (
            f"{self.count}, whose cost falls by {self.falls:.1%} ({self.before:,.0f} to {self.after:,.0f}); "
            f"that is {self.saved:.1%} of the workload."
        )

    def _costs(self) -> list[str]:
        kind = "about" if self.candidate.method == "btree" else "roughly"
        said = [f"It takes {kind} {format_bytes(self.bytes)} and {self.writes.entries:,.1f} new entries a second."]
        if self.hot:
            many = self.writes.hot_updates
            updates = ", ".join(self.hot[:NAMED])
            said.append(f"Updates that set a column of it ({updates}) can no longer be HOT; {many:,.1f} a second are.")
        return said

    def _notes(self) -> list[str]:
        said: list[str] = []
        if self.redundant:
            names = ", ".join(i.qualified for i in self.redundant)
            said.append(f"It makes {names} redundant: drop that afterwards, when `dbkit audit` says so, too.")
        if self.candidate.method == "gin" and "trgm" in self.candidate.keys[0].opclass:
            said.append("A trigram index helps patterns with three or more letters in a row.")
        return said


@dataclass(frozen=True, slots=True)
class Outcome:
    """A statement with its plans before and after."""

    query: Query
    after: Plan
    indexes: tuple[str, ...]
    """Names of proposals in its plan."""
    steps: tuple[str, ...]
    """The new plan's nodes, proposals under their names."""


def redundant(candidate: Candidate, indexes: Sequence[Index]) -> tuple[Index, ...]:
    """Existing plain indexes that are the beginning of a plain b-tree candidate, and enforce nothing."""
    if not _is_plain(candidate):
        return ()
    return tuple(
        i
        for i in indexes
        if not (i.is_unique or i.constraint_name or i.is_replica_identity or i.is_clustered or i.included)
        and i.is_valid
        and _begins(i, candidate, len(i.keys))
    )


def served(candidate: Candidate, indexes: Iterable[Index]) -> bool:
    """Whether a valid plain index begins as the candidate does: the candidate would only be a little narrower."""
    plain = _is_plain(candidate) and not candidate.included
    return plain and any(i.is_valid and _begins(i, candidate, len(candidate.keys)) for i in indexes)


def same_as(candidate: Candidate, index: Index) -> bool:
    """Whether an INVALID plain index has the candidate's definition."""
    same = _is_plain(candidate) and not candidate.included and len(index.keys) == len(candidate.keys)
    return same and not index.is_valid and not index.included and _begins(index, candidate, len(index.keys))


def _is_plain(candidate: Candidate) -> bool:
    special = candidate.method != "btree" or candidate.where or candidate.wanted is not None
    return not special and not any(k.opclass for k in candidate.keys)


def _begins(index: Index, candidate: Candidate, count: int) -> bool:
    """Whether the first keys are the same columns in the same order; a b-tree is read both ways."""
    keys, options = candidate.keys[:count], tuple(map(_options, candidate.keys[:count]))
    if index.method != "btree" or index.predicate or any("pattern_ops" in o for o in index.opclasses[:count]):
        return False
    if len(index.keys) < count or len(keys) < count or [quote(k) for k in index.keys[:count]] != [k.text for k in keys]:
        return False
    return options in (index.options[:count], tuple(o ^ 3 for o in index.options[:count]))


def _options(key: Key) -> int:
    first = key.nulls == "first" if key.nulls else key.descending
    return (1 if key.descending else 0) | (2 if first else 0)
