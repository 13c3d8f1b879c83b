"""Settings that keep a server from starting though each line is good: our verdict beside a real start on 15 and 18."""

import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from dbkit.ephemeral import Unavailable
from dbkit.ephemeral.account import unprivileged
from dbkit.ephemeral.postgres import start_postgres
from dbkit.postgres.settings import documents, offline
from dbkit.postgres.settings.scene import Size
from tests.fixtures.parts import missing

FAIL = (
    "log_statement_stats = on\nlog_parser_stats = on",
    "log_executor_stats = on\nlog_statement_stats = on",
    "LOG_STATEMENT_STATS = on\nlog_planner_stats = on\nlog_statement_stats = off",
    "recovery_target_xid = '5'\nrecovery_target_name = 'a'",
    "recovery_target_xid = '5'\nrecovery_target_name = ''",
    "recovery_target_name = 'a'\nrecovery_target_xid = ''\nrecovery_target_lsn = '0/1'",
    "recovery_target = 'immediate'\nrecovery_target_time = '2020-01-01'",
    "max_connections = 200000\nmax_worker_processes = 100000",
    "max_connections = 262143",
    "shared_memory_type = sysv\nhuge_pages = on",
    "listen_addresses = '\"a'",
    "listen_addresses = 'localhost,'",
    "listen_addresses = 'localhost localhost'",
    "listen_addresses = ''\nunix_socket_directories = ''",
    "listen_addresses = ' '\nunix_socket_directories = ' '",
    "unix_socket_directories = '\"/tmp'",
    "unix_socket_directories = '/tmp,,/tmp'",
    f"unix_socket_directories = '/tmp/{'d' * 99}'",
    "wal_level = minimal\nmax_wal_senders = 0\narchive_mode = always",
    "wal_level = minimal",
    "max_wal_size = 31MB",
    "min_wal_size = 31MB",
    "superuser_reserved_connections = 20\nmax_connections = 20",
    "wal_consistency_checking = 'nonsense'",
)
START = (
    (
        "log_statement_stats = on\nlog_statement_stats = off\nlog_planner_stats = on\nrecovery_target_xid = ''\n"
        "recovery_target_name = 'a'\nshared_preload_libraries = 'a,,b'\nmin_wal_size = 2GB\nmax_wal_size = 1GB\n"
        "superuser_reserved_connections = 19\nmax_connections = 20\nautovacuum_max_workers = 100\nmax_files_per_process = 64\n"
        "ident_file = '/nowhere'\nmax_wal_senders = 0\n"
        "wal_level = minimal\nhot_standby = on\nssl_min_protocol_version = 'TLSv1.3'\nssl_max_protocol_version = 'TLSv1.2'"
    ),
    "log_statement_stats = on\nlog_planner_stats = off\nlisten_addresses = ''",
)


@pytest.fixture(scope="module")
def stopped(pg_major, tmp_path_factory):
    """The folder of a server of this version that does not run, its program and the account it runs as."""
    try:
        made = start_postgres(pg_major, sources=("embedded", "local"))
    except Unavailable as error:
        missing(f"postgres{pg_major}", " ".join(error.reason.split()))
    with made as server:
        data = server.directory.with_name("stopped")
        program = Path(f"/proc/{server.pid}/exe").readlink()
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute("checkpoint")
        shutil.copytree(server.directory, data, ignore=shutil.ignore_patterns("postmaster.pid", ".s.*"))
        account = unprivileged()
        if account:
            for path in (data, *data.rglob("*")):
                shutil.chown(path, account.uid, account.gid)
        data.chmod(0o700)
        # No TCP, and the socket in its own folder: no other server of a busy machine can be in the way.
        own = f"listen_addresses = ''\nunix_socket_directories = '\"{data}\"'\nlogging_collector = off\n"
        written = (data / "postgresql.conf").read_text() + f"\n{own}"
        yield data, program, written, {"user": account.uid, "group": account.gid} if account else {}


def starts(data, program, who):
    """Whether it comes up, and what it says."""
    with subprocess.Popen(
        [program, "-D", data], stderr=subprocess.STDOUT, stdout=subprocess.PIPE, cwd="/", extra_groups=[], text=True, **who
    ) if who else subprocess.Popen(
        [program, "-D", data], stderr=subprocess.STDOUT, stdout=subprocess.PIPE, cwd="/", text=True
    ) as running:  # fmt: skip
        said = []
        for line in running.stdout:
            said.append(line)
            if "ready to accept" in line:
                running.send_signal(signal.SIGINT)
                return True, said
    return False, said


@pytest.mark.parametrize("lines", [*FAIL, *START], ids=lambda text: text[:40])
def test_a_start_comes_out_as_we_say(lines, stopped, pg_major):
    data, program, written, who = stopped
    file = data / "postgresql.conf"
    file.write_text(f"{written}\n{lines}\n")
    scene = offline.scene_of(file, pg_major, Size(), documents.load())
    ours = offline.as_data(scene, scene.conf)
    came, said = starts(data, program, who)
    assert came == (lines in START), said
    assert ours["starts"] == came, (ours["errors"], said)


def test_tls_versions_the_wrong_way_round(tmp_path):
    """Run once by hand on 15 with a certificate; the throw-away servers have none."""
    file = tmp_path / "postgresql.conf"
    file.write_text("ssl = on\nssl_min_protocol_version = 'TLSv1.3'\nssl_max_protocol_version = 'TLSv1.2'\n")
    scene = offline.scene_of(file, 18, Size(), documents.load())
    assert not offline.as_data(scene, scene.conf)["starts"]
