"""Chooses indexes for a workload: the one that saves most, then the one that saves most beside it, until none pays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from dbkit.postgres.advise.candidate import Candidate
from dbkit.postgres.advise.facts import Facts
from dbkit.postgres.advise.ground import Ground
from dbkit.postgres.advise.merge import merge
from dbkit.postgres.advise.plans import Plan
from dbkit.postgres.advise.statement import Statement

ALMOST: Final = 0.8
"""An index that saves this share of what the best one saves is preferred when it is smaller."""
ENTRY_MS: Final = 0.01
"""What one new entry costs at least: a descent of a b-tree in memory and its WAL, some ten microseconds."""
DEAR: Final = 5.0
"""How much more an entry of an inverted index costs."""
TOLERANCE: Final = 1.5
"""Two plans are about as cheap when one costs less than this many times the other, or both cost next to nothing."""
NOTHING: Final = 30.0
"""A handful of pages."""
GAMBLE: Final = 3.0
"""How much more an index must be worth that is read in order until enough rows happen to fit: it may be for long."""
WIDER: Final = 0.01
"""Each column more counts so much: two that fit into the same bytes are no tie."""
NOTICED: Final = 1.01
"""A plan that costs this many times another one is dearer; less is rounding."""
LONG_SECONDS: Final = 86400.0
"""Younger statistics may have seen little but the first load: they do not speak against an index."""
PARTIAL: Final = 1.25
"""A partial index must be so much smaller to be preferred: it serves one constant only."""


@dataclass(frozen=True, slots=True)
class Bars:
    """What an index must reach: `saving` is a share of a statement's cost; statements below `cost` are left alone."""

    saving: float = 0.3
    cost: float = 100.0


@dataclass(frozen=True, slots=True)
class Query:
    """A statement with its plan as things are, and what it weighs: measured milliseconds, else the planner's cost."""

    statement: Statement
    before: Plan
    tables: frozenset[int]
    columns: frozenset[tuple[int, str]] = frozenset()
    """The columns, by table, that it compares or sorts by."""

    def concerns(self, candidate: Candidate) -> bool:
        """Whether an index can change its plan."""
        table = candidate.table.oid
        if candidate.wanted is not None:
            return table in self.tables
        return any((table, name) in self.columns for name in candidate.columns)

    @property
    def weight(self) -> float:
        """Of the whole workload's time, or cost, this statement's part."""
        measured = self.statement.total_ms
        return measured if measured is not None else self.before.cost * self.statement.calls


@dataclass(frozen=True, slots=True)
class Chosen:
    """One chosen candidate; `helped` are positions of queries with their plans before and after it."""

    position: int
    candidate: Candidate
    saved: float
    """In the unit of the weights."""
    helped: tuple[int, ...]
    after: tuple[float, ...]
    """The cost of each helped query with the index, in the same order."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A candidate that pays for reading and does not pay for writing."""

    candidate: Candidate
    reason: str


@dataclass(slots=True)
class Choice:
    """The result: chosen indexes, and the plan of every query with all of them."""

    chosen: list[Chosen] = field(default_factory=list[Chosen])
    after: list[Plan] = field(default_factory=list[Plan])
    rejected: list[Rejected] = field(default_factory=list[Rejected])


