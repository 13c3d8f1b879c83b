"""What breaks and what changes on the upgrade from one of 14 to 18 to a newer one, beside the release notes."""

import pytest

from dbkit.postgres.conf import parameters
from dbkit.postgres.settings import documents, offline, upgrade
from dbkit.postgres.settings.scene import Size

# Line, the last version that takes it, and a word of what to do instead.
GONE = [
    ("stats_temp_directory = 'pg_stat_tmp'", 14, "shared memory"),
    ("promote_trigger_file = '/tmp/x'", 15, "pg_promote"),
    ("vacuum_defer_cleanup_age = 100", 15, "hot_standby_feedback"),
    ("old_snapshot_threshold = 1h", 16, "idle_in_transaction_session_timeout"),
    ("db_user_namespace = off", 16, "nothing like it"),
    ("trace_recovery_messages = log", 16, "nothing like it"),
    ("force_parallel_mode = off", 17, "debug_parallel_query"),
]
# Still taken by all: renamed with the old name kept, or a Boolean that became an enum or a list.
KEPT = """
ssl_ecdh_curve = 'prime256v1'
wal_compression = on
log_connections = on
log_connections = 'yes'
autovacuum_max_workers = 5
sort_mem = 4MB
wal_level = hot_standby
effective_io_concurrency = 200
maintenance_work_mem = 64MB
password_encryption = md5
"""
# Name, the first version with the new default, whether it is worth a warning.
DEFAULTS = {
    "hash_mem_multiplier": (15, True),
    "log_checkpoints": (15, False),
    "log_autovacuum_min_duration": (15, False),
    "vacuum_buffer_usage_limit": (17, False),
    "effective_io_concurrency": (18, False),
    "maintenance_io_concurrency": (18, False),
}
PAIRS = [(a, b) for a in parameters.VERSIONS for b in parameters.VERSIONS if a < b]


def scene(folder, text, major, hba=None, ident=None):
    (folder / "postgresql.conf").write_text(text)
    for name, held in (("pg_hba.conf", hba), ("pg_ident.conf", ident)):
        if held is not None:
            (folder / name).write_text(held)
    return offline.scene_of(folder / "postgresql.conf", major, Size(), documents.load())


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_what_is_gone(old, new, tmp_path):
    held = scene(tmp_path, "".join(f"{line}\n" for line, *_ in GONE), old)
    said = dict(upgrade.breaks(held, new))
    assert said.keys() == {line.split()[0] for line, last, _ in GONE if old <= last < new}
    assert all(word in said.get(line.split()[0], word) for line, _, word in GONE)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_what_is_kept(old, new, tmp_path):
    held = scene(tmp_path, KEPT, old)
    assert held.conf.loads
    assert not list(upgrade.breaks(held, new))


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_defaults_that_change(old, new, tmp_path):
    said = {name: warn for name, _, warn in upgrade.changes(scene(tmp_path, "", old), new)}
    first = {
        name: warn for name, (since, warn) in DEFAULTS.items() if old < since <= new and parameters.find(name, old)
    }
    assert said == first


# Compiled in by whoever built the server, or what another build or package had.
OF_THE_BUILD = {
    "krb_server_keyfile", "server_version", "server_version_num", "unix_socket_directories", "ssl_library",
    "shared_buffers", "wal_compression", "log_connections", "data_checksums",
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_no_default_changed_besides(old, new):
    """A parameter that a later collection brings with another default must be named above."""
    before, after = parameters.load(old), parameters.load(new)
    moved = {name for name in before.keys() & after.keys() if before[name].boot != after[name].boot}
    assert moved - OF_THE_BUILD == {n for n, (since, _) in DEFAULTS.items() if old < since <= new and n in before}


def test_what_means_something_else(tmp_path):
    hba = "local /app all peer map=m\nlocal all /^u scram-sha-256\nlocal app app peer\n"
    held = scene(tmp_path, "password_encryption = md5\n", 15, hba, "m alice all\nm bob +staff\nm eve /x\nm joe joe\n")
    said = {name: text for name, text, _ in upgrade.meanings(held, 18)}
    assert said.keys() == {
        "pg_hba.conf:1", "pg_hba.conf:2", "pg_ident.conf:1", "pg_ident.conf:2", "pg_ident.conf:3", "password_encryption"
    }  # fmt: skip
    assert "every role" in said["pg_ident.conf:1"]
    assert not list(upgrade.meanings(held, 15))
    assert {name for name, *_ in upgrade.meanings(held, 17)} == said.keys() - {"password_encryption"}
    assert not list(upgrade.meanings(scene(tmp_path, "", 16, hba), 17))
