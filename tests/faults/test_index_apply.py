"""What interrupts an index run, on real servers; after each, one more run ends in the wanted state."""

import json
import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from dbkit.errors import Refused
from dbkit.postgres.apply import Knobs, apply
from dbkit.postgres.connect import connect, server
from dbkit.postgres.indexes import desired, planning
from dbkit.postgres.indexes.compare import State, observe
from dbkit.settings import Target

WISH = """
create index concurrently i_a on t (a);
create unique index concurrently i_b on t (b);
create index i_p on p (a);
"""
KNOBS = Knobs(jobs=2, wait=0.2, deadline=60)


@pytest.fixture
def made(db, tmp_path):
    db.execute("create table t (id int primary key, a int, b int)")
    db.execute("insert into t select n, n % 100, n from generate_series(1, 20000) n")
    db.execute("create table p (id int, a int) partition by range (id)")
    db.execute("create table p_1 partition of p for values from (0) to (10)")
    db.execute("create table p_2 partition of p default partition by hash (id)")
    db.execute("create table p_2_0 partition of p_2 for values with (modulus 1, remainder 0)")
    (tmp_path / "wish.sql").write_text(WISH)
    return Made(db, tmp_path / "wish.sql")


class Made:
    def __init__(self, db, file, dsn=None):
        self.db, self.file = db, file
        self.target = Target(name="test", address=dsn or db.dsn)

    def states(self):
        with connect(self.target) as connection:
            found = observe(connection, server(connection), desired.load([self.file]))
        return {s.wanted.name: s.state for s in found.states}

    def plan(self):
        with connect(self.target) as connection:
            return planning.plan(observe(connection, server(connection), desired.load([self.file])), "test")

    def apply(self):
        return apply(self.plan(), self.target, KNOBS, lambda record, tick: None)

    def cli(self, *arguments, **options):
        return subprocess.Popen(
            [sys.executable, "-m", "dbkit", *arguments],
            env={**os.environ, "DBKIT_DSN": self.target.dsn(), "DBKIT_CONFIG": os.devnull},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def start(self):
        return self.cli("index", "apply", "--yes", "--wait", "0s", "--file", str(self.file))

    def whole(self):
        """One more run ends in the wanted state, with nothing left over."""
        self.apply()
        assert set(self.states().values()) == {State.OK}
        assert self.db.execute("select count(*) from pg_index where not indisvalid") == [(0,)]
        assert self.plan().steps == ()


def wait_for(db, query, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        rows = db.execute(query)
        if rows:
            return rows
        time.sleep(0.05)
    raise AssertionError(f"never seen: {query}")


def test_from_nothing_to_everything(made):
    report = made.apply()
    assert {s["outcome"] for s in report.extra["steps"]} == {"ok"}
    assert set(made.states().values()) == {State.OK}
    assert made.db.execute("select status from dbkit.job") == [("done",)]


@pytest.mark.parametrize("phase", ["waiting for writers before build", "waiting for old snapshots"])
def test_killed_while_building(made, phase):
    blocker = made.db.connect(autocommit=False)
    if phase == "waiting for old snapshots":
        blocker.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        blocker.execute("select count(*) from p")
    else:
        blocker.execute("update t set a = 1 where id = 1")
    process = made.start()
    wait_for(made.db, "select phase from pg_stat_progress_create_index where phase like 'waiting for%'")
    process.kill()
    process.communicate()
    blocker.rollback()
    made.whole()


def test_interrupted_leaves_130(made):
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update t set a = 1 where id = 1")
    process = made.start()
    wait_for(made.db, "select 1 from pg_stat_progress_create_index")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    blocker.rollback()
    made.whole()


def test_cancelled_by_somebody_else(made):
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update t set a = 1 where id = 1")
    process = made.start()
    wait_for(made.db, "select 1 from pg_stat_progress_create_index where phase like 'waiting%'")
    made.db.execute("select pg_cancel_backend(pid) from pg_stat_progress_create_index")
    blocker.rollback()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 5, told
    assert "57014" in told
    made.whole()


def test_duplicate_rows_under_a_unique_build(made):
    made.db.execute("insert into t values (0, 0, 1)")
    process = made.start()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 6, told
    assert "23505" in told
    assert made.db.execute("select count(*) from pg_index where not indisvalid") == [(0,)]
    made.db.execute("delete from t where id = 0")
    made.whole()


def test_timeouts_of_the_role_do_not_end_a_build(made):
    name, dsn = made.db.role()
    made.db.execute(f"alter role {name} set lock_timeout = '50ms'")
    made.db.execute(f"alter role {name} set statement_timeout = '200ms'")
    made.db.execute(f"grant create on database {made.db.name} to {name}")
    made.db.execute(f"grant create on schema public to {name}")
    for table in ("t", "p", "p_1", "p_2", "p_2_0"):
        made.db.execute(f"alter table {table} owner to {name}")
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update t set a = 1 where id = 1")
    process = Made(made.db, made.file, dsn).start()
    wait_for(made.db, "select 1 from pg_stat_progress_create_index")
    time.sleep(0.6)
    blocker.rollback()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    made.whole()


def test_a_second_runner_is_refused_and_told_who_works(made):
    blocker = made.db.connect(autocommit=False)
    blocker.execute("update t set a = 1 where id = 1")
    first = made.start()
    wait_for(made.db, "select 1 from pg_stat_progress_create_index")
    second = made.start()
    _, told = second.communicate(timeout=60)
    assert second.returncode == 4, told
    assert "server process" in told
    blocker.rollback()
    _, told = first.communicate(timeout=60)
    assert first.returncode == 0, told
    made.whole()


def test_without_the_right_nothing_is_tried(made):
    _, dsn = made.db.role()
    made.db.execute("grant select on t, p to public")
    process = Made(made.db, made.file, dsn).start()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 4, told
    assert "only its owner" in told


def test_invalid_unique_that_already_rejects_rows(made):
    blocker = made.db.connect(autocommit=False)
    blocker.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    blocker.execute("select 1 from p")
    builder = made.db.connect()
    builder.execute("set lock_timeout = '300ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        builder.execute("create unique index concurrently i_b on t (b)")
    assert made.states()["i_b"] is State.INVALID_ENFORCING
    blocker.rollback()
    made.whole()


def test_another_definition_is_left_alone(made):
    made.db.execute("create index i_a on t (b)")
    made.apply()
    assert made.states() == {"i_a": State.OTHER_DEFINITION, "i_b": State.OK, "i_p": State.OK}
    assert [p.rule for p in made.plan().problems] == ["pg.index-other-definition"]


def test_a_plan_that_time_has_overtaken_is_refused(made):
    plan = made.plan()
    made.db.execute("create index i_a on t (b)")
    with pytest.raises(Refused, match="i_a"):
        apply(plan, made.target, KNOBS, lambda record, tick: None)


def test_through_a_pooler_it_is_refused(made, pgbouncer):
    pooler = pgbouncer(made.db.server)
    process = Made(made.db, made.file, pooler.dsn_for(made.db.name)).start()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 4, told
    assert "pooler" in told


def test_the_server_crashes_during_a_build(own_server, tmp_path, database_on):
    running = own_server({})
    db = database_on(running)
    db.execute("create table t (id int primary key, a int, b int)")
    db.execute("create table p (id int, a int)")
    (tmp_path / "wish.sql").write_text(WISH)
    made = Made(db, tmp_path / "wish.sql")
    blocker = psycopg.connect(db.dsn)
    blocker.execute("insert into t values (1, 1, 1)")
    process = made.start()
    wait_for(db, "select 1 from pg_stat_progress_create_index")
    running.restart("immediate")
    _, told = process.communicate(timeout=60)
    assert process.returncode in (3, 5), told
    blocker.close()
    made.whole()


def test_status_and_plan_as_json(made):
    done = made.cli("index", "status", "--format", "json", "--file", str(made.file))
    out, _ = done.communicate(timeout=60)
    rows = json.loads(out)["indexes"]
    assert {r["state"] for r in rows} == {"missing"}
    assert {"name", "table", "state", "valid", "definition"} <= set(rows[0])
    made.apply()
    done = made.cli("index", "plan", "--format", "json", "--file", str(made.file))
    out, _ = done.communicate(timeout=60)
    assert json.loads(out)["steps"] == []
