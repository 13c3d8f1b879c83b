"""A throw-away PostgreSQL from start to stop, on every version there is."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import stat
from pathlib import Path

import psycopg
import pytest

from dbkit.ephemeral import Unavailable, guard, ports
from dbkit.ephemeral.account import unprivileged
from dbkit.ephemeral.postgres import start_postgres


def one(server, statement):
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        return connection.execute(statement).fetchone()[0]


def keep_a_row(server):
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("create table kept as select 1 as n")


def test_start_and_stop_leave_nothing(own_server, pg_major):
    server = own_server()
    place, pid, port = server.held.directory, server.pid, server.port
    assert server.version // 10000 == pg_major == server.major
    assert one(server, "select current_setting('server_version_num')::int") == server.version
    assert one(server, "show data_directory") == str(server.directory)
    server.stop()
    server.stop()
    assert not place.exists()
    assert not guard.alive(pid)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_it_never_runs_as_root_and_others_cannot_look_in(own_server):
    server = own_server()
    account = unprivileged()
    owner = Path(f"/proc/{server.pid}").stat().st_uid
    assert owner == (account.uid if account else os.geteuid())
    assert owner != 0
    assert pwd.getpwuid(server.directory.stat().st_uid).pw_uid == owner
    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.sockets.stat().st_mode) == 0o700
    for secret in (server.held.directory / "pgpass", server.held.directory / "server.json", server.log_file):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_the_password_is_needed_and_not_shown(own_server):
    server = own_server()
    assert server.password
    assert server.password not in repr(server)
    assert server.password not in server.psql_line("postgres")
    assert server.password.encode() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
    with pytest.raises(psycopg.OperationalError, match=r"password|fe_sendauth"):
        psycopg.connect(server.dsn_for("postgres", secret=False), passfile=os.devnull)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_restart_keeps_port_and_data(own_server, mode):
    server = own_server()
    before = server.pid
    keep_a_row(server)
    server.restart(mode)
    assert server.pid not in (None, before)
    assert one(server, "select n from kept") == 1
    recovered = "was not properly shut down" in server.log_file.read_text()
    assert recovered == (mode == "immediate")


def test_crash_leaves_it_down_until_restart(own_server):
    server = own_server()
    keep_a_row(server)
    busy = psycopg.connect(server.dsn)
    server.crash()
    assert server.pid is None
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn)
    server.restart()
    assert one(server, "select n from kept") == 1
    busy.close()


def test_settings_override_the_throw_away_ones(own_server):
    server = own_server({"fsync": "on", "work_mem": "3MB", "cluster_name": "it's a \\ test"})
    names = "select string_agg(setting, '|' order by name) from pg_settings where name in ('fsync', 'full_page_writes')"
    assert one(server, names) == "on|off"
    assert one(server, "show work_mem") == "3MB"
    assert one(server, "show cluster_name") == "it's a \\ test"
    assert one(server, "select count(*) from pg_file_settings where sourcefile like '%auto.conf'") == 0


def test_a_bad_setting_is_told_with_the_servers_own_words(own_server):
    major = own_server().major
    with pytest.raises(Unavailable) as caught:
        start_postgres(major, settings={"work_mem": "nonsense"}, sources=("embedded", "local"))
    assert 'invalid value for parameter "work_mem"' in caught.value.reason


def test_a_taken_port_is_tried_again(own_server, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answers = iter([port, port])
        real = ports.free_port
        monkeypatch.setattr(ports, "free_port", lambda: next(answers, None) or real())
        server = own_server()
        assert server.port != port
        assert one(server, "select 1") == 1


def test_a_taken_fixed_port_is_an_error(pg18):
    with pytest.raises(Unavailable, match="no throw-away PostgreSQL 18") as caught:
        start_postgres(18, port=pg18.port, sources=("embedded",))
    assert "Address already in use" in caught.value.reason
