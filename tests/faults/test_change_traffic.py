"""An old and a new application at work through every phase of every change: nothing fails, nothing is lost or stale."""

import os

import pytest

from tests.fixtures.change_cases import CASES
from tests.fixtures.traffic import Traffic

STATEMENTS = int(os.environ.get("DBKIT_TEST_STATEMENTS", "100"))
"""At least so many statements in every phase: each of the applications' twelve acts several times."""


@pytest.fixture(params=[c for c in CASES if c.traffic], ids=str)
def case(request):
    return request.param


@pytest.fixture
def made(place, case):
    place.run(case.schema)
    columns = ", ".join(case.old.columns)
    with place.db.connect() as connection:
        connection.cursor().executemany(
            f"insert into {case.old.table} (id, {columns}) values (%s{', %s' * len(case.old.columns)})",
            [(n, *case.old.show(n)) for n in range(1, 2001)],
        )
    if case.seed:
        place.run(case.seed)
    place.change = place.new(case.kind, case.place, *case.words, **case.more)
    return place


@pytest.mark.parametrize("seed", [1])
def test_two_versions_to_the_end(made, case, seed, record_property):
    traffic = Traffic(made.db.dsn, case, seed)
    old = traffic.start(case.old)
    traffic.run_for(STATEMENTS)
    traffic.phase = "expand"
    made.done("expand")
    traffic.run_for(STATEMENTS)
    if case.fills:
        traffic.phase = "backfill"
        made.fill(made.change, batch=200)
    traffic.phase = "both"
    new = traffic.start(case.new)
    traffic.run_for(4 * STATEMENTS)
    traffic.leave(old)
    if case.contracts:
        traffic.phase = "contract"
        made.done("contract")
    traffic.run_for(STATEMENTS)
    traffic.stop()
    check_all(made, case, traffic, case.new)
    record_property("longest_ms", {k: round(v * 1000) for k, v in traffic.longest.items()})
    assert new


def test_two_versions_and_back(made, case, record_property):
    traffic = Traffic(made.db.dsn, case, 3)
    old = traffic.start(case.old)
    made.done("expand")
    if case.fills:
        made.fill(made.change, batch=200)
    new = traffic.start(case.new)
    traffic.phase = "both"
    traffic.run_for(3 * STATEMENTS)
    traffic.leave(new)
    traffic.phase = "rollback"
    if case.clean:
        refused = made.move("rollback").error
        assert refused is not None
        made.run(case.clean)
    made.done("rollback")
    traffic.run_for(STATEMENTS)
    traffic.stop()
    check_all(made, case, traffic, case.old)
    record_property("longest_ms", {k: round(v * 1000) for k, v in traffic.longest.items()})
    assert old


@pytest.mark.parametrize("case", [c for c in CASES if c.name == "change-type-of-a-key"], ids=str, indirect=True)
def test_back_after_contract(made, case):
    """The new application is at work while the contract is taken back: nothing fails, no row is lost."""
    made.done("expand")
    made.fill(made.change)
    made.done("contract")
    traffic = Traffic(made.db.dsn, case, 5)
    traffic.start(case.new)
    traffic.run_for(STATEMENTS)
    traffic.phase = "rollback of contract"
    made.done("rollback", made.change)
    traffic.run_for(STATEMENTS)
    traffic.stop()
    check_all(made, case, traffic, case.new)
    assert made.db.execute("select pg_typeof(id)::text from t limit 1") == [("integer",)]


def check_all(made, case, traffic, shape):
    """Every row of every application, and every row that nobody touched, as the given version sees it."""
    found = {
        row[0]: tuple(row[1:])
        for row in made.db.execute(f"select {shape.key}, {', '.join(shape.columns)} from {shape.table}")
    }
    wanted = {n: shape.show(n) for n in range(1, 2001)}
    for application in traffic.applications:
        for key, value in application.model.items():
            wanted[key] = case.convert(value, application.shape, shape)
    assert found == wanted
