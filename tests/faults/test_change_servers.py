"""Steps of changes while their server crashes, its disk is full, or the disk of its log: the next run ends them, and
fills each row once.

In CI each kind meets one of the first two at one of its steps. DBKIT_TEST_FAULTS=20 takes every kind on both versions,
and every twentieth statement of all its steps.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time

import psycopg
import pytest

from dbkit.errors import Stopped
from tests.fixtures.change_cases import CASES
from tests.fixtures.change_scenes import HOW, SEED, Fault, Scene, disturbed, steps
from tests.fixtures.changes import Place

CHUNKS = 2
"""So many tests a fault and version, each with a server of its own."""


def drawn(turn, major, chunk):
    """Kinds with the step at which they meet a fault; None is every step, at every so manieth statement."""
    if HOW != "sample":
        return [(case, None) for case in CASES[chunk::CHUNKS]]
    mine = [n for n in range(len(CASES)) if (n + SEED) % 2 == turn and (n // 2) % 2 == (major == 15)]
    return [(CASES[n], list(steps(CASES[n]))[n * 3 // 4 % len(list(steps(CASES[n])))]) for n in mine[chunk::CHUNKS]]


@pytest.fixture
def meet(database_on, tmp_path, quick, monkeypatch, pg_major):
    """Let kinds on a server meet a fault."""

    def each(server, fault, pairs):
        for case, step in pairs:
            chance = random.Random(f"{SEED} {fault.name} {case} {pg_major}")
            scene = Scene(case, server, lambda db, n=case.name: Place(db, tmp_path / n), database_on, monkeypatch, step)
            for (what, before), most in scene.lengths.items():
                if step not in (None, (what, before)):
                    continue
                stride = most if HOW == "sample" else 1 if HOW == "all" else int(HOW)
                one = [chance.randint(2, most)]
                for number in one if HOW == "sample" else range(2 + chance.randrange(stride), most, stride):
                    try:
                        disturbed(scene, what, before, fault, number, monkeypatch)
                    except Exception as error:
                        told = f"{case}: {what} of {before}, {fault.name} at {number}; DBKIT_TEST_FAULTS_SEED={SEED}"
                        error.add_note(told)
                        raise

    return each


def up(dsn, seconds=60):
    until = time.monotonic() + seconds
    while True:
        try:
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("create temp table there ()")
            return
        except psycopg.Error:
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_server_crashes(chunk, own_server, meet, pg_major):
    """One of its processes dies by kill -9: the server ends every session, and recovers from its log."""
    server = own_server()

    def crash(place, what):
        def deed(interruption):
            interruption.resting = True
            with psycopg.connect(server.dsn, autocommit=True) as connection:
                os.kill(connection.info.backend_pid, signal.SIGKILL)
                with pytest.raises(psycopg.OperationalError):
                    connection.execute("select pg_sleep(30)")
            interruption.resting = False

        return deed

    def checkpoint(place):
        """Else the log holds the sequences of a cloned database as they were when it was made."""
        place.db.execute("checkpoint")

    meet(server, Fault("crash", crash, lambda place: up(place.db.dsn), checkpoint), drawn(0, pg_major, chunk))


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_disk_is_full(chunk, ballast, own_server, meet, pg_major):
    folder, fill, empty = ballast
    server = own_server()
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(f"create tablespace small location '{folder}'")

    def small(place):
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute(f"alter database {place.db.name} set tablespace small")

    fault = Fault("disk full", lambda place, what: fill, empty, small)
    meet(server, fault, drawn(1, pg_major, chunk))


def write_on(dsn):
    """Until the server cannot write its log any more: from the end of the segment on, as the next finds no space."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        while True:
            connection.execute("select pg_switch_wal()")
            connection.execute("create table more as select repeat('x', 1000) from generate_series(1, 20000)")
            connection.execute("drop table more")


WAL = {
    18: {"move-column": ("contract", "verified"), "change-type": ("backfill", "expanded")},
    15: {"rename-column": ("expand", "new"), "enum-to-text": ("rollback", "contracted")},
}


@pytest.mark.parametrize("disk_size", ["160m"])
def test_the_disk_of_the_log_is_full(ballast, own_server, meet, pg_major):
    """The server panics, and cannot come up again before there is space."""
    folder, fill, empty = ballast
    server = own_server({"max_wal_size": "48MB", "min_wal_size": "32MB", "wal_recycle": "off"})
    server.crash()
    log = server.directory / "pg_wal"
    shutil.copytree(log, folder / "log")
    for path in (folder / "log", *(folder / "log").rglob("*")):
        os.chown(path, log.stat().st_uid, log.stat().st_gid)
    (folder / "log").chmod(0o700)
    shutil.rmtree(log)
    log.symlink_to(folder / "log")
    server.restart()

    def panic(place, what):
        def deed(interruption):
            interruption.resting = True
            fill()
            with pytest.raises(psycopg.Error):
                write_on(server.dsn)
            interruption.resting = False

        return deed

    def mend(place):
        empty()
        if server.pid is None:
            server.restart()
        up(place.db.dsn)

    def checkpoint(place):
        place.db.execute("checkpoint")

    wanted = [(c, WAL[pg_major].get(c.name)) for c in CASES if HOW != "sample" or c.name in WAL[pg_major]]
    meet(server, Fault("log full", panic, mend, checkpoint), wanted)


@pytest.mark.pg(18)
def test_the_disk_of_temporary_files_is_full_while_an_index_is_built(ballast, own_server, database_on, place_in):
    folder, fill, empty = ballast
    db = database_on(own_server())
    place = place_in(db)
    db.execute(f"create tablespace small location '{folder}'")
    place.run("create table t (id bigint primary key, a text); create index t_a on t (md5(a), a)")
    place.run("insert into t select n, repeat('x', 100) || n from generate_series(1, 60000) n")
    place.change = place.new("rename-column", "t.a", "b")
    db.execute(f"alter database {db.name} set temp_tablespaces = 'small'")
    db.execute(f"alter database {db.name} set maintenance_work_mem = '1MB'")
    fill()
    error = place.move("expand").error
    assert isinstance(error, Stopped), error
    assert "disk is full" in error.hint
    empty()
    place.done("expand")
    assert db.execute("select count(*), bool_and(indisvalid) from pg_index where indrelid = 't'::regclass") == [
        (3, True)
    ]