class Chooser:
    """Greedy choice over one workload on one ground."""

    def __init__(
        self,
        ground: Ground,
        queries: Sequence[Query],
        candidates: Sequence[Candidate],
        facts: Facts,
        bars: Bars,
        seconds: float = 0.0,
    ) -> None:
        self._ground = ground
        self._queries = queries
        self._candidates = candidates
        self._facts = facts
        self._bars = bars
        self._seconds = seconds
        self._plans: dict[tuple[int, frozenset[int]], Plan] = {}
        self._sizes: dict[int, float] = {}

    def choose(self, usable: Iterable[int], sizes: dict[int, float]) -> Choice:
        """Choose among the usable candidates. `sizes` in bytes decides between near equals."""
        self._sizes = sizes
        usable = list(usable)
        chosen: list[int] = []
        rejected: list[Rejected] = []
        # Wishes first: they will be there. Then b-trees: pg_trgm answers `=`, too, but a b-tree does so better.
        trees = [n for n in usable if self._candidates[n].method == "btree"]
        for pool in ([n for n in usable if self.kept(n)], trees, usable):
            self._fill(chosen, pool, rejected)
        merge(chosen, usable, self)
        while idle := [n for n in chosen if not self._helped(n, chosen)]:
            chosen.remove(idle[-1])
        final = [self.plan(q, frozenset(chosen)) for q in range(len(self._queries))]
        made = self._results(chosen, final)
        return Choice(sorted(made, key=lambda m: -m.saved), final, rejected)

    def total(self, chosen: Iterable[int], table: int) -> float:
        """What the queries on a table save with these candidates."""
        held = frozenset(chosen)
        return sum(
            q.weight * max(0.0, 1 - self.plan(n, held).cost / q.before.cost)
            for n, q in enumerate(self._queries)
            if table in q.tables and q.before.cost >= self._bars.cost
        )

    def table(self, position: int) -> int:
        """The table of a candidate."""
        return self._candidates[position].table.oid

    def alike(self, one: int, other: int) -> bool:
        """Whether two candidates could be one: the same table and method, and a column in common."""
        a, b = self._candidates[one], self._candidates[other]
        shared = a.columns & b.columns
        return a.table.oid == b.table.oid and a.method == b.method and bool(shared)

    def serves(self, other: Iterable[int], chosen: Iterable[int], tables: Iterable[int]) -> bool:
        """Whether every query on the tables is about as cheap with the other candidates as with the chosen ones."""
        mine, theirs, places = frozenset(chosen), frozenset(other), set(tables)
        return all(
            self.plan(n, theirs).cost <= max(NOTHING, TOLERANCE * self.plan(n, mine).cost)
            for n, q in enumerate(self._queries)
            if q.tables & places and self.plan(n, mine).cost < q.before.cost
        )

    def kept(self, position: int) -> bool:
        """Whether a candidate is somebody's wish, which no merging takes away."""
        return self._candidates[position].wanted is not None

    def _fill(self, chosen: list[int], pool: list[int], rejected: list[Rejected]) -> None:
        gains: dict[tuple[int, ...], float] = {}
        moves = self._moves(pool)
        out: set[tuple[int, ...]] = set()
        while True:
            for move in moves:
                if move not in gains and move not in out:
                    gains[move] = self._gain(move, chosen)
            best = max(gains.values(), default=0.0)
            if best <= 0:
                return
            top = next(m for m in moves if gains.get(m) == best)
            near = [m for m in moves if gains.get(m, 0.0) >= ALMOST * best and self._stands_in(m, top, chosen)]
            move = min(near, key=lambda m: (sum(map(self.price, m)), -gains[m]))
            reason = self._too_dear(move, gains[move])
            if reason:
                out.add(move)
                gains.pop(move)
                rejected += [Rejected(self._candidates[n], reason) for n in move]
                continue
            chosen += [n for n in move if n not in chosen]
            touched = {self._candidates[n].table.oid for n in move}
            related = {t for q in self._queries if q.tables & touched for t in q.tables}
            for other in list(gains):
                if any(self._candidates[n].table.oid in related for n in other):
                    del gains[other]

    def price(self, position: int) -> float:
        """Its size; a partial index counts a little larger."""
        candidate = self._candidates[position]
        columns = len(candidate.keys) + len(candidate.included)
        factor = (PARTIAL if candidate.where else 1.0) * (GAMBLE if candidate.gamble else 1.0)
        factor *= 1 + WIDER * (columns + candidate.turned)
        return self._sizes.get(position, 0.0) * factor

    def _moves(self, pool: list[int]) -> list[tuple[int, ...]]:
        """Single candidates, and one candidate for each arm of an OR together."""
        moves: list[tuple[int, ...]] = [(n,) for n in pool]
        groups: dict[int, list[int]] = {}
        for n in pool:
            for group in self._candidates[n].group:
                groups.setdefault(group, []).append(n)
        for members in groups.values():
            narrow: dict[str, int] = {}
            for n in members:
                candidate = self._candidates[n]
                if len(candidate.keys) == 1 and not candidate.included and not candidate.where:
                    narrow.setdefault(candidate.keys[0].text, n)
            if len(narrow) > 1:
                moves.append(tuple(narrow.values()))
        return moves

    def _stands_in(self, move: tuple[int, ...], top: tuple[int, ...], chosen: Sequence[int]) -> bool:
        """Whether a move does what the best one does, for the same tables."""
        tables = {self.table(n) for n in top}
        return {self.table(n) for n in move} == tables and self.serves([*chosen, *move], [*chosen, *top], tables)

    def _gain(self, move: tuple[int, ...], chosen: Sequence[int]) -> float:
        if all(n in chosen for n in move):
            return 0.0
        held, more = frozenset(chosen), frozenset((*chosen, *move))
        tables = {self._candidates[n].table.oid for n in move}
        return sum(self._saved(q, held, more) for q in range(len(self._queries)) if self._queries[q].tables & tables)

    def _saved(self, query: int, held: frozenset[int], more: frozenset[int]) -> float:
        """What one query saves when `more` is there instead of `held`; nothing below the bars."""
        of = self._queries[query]
        before = self.plan(query, held).cost
        if before < self._bars.cost:
            return 0.0
        after = self.plan(query, more).cost
        if (before - after) / before < self._bars.saving:
            return 0.0
        return of.weight * (before - after) / of.before.cost

    def plan(self, query: int, positions: frozenset[int]) -> Plan:
        """The plan of a query with some candidates in use."""
        of = self._queries[query]
        mine = frozenset(n for n in positions if of.concerns(self._candidates[n]))
        if not mine:
            return of.before
        key = (query, mine)
        if key not in self._plans:
            self._ground.use(mine)
            plan = self._ground.plan(of.statement)
            self._plans[key] = plan if isinstance(plan, Plan) else of.before
        return self._plans[key]

    def _beside(self, position: int, chosen: Iterable[int]) -> frozenset[int]:
        """What a candidate is judged beside. A wish is judged beside other wishes only: they will be there whatever
        else is built.
        """
        return frozenset(n for n in chosen if self.kept(n) or not self.kept(position))

    def _helped(self, position: int, chosen: Iterable[int]) -> tuple[int, ...]:
        """The queries that would be dearer without a candidate."""
        with_it = self._beside(position, chosen)
        without = with_it - {position}
        return tuple(
            n
            for n, q in enumerate(self._queries)
            if self.table(position) in q.tables and self.plan(n, without).cost > NOTICED * self.plan(n, with_it).cost
        )

    def _results(self, chosen: Sequence[int], final: Sequence[Plan]) -> list[Chosen]:
        """What a statement saves is shared between the candidates that help it."""
        helped = {n: self._helped(n, chosen) for n in chosen}
        made: list[Chosen] = []
        for n, queries in helped.items():
            saved = 0.0
            for q in queries:
                of = self._queries[q]
                parts = sum(q in others for others in helped.values())
                saved += of.weight * max(0.0, 1 - final[q].cost / of.before.cost) / parts
            after = tuple(self.plan(q, self._beside(n, chosen)).cost for q in queries)
            made.append(Chosen(n, self._candidates[n], saved, queries, after))
        return made

    def _too_dear(self, move: tuple[int, ...], gain: float) -> str:
        """Why writing costs more than reading saves; only where both have been measured for a while."""
        if self._seconds < LONG_SECONDS or self._facts.seconds < LONG_SECONDS:
            return ""
        cost = 0.0
        for n in move:
            candidate = self._candidates[n]
            entries = self._facts.writes(candidate.table.oid).entries * self._seconds
            cost += entries * ENTRY_MS * (1.0 if candidate.method == "btree" else DEAR)
        if cost <= gain:
            return ""
        return f"it would save about {gain:,.0f} ms of reading and cost about {cost:,.0f} ms of writing"
