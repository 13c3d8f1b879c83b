"""Verification on real servers: exact, lasting, under traffic, and nothing changed where rows differ."""

import threading
from dataclasses import replace

import psycopg
import pytest

from dbkit.errors import Refused, Stopped
from dbkit.postgres.connect import connect
from dbkit.postgres.indexes.watch import Limits
from dbkit.postgres.migrate import verify as engine
from dbkit.postgres.migrate.verify_report import report
from tests.fixtures.backfills import users

TIE = "alter table users add constraint tie check (display_name is not distinct from full_name) not valid"


@pytest.fixture
def tied(db):
    filler = users(db, 2000, counted=False)
    db.execute(TIE)
    return filler


def spec_of(filler):
    return replace(filler.spec, tie="tie", change="users-rename")


def validated(db, table="users"):
    return db.execute(
        f"select convalidated from pg_constraint where conname = 'tie' and conrelid = '{table}'::regclass"
    )[0][0]


def test_rows_that_differ_are_counted_and_shown_and_nothing_is_changed(tied):
    tied.whole(ours=True)
    tied.db.psql("alter table users drop constraint tie; update users set display_name = 'stale' where id in (7, 8)")
    tied.db.execute(TIE)
    done = engine.verify([spec_of(tied)], tied.target)
    (verdict,) = done.verdicts
    assert (verdict.found.rows, verdict.found.differing, verdict.verified) == (2000, 2, False)
    assert verdict.found.sample[0] == "public.users id = 7: display_name is 'stale', should be 'name 7'"
    assert not done.whole
    assert not validated(tied.db)
    (finding,) = report(done, "t").findings
    assert "2 of 2,000 rows differ" in finding.message
    assert tied.db.execute("select differing, verified from dbkit.verification") == [(2, False)]


def test_a_whole_fill_is_proved_and_stays_so(tied):
    tied.whole(ours=True)
    done = engine.verify([spec_of(tied)], tied.target)
    assert done.whole
    assert validated(tied.db)
    with pytest.raises(psycopg.errors.CheckViolation):
        tied.db.execute("update users set display_name = 'stale' where id = 7")
    again = engine.verify([spec_of(tied)], tied.target)
    assert again.whole
    assert "validated before" in again.verdicts[0].note
    assert tied.db.execute("select verified, rows from dbkit.verification order by id") == [(True, 2000), (True, 0)]


def test_a_tie_that_is_not_immutable_is_refused(tied):
    tied.db.psql(
        "alter table users drop constraint tie;"
        "alter table users add constraint tie check (display_name is not distinct from full_name or now() > '2000-01-01') not valid"
    )
    with pytest.raises(Refused, match="not immutable"):
        engine.verify([spec_of(tied)], tied.target)
    assert not validated(tied.db)


def test_without_its_check_there_is_nothing_to_prove(tied):
    tied.db.execute("alter table users drop constraint tie")
    with pytest.raises(Refused, match="no check tie"):
        engine.verify([spec_of(tied)], tied.target)


def test_partitions_are_validated_leaf_by_leaf(db):
    db.psql(
        "create table p (id int primary key, a int, b int) partition by range (id);"
        "create table p_1 partition of p for values from (0) to (100);"
        "create table p_2 partition of p default;"
        "insert into p select n, n, n from generate_series(0, 300) n;"
        "alter table p add constraint tie check (b is not distinct from a) not valid;"
    )
    filler = users(db, 1, counted=False)
    with connect(filler.target) as connection:
        spec = engine.of_check(connection, "public.p", "tie")
    done = engine.verify([spec], filler.target)
    assert done.whole
    assert all(validated(db, t) for t in ("p", "p_1", "p_2"))


def test_it_waits_for_what_conflicts_within_its_budget_and_traffic_goes_on(tied):
    tied.whole(ours=True)
    holder = tied.db.connect(autocommit=False)
    holder.execute("lock table users in share update exclusive mode")
    done = engine.verify([spec_of(tied)], tied.target, Limits(max_wait=0.5))
    assert isinstance(done.error, Stopped)
    assert str(holder.info.backend_pid) in done.error.why
    assert not validated(tied.db)
    results = []
    thread = threading.Thread(target=lambda: results.append(engine.verify([spec_of(tied)], tied.target)))
    thread.start()
    tied.wait_for(
        "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like 'alter table%validate%'"
    )
    tied.db.execute("update users set full_name = 'x', display_name = 'x' where id = 1")  # not behind it in the queue
    holder.rollback()
    thread.join(30)
    assert results[0].whole
    assert validated(tied.db)


def test_a_row_that_slips_in_between_is_seen_by_the_server(tied):
    tied.whole(ours=True)
    spec = spec_of(tied)
    job = engine.VerifyJob([spec], tied.target, Limits())
    verdict = engine.Verdict(spec)
    with connect(tied.target) as control, connect(tied.target) as worker:
        ticks = job._one(control, worker, verdict, lambda event, detail, ago=0.0: None)
        next(ticks)  # the only chunk is counted
        tied.db.psql("alter table users drop constraint tie; update users set display_name = 'stale' where id = 7")
        tied.db.execute(TIE)
        for _ in ticks:
            pass
    assert not verdict.verified
    assert "came to differ" in verdict.note
