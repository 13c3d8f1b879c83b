"""Steps of changes while their server crashes, or its disk is full: the next run ends them, and fills each row once.

A sample as in test_change_matrix; DBKIT_TEST_FAULTS=20 takes every change, and every twentieth statement of its steps.
"""

from __future__ import annotations

import os
import random
import signal
import time

import psycopg
import pytest

from tests.fixtures.change_cases import CASES
from tests.fixtures.change_scenes import HOW, SEED, Fault, Scene, disturbed

SAMPLE = ("rename-column", "change-type-of-a-key")
WIDE = [c for c in CASES if HOW != "sample" or c.name in SAMPLE]


def each_step(scene, fault, monkeypatch, chance):
    """Cells at random statements of each step; those a fault did not reach in time prove nothing and are drawn again."""
    for (what, before), most in scene.lengths.items():
        stride = 1 if HOW == "all" else int(HOW) if HOW != "sample" else most
        numbers = [chance.randint(2, most)] if HOW == "sample" else range(2 + chance.randrange(stride), most, stride)
        for number in numbers:
            try:
                disturbed(scene, what, before, fault, number, monkeypatch)
            except Exception as error:
                error.add_note(f"{what} of {before}, {fault.name} at {number}; DBKIT_TEST_FAULTS_SEED={SEED}")
                raise


@pytest.mark.parametrize("case", WIDE, ids=str)
def test_the_server_crashes(case, own_server, database_on, place_in, quick, monkeypatch, pg_major):
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

    def up(place):
        until = time.monotonic() + 30
        while True:
            try:
                place.db.execute("select 1")
                return
            except psycopg.OperationalError:
                assert time.monotonic() < until
                time.sleep(0.05)

    def checkpoint(place):
        """Else the log holds the sequences of a cloned database as they were when it was made."""
        place.db.execute("checkpoint")

    scene = Scene(case, server, place_in, database_on, monkeypatch)
    fault = Fault("crash", crash, up, checkpoint)
    each_step(scene, fault, monkeypatch, random.Random(f"{SEED} crash {case} {pg_major}"))


@pytest.fixture
def ballast(small_disk):
    """Fill the small disk to the last byte, and empty it again."""
    place, _ = small_disk
    file = place.parent / "ballast"

    def fill(interruption):
        with file.open("wb", buffering=0) as stream:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        stream.write(bytes(size))
                except OSError:
                    continue

    return place, fill, lambda place: file.unlink(missing_ok=True)


@pytest.mark.parametrize("case", WIDE, ids=str)
def test_the_disk_is_full(case, own_server, database_on, place_in, quick, monkeypatch, ballast, pg_major):
    folder, fill, empty = ballast
    server = own_server()
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(f"create tablespace small location '{folder}'")
    scene = Scene(case, server, place_in, database_on, monkeypatch)

    def small(place):
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute(f"alter database {place.db.name} set tablespace small")

    fault = Fault("disk full", lambda place, what: fill, empty, small)
    each_step(scene, fault, monkeypatch, random.Random(f"{SEED} disk {case} {pg_major}"))
