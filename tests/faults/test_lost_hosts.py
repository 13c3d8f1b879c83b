"""A host vanishes in mid-run, without a word: the runner's, whose session still holds the lock; or the primary's, and a
replica that may have missed its last transactions takes its place."""

import os
import random
import socket
import time
from functools import partial

import psycopg
import pytest
from psycopg import conninfo

from dbkit.ephemeral import Unavailable
from dbkit.errors import Refused
from dbkit.postgres import connect as connecting
from dbkit.postgres import jobstore
from dbkit.postgres.connect import connect
from dbkit.postgres.jobstore import PostgresStore
from dbkit.postgres.migrate import deploy
from dbkit.postgres.migrate.executor.job import KEY, Knobs, MoveJob
from dbkit.settings import Target
from tests.fixtures.change_cases import CASES
from tests.fixtures.change_scenes import HOW, SEED, Fault, Scene, disturbed
from tests.fixtures.databases import Database
from tests.fixtures.parts import missing

TCP_REPAIR = 19


def vanish(connection):
    """Close the socket without telling the other end, as a machine does that loses its power."""
    with socket.socket(fileno=socket.dup(connection.pgconn.socket)) as end:
        end.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1
        )  # else the server says its last word again, to nobody
        try:
            end.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except OSError as error:
            missing("a host that vanishes", f"TCP_REPAIR: {error}")
        connection.close()


@pytest.fixture
def keepalives():
    return {"tcp_keepalives_idle": "3600"}


@pytest.fixture
def vanished(place, keepalives, monkeypatch):
    """A change whose runner is gone after it had begun its job; the pid of the session that the server keeps for it."""
    monkeypatch.setattr(connecting, "ALIVE", {**connecting.ALIVE, **keepalives})
    place.run("create table t (id bigint primary key, a int); insert into t values (1, 2)")
    place.change = place.new("rename-column", "t.a", "b")
    connection = connect(place.target, purpose="migrate")
    deploy.prepared(connection, place.target)
    store = PostgresStore(connection)
    assert store.try_lock(KEY)
    store.begin(MoveJob(place.target, place.environment, (), Knobs()))
    pid = connection.info.backend_pid
    vanish(connection)
    return pid


@pytest.mark.pg(18)
def test_a_second_runner_is_told_whose_session_to_end(place, vanished, monkeypatch):
    monkeypatch.setattr(deploy, "Hooks", partial(deploy.Hooks, lock_wait=0.01))
    with pytest.raises(Refused, match="another dbkit") as busy:
        place.move("expand")
    assert f"server process {vanished}" in busy.value.why
    assert f"@{socket.gethostname()} pid {os.getpid()}" in busy.value.why
    assert "dbkit job list" in busy.value.hint  # it may only be slow
    monkeypatch.setattr(jobstore, "SILENT", 0.0)
    with pytest.raises(Refused, match="another dbkit") as dead:
        place.move("expand")
    assert " ago" in dead.value.why
    assert f"pg_terminate_backend({vanished})" in dead.value.hint
    place.db.execute("select pg_terminate_backend(%s, 5000)", vanished)
    place.done("expand")
    assert place.phase(place.change) == "expanded"


@pytest.mark.pg(15)
@pytest.mark.parametrize("keepalives", [{"tcp_keepalives_idle": "1"}])
def test_the_server_lets_go_of_a_host_that_vanished(place, vanished):
    """By default it would ask for it after two hours."""
    place.done("expand")
    assert not place.db.execute("select from pg_stat_activity where pid = %s", vanished)


class Failover:
    """A primary and a replica that lags, both behind one address; the replica becomes the primary in mid-run."""

    LOST = 4
    """So many statements of the run never reach the replica."""

    def __init__(self, server, replica):
        self.server, self._replica = server, replica

    def prepare(self, place):
        self.standby = self._replica(self.server)
        given = conninfo.conninfo_to_dict(place.db.dsn)
        both = f"{self.standby.port},{self.server.port}"  # the old one comes back as a second primary: it is the last
        given |= {"host": f"{given['host']},{given['host']}", "port": both, "target_session_attrs": "read-write"}
        place.target = Target(name="test", address=conninfo.make_conninfo(**given))

    def deed(self, place, what):
        def cut(fall):
            fall.resting = True
            with psycopg.connect(self.server.dsn, autocommit=True) as primary:
                (now,) = primary.execute("select pg_current_wal_flush_lsn()").fetchone()
            self._until("select pg_last_wal_replay_lsn() >= %s::pg_lsn", now)
            self._do("alter system set primary_conninfo = ''", "select pg_reload_conf()")
            self._until("select not exists (select from pg_stat_wal_receiver)")
            fall.number, fall.deed, fall.resting = fall.count + self.LOST, promote, False

        def promote(fall):
            fall.resting = True
            self.server.crash()
            self._do("select pg_promote()")
            fall.resting = False

        return cut

    def mend(self, place):
        """Where the run ended before the primary was lost, it is lost now: what the replica has not is gone."""
        if self.server.pid is not None:
            self.server.crash()
            self._do("select pg_promote()")
        self._until("select not pg_is_in_recovery()")
        up_again(self.server)
        place.db = Database(self.standby, place.db.name, place.db.stack)

    def _do(self, *statements):
        with psycopg.connect(self.standby.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def _until(self, query, *values):
        until = time.monotonic() + 60
        with psycopg.connect(self.standby.dsn, autocommit=True) as connection:
            while not connection.execute(query, values or None).fetchone()[0]:
                assert time.monotonic() < until, query
                time.sleep(0.02)


def up_again(server, seconds=60):
    """Its processes may outlive the one that was killed for a moment, and keep it from starting."""
    until = time.monotonic() + seconds
    while True:
        try:
            server.restart()
            return
        except Unavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def some(*names):
    return [c for c in CASES if HOW != "sample" or c.name in names]


@pytest.fixture
def taken_over(own_server, replica, place_in, database_on, quick, monkeypatch):
    """Rows, cursors and marks of units are lost together: the next run ends on the new primary what it finds there."""

    def each_step(case):
        server = own_server()
        scene = Scene(case, server, place_in, database_on, monkeypatch)
        chance = random.Random(f"{SEED} failover {case}")
        failover = Failover(server, replica)
        fault = Fault("failover", failover.deed, failover.mend, failover.prepare)
        for (what, before), most in scene.lengths.items():
            if (what, before) in (("verify", "filled"), ("rollback", "verified")):
                continue
            number = chance.randint(2, max(2, most - failover.LOST - 1))
            try:
                disturbed(scene, what, before, fault, number, monkeypatch)
            except Exception as error:
                error.add_note(f"{what} of {before} at {number} of {most}; DBKIT_TEST_FAULTS_SEED={SEED}")
                raise

    return each_step


@pytest.mark.pg(18)
@pytest.mark.parametrize("case", some("change-type"), ids=str)
def test_a_replica_takes_over_in_mid_run(taken_over, case):
    taken_over(case)


@pytest.mark.pg(15)
@pytest.mark.parametrize("case", some("move-column"), ids=str)
def test_a_replica_of_15_takes_over_in_mid_run(taken_over, case):
    taken_over(case)
