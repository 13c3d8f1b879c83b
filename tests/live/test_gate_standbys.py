"""Standbys before the gate, on real ones: what reads there counts once they are named, and they are named until then."""

import json
import os
import subprocess
import time

import psycopg
import pytest
from psycopg import conninfo

from dbkit.postgres.connect import connect
from dbkit.postgres.migrate import gate
from dbkit.postgres.migrate.changes import standing
from dbkit.settings import Target
from tests.fixtures.program import dbkit

SHORT = 0.05
WATCHED = {"shared_preload_libraries": "pg_stat_statements"}


class Pair:
    """A primary with a change that is verified, and its standby."""

    def __init__(self, primary, standby, place):
        self.primary, self.standby, self.place = primary, standby, place
        given = conninfo.conninfo_to_dict(place.db.dsn) | {"host": "127.0.0.1", "port": standby.port}
        self.dsn = conninfo.make_conninfo(**given)
        self.name = f"127.0.0.1:{standby.port}"
        self.named = (Target(name="dsn", address=self.dsn),)

    def cli(self, *arguments, config=os.devnull, **environment):
        environment = {"DBKIT_DSN": self.place.db.dsn, **environment}
        return dbkit("migrate", *arguments, "--migrations", self.place.ini, DBKIT_CONFIG=str(config), **environment)

    def blocked(self, *arguments, **more):
        done = self.cli("status", *arguments, "--format", "json", **more)
        (change,) = json.loads(done.stdout)["changes"]
        return {b["what"]: b for b in change["blocked_by"]}

    def look(self, accept=(), window=SHORT, standbys=()):
        """What is left after the window has passed."""
        time.sleep(2 * SHORT)
        with connect(self.place.target) as connection:
            (change,) = standing.changes(connection, self.place.environment)
            return gate.look(connection, change, accept=accept, window=window, standbys=standbys)

    def read(self, statement):
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            return connection.execute(statement).fetchone()

    def until(self, question, *values):
        with psycopg.connect(self.primary.dsn, autocommit=True) as connection:
            end = time.monotonic() + 30
            while not connection.execute(question, values or None).fetchone()[0]:
                assert time.monotonic() < end, question
                time.sleep(0.02)

    def caught_up(self):
        self.until("select bool_and(replay_lsn >= pg_current_wal_flush_lsn()) from pg_stat_replication")


@pytest.fixture
def pair(own_server, replica, database_on, place_in):
    primary = own_server(WATCHED)
    place = place_in(database_on(primary))
    place.run(
        "create extension pg_stat_statements; create table users (id int primary key, full_name text not null);"
        "insert into users select n, 'name ' || n from generate_series(1, 50) n"
    )
    pair = Pair(primary, replica(primary, settings=WATCHED), place)
    place.new("rename-column", "users.full_name", "display_name")
    done = pair.cli("deploy", "--phase", "pre", "--standby", pair.dsn)
    assert done.returncode == 0, done.stderr
    pair.caught_up()
    return pair


def test_a_read_on_a_standby_counts_and_a_standby_nobody_watches_is_named(pair):
    # Nobody watches it: it is named, with the two ways out.
    told = pair.blocked()["standby"]
    assert told["who"].startswith("replica at 127.0.0.1 replays from here")
    assert "--standby" in told["hint"]
    assert "--accept standby:replica@127.0.0.1" in told["hint"]
    assert [(b.what, b.key) for b in pair.look()] == [("standby", "replica@127.0.0.1")]
    # Watched since the deploy, and quiet: open.
    assert pair.look(standbys=pair.named) == []
    # A read of the old column there: closed, the standby and the statement named.
    pair.read("select full_name from users where id = 3")
    done = pair.cli("contract", "--standby", pair.dsn, "--accept", "observation")
    assert done.returncode == 4, done.stdout + done.stderr
    assert f"statement: on {pair.name}: select full_name from users where id = $1 (reads;" in done.stderr
    assert "standby:" not in done.stderr
    pair.read("select display_name from users where id = 3")
    assert pair.look(standbys=pair.named) == []
    # Its statistics are reset: what ran there before is not known.
    pair.read("select pg_stat_statements_reset()")
    (told,) = pair.look(standbys=pair.named)
    assert (told.what, told.key) == ("observation", pair.name)
    assert f"on {pair.name}: statements have been watched for" in told.who
    assert "was reset" in told.who
    # A transaction there that is older than the watch may still read it.
    with psycopg.connect(pair.dsn, application_name="report") as report:
        report.execute("select 1 from users")
        pair.read("select pg_stat_statements_reset()")
        assert {b.what for b in pair.look(standbys=pair.named)} == {"observation", "transaction"}
    assert pair.look(standbys=pair.named) == []
    # It is taken by --accept, and that is recorded; who does without observation does without the standby's.
    for word in ("standby", "standby:replica@127.0.0.1", "observation"):
        pair.place.run("delete from dbkit.gate_accept")
        assert pair.look(accept=[word]) == []
        assert pair.place.db.execute("select what, who from dbkit.gate_accept") == [
            (
                "standby:replica@127.0.0.1",
                "replica at 127.0.0.1 replays from here, and nobody watches what reads there",
            )
        ]
    # Named, and gone: nobody knows.
    pair.standby.stop()
    (told,) = [b for b in pair.look(standbys=pair.named) if b.key == "dsn"]
    assert told.what == "standby"
    assert f"cannot connect to dsn at {pair.name}" in told.who


@pytest.mark.pg(18)
def test_replicas_of_the_configuration_are_watched_and_receivers_are_no_standbys(pair, tmp_path):
    config = tmp_path / "dbkit.toml"
    config.write_text('[targets.prod]\ndsn_env = "PROD"\nreplicas = ["copy"]\n\n[targets.copy]\ndsn_env = "COPY"\n')
    more = {"config": config, "PROD": pair.place.db.dsn, "COPY": pair.dsn}
    told = pair.blocked("-t", "prod", **more)
    assert "standby" not in told
    assert "on copy: statements have been watched" in told["observation"]["who"]
    assert "is no standby of this database" in pair.cli("status", "--standby", pair.standby.dsn).stdout
    assert "no target is called 'cpy'" in pair.cli("status", "-t", "prod", "--standby", "cpy", **more).stderr
    # The primary itself under a second name, as after a failover, is no standby that nobody can ask.
    assert [b.key for b in pair.look(standbys=(pair.place.target, *pair.named))] == []

    folder = tmp_path / "wal"
    folder.mkdir()
    program = pair.primary.binaries.program("pg_receivewal")
    receiver = subprocess.Popen(
        [program, "-D", folder, "-d", pair.primary.dsn_for("postgres")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        pair.until(
            "select count(*) = 1 from pg_stat_replication where application_name = 'pg_receivewal' "
            "and state = 'streaming' and write_lsn is not null"
        )
        assert pair.look(standbys=pair.named) == []
    finally:
        receiver.terminate()
        receiver.wait()
