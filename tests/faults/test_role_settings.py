"""Timeouts that a role or database sets do not reach a run of dbkit; a server that became read-only is told of."""

from __future__ import annotations

import pytest

from dbkit.errors import DbkitError
from tests.fixtures.change_scenes import run

SHORT = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture
def changed(place):
    place.run("create table t (id bigint primary key, a int); insert into t select n, n from generate_series(1, 500) n")
    place.run(
        "create function slow() returns trigger language plpgsql as $$begin perform pg_sleep(0.002); return new; end$$"
    )
    place.run("create trigger slow before update on t for each row execute function slow()")
    place.change = place.new("rename-column", "t.a", "b")
    return place


def test_short_timeouts_of_the_database_do_not_end_a_run(changed):
    for name in SHORT:
        changed.run(f"alter database {changed.db.name} set {name} = '60ms'")
    for what in ("expand", "backfill", "verify", "contract", "rollback"):
        error = run(changed, what)
        assert error is None, (what, error.lines())


def test_a_database_that_is_read_only_is_told_of(changed):
    changed.run(f"alter database {changed.db.name} set default_transaction_read_only = on")
    error = run(changed, "expand")
    assert isinstance(error, DbkitError)
    assert "read-only" in (error.why or ""), error.lines()
    assert "primary" in (error.hint or ""), error.lines()
    with changed.db.connect(options="-c default_transaction_read_only=off") as connection:
        connection.execute(f"alter database {changed.db.name} reset all")
    assert run(changed, "expand") is None
