"""A backfill that is killed, cut off or out of disk at every point: the next run finishes, and no row is filled twice."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psycopg
import pytest

from dbkit.errors import DbkitError, Stopped
from tests.fixtures.backfills import slow, users, written_twice

FAST = {"batch_time": "5ms", "max_waiters": "off"}
DRIVER = """
import os, sys
import psycopg
from dbkit.postgres.migrate.backfill import batch, crew, ranges, run, text
from dbkit.postgres.migrate.backfill.job import Knobs
from dbkit.settings import Target

dsn, by, point = sys.argv[1], sys.argv[2], int(sys.argv[3])
counted = 0
send, commit = psycopg.Connection.execute, batch.run
ranges.FIRST = crew.FIRST = ranges.LARGEST = crew.LARGEST = {"key": 60, "ctid": 1}

def step():
    global counted
    counted += 1
    if counted == point:
        os._exit(9)

def execute(self, *arguments, **options):
    made = send(self, *arguments, **options)
    if self.info.parameter_status("application_name") == "dbkit backfill" and "set_config" not in str(arguments):
        if self.info.transaction_status.name != "IDLE":  # a statement of a batch, or of cutting the ranges
            step()
    return made

def committed(*arguments, **options):
    done = commit(*arguments, **options)
    step()
    return done

psycopg.Connection.execute = execute
batch.run = committed
spec = text.read("public.users", "display_name = full_name", None)
done = run.fill(spec, Target(name="t", address=dsn), Knobs(by=by), ours=False)
sys.exit(0 if done.error is None else 5)
"""


@pytest.mark.parametrize("by", ["key", "ctid"])
def test_killed_after_each_statement_of_a_run(db, by):
    """One run after another, each ending one statement later than the last: rows and cursor never come apart."""
    filler = users(db, 360 if by == "key" else 900)
    deaths = 0
    for point in range(1, 60):
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, db.dsn, by, str(point)], capture_output=True, text=True, check=False
        )
        assert written_twice(db) == []
        there = db.execute("select to_regclass('dbkit.backfill') is not null")[0][0]
        told = db.execute("select coalesce(sum(rows), 0) from dbkit.backfill")[0][0] if there else 0
        filled = db.execute("select count(*) from users where display_name is not null")[0][0]
        assert filled == told
        if done.returncode == 0:
            break
        assert done.returncode == 9, done.stderr
        deaths += 1
    assert deaths >= 6
    assert filler.left() == 0
    assert filler.whole()["rows_filled"] == 0


@pytest.fixture
def cli(db):
    """The command as a process, ended with the test."""
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "dbkit", "migrate", "backfill", *arguments],
            env={**os.environ, "DBKIT_DSN": db.dsn, "DBKIT_CONFIG": os.devnull},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def command(filler):
    return (
        "--table",
        "public.users",
        "--set",
        filler.assignments,
        "--where",
        filler.where,
        "--yes",
        "--batch-time",
        "20ms",
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_killed_or_interrupted_and_run_again(db, cli, number, code):
    filler = users(db, 4000)
    slow(filler, 0.5)
    process = cli(*command(filler), "--workers", "2")
    filler.wait_for("select 1 from users where display_name is not null limit 1")
    process.send_signal(number)
    out, told = process.communicate(timeout=60)
    assert process.returncode == code, (out, told)
    assert 0 < filler.left() < 4000
    again = cli(*command(filler))
    out, told = again.communicate(timeout=120)
    assert again.returncode == 0, (out, told)
    assert filler.left() == 0
    assert written_twice(db) == []
    assert db.execute("select count(*), min(status) from dbkit.job") == [(1, "done")]


def test_a_worker_that_loses_its_connection_takes_a_new_one(db):
    filler = users(db, 4000)
    slow(filler, 0.5)
    running = filler.start(texts=FAST)
    filler.wait_for("select 1 from users where display_name is not null limit 1")
    ended = filler.wait_for(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
        "and application_name = 'dbkit backfill' and query like '%/* dbkit */%'"
    )
    assert ended
    done = running.end()
    assert done.error is None, done.error.lines()
    assert filler.events("reconnect")
    assert filler.left() == 0
    assert written_twice(db) == []


def test_a_run_that_loses_its_lock_stops_and_the_next_finishes(db):
    filler = users(db, 4000)
    slow(filler, 1)
    running = filler.start(texts=FAST)
    filler.wait_for("select 1 from users where display_name is not null limit 1")
    db.execute(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' "
        "and database = (select oid from pg_database where datname = current_database())"
    )
    done = running.end()
    assert isinstance(done if isinstance(done, DbkitError) else done.error, Stopped)
    filler.whole()
    assert filler.left() == 0
    assert written_twice(db) == []


@pytest.mark.pg(18)
def test_a_column_that_goes_while_it_is_filled(db):
    """Somebody rolls the change back meanwhile: no row is at fault, and nothing can be mended."""
    filler = users(db, 4000)
    slow(filler, 1)
    running = filler.start(texts=FAST)
    filler.wait_for("select 1 from users where display_name is not null limit 1")
    db.execute("alter table users drop column display_name")
    error = running.end().error
    assert isinstance(error, Stopped), error
    assert "is gone since the backfill began" in error.what
    assert "rolled the change back" in error.hint


@pytest.mark.parametrize("how", ["crash", "restart"])
def test_a_server_that_goes_down_and_comes_back(own_server, database_on, how):
    server = own_server({"fsync": "on"})
    db = database_on(server)
    filler = users(db, 3000)
    slow(filler, 1)
    running = filler.start(texts=FAST)
    filler.wait_for("select 1 from users where display_name is not null limit 1")
    server.crash() if how == "crash" else server.restart()
    done = running.end()
    error = done if isinstance(done, DbkitError) else done.error
    assert isinstance(error, Stopped), error
    if how == "crash":
        with suppress(Exception):
            server.restart("immediate")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(psycopg.OperationalError):
            db.execute("select 1")
            break
    filler.whole()
    assert filler.left() == 0
    assert written_twice(db) == []


def test_a_full_disk_stops_it_and_the_next_run_finishes(own_server, database_on, small_disk):
    place, grow = small_disk
    db = database_on(own_server())
    db.execute(f"create tablespace small location '{place}'")
    db.psql(
        "create table users (id bigint primary key, full_name text, display_name text) tablespace small;"
        "insert into users select n, repeat('x', 900) from generate_series(1, 14000) n; analyze users"
    )
    from tests.fixtures.backfills import Filler

    filler = Filler(db, where="display_name is null", assignments="display_name = left(full_name, 8)")
    done = filler.fill()
    assert isinstance(done.error, Stopped)
    assert "disk" in done.error.what
    assert "free space" in done.error.hint
    left = filler.left()
    assert 0 < left < 14000
    grow()
    facts = filler.whole()
    assert facts["rows_filled"] == left
    assert filler.left() == 0
