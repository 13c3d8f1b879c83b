"""PgBouncer and replicas as the tests of other parts use them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psycopg
import pytest

from dbkit.ephemeral.account import unprivileged


def test_transaction_pooling_hands_one_session_to_several_clients(db, pgbouncer):
    pooler = pgbouncer(db.server, settings={"default_pool_size": "1"})
    clients = [db.connect(dsn=pooler.dsn_for(db.name)) for _ in range(3)]
    pids = {client.execute("select pg_backend_pid()").fetchone()[0] for client in clients}
    assert len(pids) == 1
    assert pooler.version >= 11000
    assert db.server.password not in repr(pooler)


def test_session_pooling_does_not(db, pgbouncer):
    pooler = pgbouncer(db.server, pool_mode="session")
    with psycopg.connect(pooler.dsn_for(db.name)) as one, psycopg.connect(pooler.dsn_for(db.name)) as two:
        assert len({c.execute("select pg_backend_pid()").fetchone()[0] for c in (one, two)}) == 2


def test_other_roles_log_in_with_their_own_password(db, pgbouncer):
    name, dsn = db.role()
    pooler = pgbouncer(db.server)
    with psycopg.connect(pooler.through(dsn)) as connection:
        assert connection.execute("select current_user, current_database()").fetchone() == (name, db.name)
    with pytest.raises(psycopg.OperationalError, match=r"password|authentication"):
        psycopg.connect(pooler.through(dsn).replace(":", ":x", 2).replace("postgresql:x", "postgresql:"))


def test_the_console_answers_and_reloads(db, pgbouncer):
    pooler = pgbouncer(db.server)
    with psycopg.connect(pooler.admin_dsn, autocommit=True) as console:
        shown = {row[0]: row[1] for row in console.execute("show config").fetchall()}
        assert shown["pool_mode"] == "transaction"
        pooler.config_file.write_text(pooler.config_file.read_text() + "query_wait_timeout = 7\n")
        console.execute("reload")
        shown = {row[0]: row[1] for row in console.execute("show config").fetchall()}
        assert shown["query_wait_timeout"] == "7"


def test_pgbouncer_stops_restarts_and_is_not_root(db, pgbouncer):
    pooler = pgbouncer(db.server)
    account, before = unprivileged(), pooler.pid
    assert Path(f"/proc/{before}").stat().st_uid == (account.uid if account else os.geteuid())
    pooler.restart()
    assert pooler.pid not in (None, before)
    psycopg.connect(pooler.dsn).close()
    place = pooler.held.directory
    pooler.stop()
    assert not place.exists()


def test_a_replica_streams_and_refuses_writes(own_server, replica):
    primary = own_server()
    standby = replica(primary)
    with psycopg.connect(primary.dsn, autocommit=True) as connection:
        connection.execute("create table t as select 7 as n")
        lsn = connection.execute("select pg_current_wal_lsn()").fetchone()[0]
        assert connection.execute("select application_name, state from pg_stat_replication").fetchall() == [
            ("replica", "streaming")
        ]
    with psycopg.connect(standby.dsn, autocommit=True) as connection:
        end = time.monotonic() + 20
        while not connection.execute("select pg_last_wal_replay_lsn() >= %s", [lsn]).fetchone()[0]:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert connection.execute("select n, pg_is_in_recovery() from t").fetchone() == (7, True)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("create table u (i int)")
    standby.restart("immediate")
    psycopg.connect(standby.dsn).close()


def test_a_replica_takes_its_own_settings(own_server, replica):
    standby = replica(own_server(), settings={"recovery_min_apply_delay": "5min"})
    with psycopg.connect(standby.dsn) as connection:
        assert connection.execute("show recovery_min_apply_delay").fetchone() == ("5min",)
