"""What holds a backfill back, and how it is steered while it runs: limits, pause, resume, a second runner, replicas."""

import threading
import time
from contextlib import suppress

import psycopg
import pytest

from dbkit.errors import DbkitError, Refused, Stopped
from dbkit.postgres.connect import connect
from dbkit.postgres.jobstore import PostgresStore
from dbkit.postgres.migrate.backfill import state
from dbkit.postgres.migrate.backfill.job import Knobs
from dbkit.postgres.migrate.backfill.run import resume
from tests.fixtures.backfills import slow, users, written_twice

FAST = {"batch_time": "5ms"}


def job(filler):
    with connect(filler.target) as connection:
        return PostgresStore(connection).records()[0]


def ask(filler, what):
    with connect(filler.target) as connection:
        store = PostgresStore(connection)
        assert not store.request(store.records()[0], what)


def limit(filler, **texts):
    with connect(filler.target) as connection:
        state.set_limits(connection, job(filler).id, texts)


def held_and_released(filler, name, release, **knobs):
    """A run that is held by this limit before it fills anything, and ends once `release` was called."""
    running = filler.start(**knobs)
    filler.wait_for_event("held")
    before = filler.left()
    assert running.alive
    release()
    done = running.end()
    assert not isinstance(done, DbkitError), done.lines()
    assert done.error is None, done.error.lines()
    held = filler.events("held")[0]
    assert held["limit"] == name
    assert filler.events("released")[0]["limit"] == name
    assert done.report.extra["backfills"][0]["held_seconds"][name] > 0
    assert filler.left() == 0
    return before, held["reason"]


@pytest.mark.pg(18)
def test_a_file_holds(db, tmp_path):
    filler, file = users(db, 8000), tmp_path / "hold"
    file.touch()
    before, reason = held_and_released(filler, "pause_file", file.unlink, texts={**FAST, "pause_file": str(file)})
    assert before > 0
    assert str(file) in reason


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("select on_call from duty", "says true"),
        ("select case when on_call then 'the 50 % sale' end from duty", "the 50 % sale"),
        ("select nosuch from duty where on_call", "fails"),
        ("update duty set on_call = on_call returning on_call", "read-only"),
    ],
)
@pytest.mark.pg(18)
def test_a_query_holds(db, query, reason):
    filler = users(db, 8000)
    db.psql("create table duty (on_call boolean); insert into duty values (true)")
    query = query.replace("duty", "public.duty")

    def release():
        db.execute("update duty set on_call = false")
        if reason in ("fails", "read-only"):
            limit(filler, hold_while="off")

    _, said = held_and_released(filler, "hold_while", release, texts={**FAST, "hold_while": query})
    assert reason in said


def test_active_sessions_hold(db):
    filler, other = users(db, 8000), db.connect()
    cursor = other.cursor()
    pid = other.info.backend_pid
    with other.pipeline():
        cursor.execute("select pg_sleep(60)")
        other.pgconn.flush()
        filler.wait_for(f"select 1 from pg_stat_activity where pid = {pid} and query like '%pg_sleep%'")

        def release():
            limit(filler, max_active="off")

        _, reason = held_and_released(filler, "max_active", release, texts={**FAST, "max_active": "0"})
        db.execute(f"select pg_cancel_backend({pid})")
        with pytest.raises(Exception, match="cancel"):
            cursor.fetchone()
    assert "active" in reason


def test_a_session_that_waits_for_us_makes_batches_shorter(db):
    filler = users(db, 4000, counted=False)
    slow(filler, 0.5)
    running = filler.start(texts={"batch_time": "600ms", "max_waiters": "0"})
    other = db.connect()
    until = time.monotonic() + 30
    while running.alive and time.monotonic() < until:
        other.execute("update users set full_name = full_name where id % 500 = 0")
    done = running.end()
    assert done.error is None
    assert filler.left() == 0
    assert {e["limit"] for e in filler.events("held")} <= {"max_waiters"}  # if the throttle looked just then
    assert done.report.extra["backfills"][0]["batches_waited_for"] > 0


def test_slots_hold(own_server, database_on):
    server = own_server({"wal_level": "logical"})
    db = database_on(server)
    filler = users(db, 5000)
    db.execute("select pg_create_logical_replication_slot('asleep', 'pgoutput')")

    def release():
        db.execute("select pg_drop_replication_slot('asleep')")

    filler.fill(texts={"max_slot_lag": "off"})
    db.execute("update users set display_name = null")
    texts = {**FAST, "max_slot_lag": "100kB"}
    _, reason = held_and_released(filler, "max_slot_lag", release, texts=texts)
    assert "asleep" in reason


@pytest.mark.pg(18)
def test_a_slot_that_is_about_to_be_lost_holds(own_server, database_on):
    db = database_on(own_server({"max_slot_wal_keep_size": "1MB", "checkpoint_timeout": "1h", "max_wal_size": "4GB"}))
    filler = users(db, 5000)
    db.execute("select pg_create_physical_replication_slot('late', true)")
    for _ in range(4):
        db.execute("select pg_logical_emit_message(true, 'x', 'x')")
        db.execute("select pg_switch_wal()")
    assert db.execute("select wal_status from pg_replication_slots") == [("unreserved",)]

    def release():
        db.execute("select pg_drop_replication_slot('late')")

    _, reason = held_and_released(filler, "max_slot_lag", release, texts=FAST)
    assert "late is about to be lost" in reason


