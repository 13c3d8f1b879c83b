"""The choice of indexes, on a ground whose costs are given."""

from types import SimpleNamespace

import pytest

from dbkit.postgres.advise.candidate import Candidate, Key
from dbkit.postgres.advise.choose import Bars, Chooser, Query
from dbkit.postgres.advise.facts import Writes
from dbkit.postgres.advise.plans import Plan
from dbkit.postgres.advise.statement import Statement
from dbkit.postgres.catalog import Relation

TABLE = Relation(1, "public", "t", "r", 1e6, 10**8, True, "me", True)
DAY = 86400.0


class Given:
    """Costs by query and the candidates in use: the cheapest of what is visible."""

    def __init__(self, costs):
        self.costs = costs
        self.used = frozenset()

    def use(self, positions):
        self.used = frozenset(positions)

    def plan(self, statement):
        return plan(min([1000.0, *(c for n, c in self.costs[statement.text].items() if n in self.used)]))

    def position(self, index):
        return None


def plan(cost):
    return Plan({"Total Cost": cost, "Node Type": "Seq Scan"})


def index(*columns, **more):
    return Candidate(TABLE, tuple(Key(c, (c,)) for c in columns), **more)


def choose(candidates, costs, *, sizes, total_ms=None, entries=0.0):
    queries = [
        Query(Statement(name, name, ((name, 0),), total_ms=total_ms), plan(1000.0), frozenset({1}), frozenset({(1, "a"), (1, "b")}))
        for name in costs
    ]  # fmt: skip
    facts = SimpleNamespace(writes=lambda _: Writes(inserts=entries), seconds=10 * DAY)
    chooser = Chooser(Given(costs), queries, candidates, facts, Bars(), 10 * DAY)
    return chooser.choose(range(len(candidates)), dict(enumerate(sizes)))


def names(choice):
    return {tuple(k.text for k in c.candidate.keys) for c in choice.chosen}


def test_what_saves_too_little_is_left():
    assert names(choose([index("a")], {"q": {0: 750.0}}, sizes=[1])) == set()
    assert names(choose([index("a")], {"q": {0: 650.0}}, sizes=[1])) == {("a",)}


def test_of_near_equals_the_smaller_is_taken():
    found = choose([index("a", "b"), index("a")], {"q": {0: 100.0, 1: 120.0}}, sizes=[200, 100])
    assert names(found) == {("a",)}
    found = choose([index("a", "b"), index("a")], {"q": {0: 40.0, 1: 190.0}}, sizes=[200, 100])
    assert names(found) == {("a", "b")}


def test_one_index_takes_the_place_of_two():
    candidates = [index("a"), index("b"), index("a", "b"), index("b", "a")]
    apart = {"q": {0: 50.0}, "r": {1: 50.0}}
    assert names(choose(candidates, apart, sizes=[100, 100, 120, 120])) == {("a",), ("b",)}
    shared = {"q": {0: 50.0, 2: 52.0}, "s": {2: 20.0, 3: 20.0}}
    assert names(choose(candidates, shared, sizes=[100, 100, 120, 120])) == {("a", "b")}


def test_both_arms_of_an_or_are_chosen_together():
    class Both(Given):
        def plan(self, statement):
            return plan(20.0 if {0, 1} <= self.used else 1000.0)

    queries = [Query(Statement("q", "q", (("q", 0),)), plan(1000.0), frozenset({1}), frozenset({(1, "a"), (1, "b")}))]
    candidates = [index("a", group=(1,)), index("b", group=(1,))]
    facts = SimpleNamespace(writes=lambda _: Writes(), seconds=0.0)
    found = Chooser(Both({}), queries, candidates, facts, Bars()).choose([0, 1], {0: 1, 1: 1})
    assert names(found) == {("a",), ("b",)}


@pytest.mark.parametrize(("entries", "advised"), [(1.0, True), (10_000.0, False)])
def test_an_index_whose_writes_cost_more_than_it_saves_is_not_advised(entries, advised):
    found = choose([index("a")], {"q": {0: 10.0}}, sizes=[1], total_ms=1e6, entries=entries)
    assert bool(found.chosen) is advised
    assert bool(found.rejected) is not advised