@pytest.mark.pg(18)
def test_the_servers_wal_rate_holds(db):
    filler = users(db, 4000, counted=False)
    slow(filler, 1)

    def release():
        limit(filler, max_wal="off")

    before, reason = held_and_released(filler, "max_wal", release, texts={**FAST, "max_wal": "1kB/s"})
    assert before > 0
    assert "/s of WAL, limit 1" in reason


@pytest.mark.pg(18)
def test_dead_rows_hold_until_a_vacuum(db):
    filler = users(db, 8000, counted=False)
    db.psql("alter table users set (autovacuum_enabled = off); update users set full_name = full_name where id <= 4000")
    filler.wait_for("select 1 from pg_stat_user_tables where relname = 'users' and n_dead_tup >= 4000")

    def release():
        db.execute("vacuum users")
        filler.wait_for_event("released")
        limit(filler, max_dead="off")  # the backfill makes dead rows of its own

    before, reason = held_and_released(filler, "max_dead", release, texts={**FAST, "max_dead": "10%"})
    assert before == 8000
    assert reason.endswith("of the rows are dead, limit 10%")


@pytest.mark.pg(18)
def test_a_vacuum_of_the_table_holds(db):
    filler, other = users(db, 8000, counted=False), db.connect()
    db.psql("alter table users set (autovacuum_enabled = off); update users set full_name = full_name")
    other.execute("set vacuum_cost_delay = '100ms'")
    other.execute("set vacuum_cost_limit = 1")

    def work():
        with suppress(psycopg.errors.QueryCanceled):
            other.execute("vacuum users")

    vacuum = threading.Thread(target=work)
    vacuum.start()
    filler.wait_for("select 1 from pg_stat_progress_vacuum")

    def release():
        db.execute(f"select pg_cancel_backend({other.info.backend_pid})")
        vacuum.join()

    before, reason = held_and_released(filler, "max_vacuums", release, texts={**FAST, "max_vacuums": "0"})
    assert before == 8000
    assert "a vacuum works on the table" in reason


def test_a_replica_that_falls_behind_holds_and_releases(own_server, replica, database_on):
    primary = own_server()
    db = database_on(primary)
    filler = users(db, 4000, counted=False)
    slow(filler, 1)
    standby = replica(primary)
    with psycopg.connect(standby.dsn, autocommit=True) as connection:
        connection.execute("select pg_wal_replay_pause()")

        def release():
            connection.execute("select pg_wal_replay_resume()")

        before, reason = held_and_released(filler, "max_lag", release, texts={**FAST, "max_lag": "1s"})
    assert "replica" in reason
    assert before > 0


def test_limits_change_while_it_runs_and_stay_with_the_job(db):
    filler = users(db, 6000, counted=False)
    slow(filler, 0.3)
    running = filler.start(texts={"batch_time": "50ms"})
    filler.wait_for("select 1 from users where display_name is not null limit 1")
    limit(filler, max_active="7", batch_time="20ms")
    filler.wait_for("select 1 from dbkit.job_event where event = 'limit' and detail ->> 'value' = '20 ms'")
    ask(filler, "pause")
    done = running.end()
    assert isinstance(done.error, Stopped)
    assert 0 < filler.left() < 6000
    assert done.report.extra["backfills"][0]["complete"] is False
    with connect(filler.target) as connection:
        held = state.limits(connection, job(filler).id)
    assert (held["max_active"][0], held["batch_time"][0]) == ("7", "20ms")
    done = resume(job(filler), filler.target, Knobs(), lambda record, tick: None)
    assert done.error is None, done.error.lines()
    assert filler.left() == 0
    assert job(filler).status.value == "done"


def test_paused_and_taken_up_no_row_is_written_twice(db):
    filler = users(db, 20_000)
    for _ in range(30):
        running = filler.start(workers=2, texts=FAST)
        filler.wait_for("select 1 from users where display_name is not null limit 1")
        time.sleep(0.3)
        if not running.alive:
            break
        with suppress(AssertionError):  # it may have ended just now
            ask(filler, "pause")
        if running.end().error is None:
            break
    filler.whole()
    assert filler.left() == 0
    assert written_twice(db) == []


def test_aborted_for_good(db):
    filler = users(db, 6000, counted=False)
    slow(filler, 0.5)
    running = filler.start(texts=FAST)
    filler.wait_for("select 1 from users where display_name is not null limit 1")
    ask(filler, "abort")
    assert isinstance(running.end().error, Stopped)
    assert job(filler).status.value == "aborted"
    filler.whole()
    assert filler.left() == 0


def test_a_second_runner_is_refused_and_told_of_the_first(db):
    filler = users(db, 6000, counted=False)
    slow(filler, 1)
    running = filler.start(texts=FAST)
    filler.wait_for("select 1 from users where display_name is not null limit 1")
    with pytest.raises(Refused, match="already working") as raised:
        filler.fill()
    assert "pid" in raised.value.why
    ask(filler, "pause")
    running.end()


def test_held_for_too_long_it_stops_and_says_why(db, tmp_path):
    filler, file = users(db, 100), tmp_path / "hold"
    file.touch()
    done = filler.fill(texts={"pause_file": str(file), "max_hold": "300ms"})
    if done.error is not None:  # a hundred rows may be through before the first look
        assert isinstance(done.error, Stopped)
        assert str(file) in done.error.why


def test_after_its_time_it_pauses(db):
    filler = users(db, 6000, counted=False)
    slow(filler, 0.5)
    done = filler.fill(deadline=0.5, texts=FAST)
    assert isinstance(done.error, Stopped)
    assert "deadline" in done.error.what
    assert filler.left() > 0
    filler.whole()
