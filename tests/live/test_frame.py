"""What the frame does around a test: the environment, missing parts, and failures one can look into."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fixtures import environment
from tests.fixtures.parts import missing

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = [part for name in ("parts", "servers", "databases") for part in ("-p", f"tests.fixtures.{name}")]


def run(folder, code, **variables):
    (folder / "test_it.py").write_text(code)
    (folder / "pytest.ini").write_text("[pytest]\n")
    # A run of its own: under xdist it would otherwise join the servers of the run it is part of.
    own = ("PYTEST_", "DBKIT_REQUIRE")
    alone = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *PLUGINS, "--rootdir", str(folder), str(folder)],
        cwd=ROOT,
        env=alone | variables,
        text=True,
        capture_output=True,
    )


def test_a_missing_part_skips_or_fails_where_it_is_required(monkeypatch):
    monkeypatch.setenv("DBKIT_REQUIRE", "chromium, pgbouncer")
    with pytest.raises(pytest.skip.Exception, match="postgres15: not installed"):
        missing("postgres15", "not installed")
    with pytest.raises(pytest.fail.Exception, match="pgbouncer is required"):
        missing("pgbouncer", "not installed")


def test_skips_are_summed_up_with_their_reasons(tmp_path):
    code = "from tests.fixtures.parts import missing\ndef test_a(): missing('mongo', 'no mongod')\ntest_b = test_a\n"
    done = run(tmp_path, code)
    assert done.returncode == 0
    assert re.search(r"not tested.*\n   2 x mongo: no mongod", done.stdout)
    done = run(tmp_path, code, DBKIT_REQUIRE="mongo")
    assert done.returncode == 1
    assert "mongo is required (DBKIT_REQUIRE) and cannot be had: no mongod" in done.stdout


def test_a_version_that_is_not_there_is_a_skip_with_reason(tmp_path):
    code = "import pytest\n@pytest.mark.pg(18)\ndef test_a(pg): pass\n"
    code += "from tests.fixtures import servers\nservers.start_postgres = lambda *a, **k: start(*a, **k)\n"
    code += "from dbkit.ephemeral.postgres import start_postgres as real\n"
    code += "def start(major, **k): return real(major, sources=('dsn',), **k)\n"
    done = run(tmp_path, code)
    assert "1 skipped" in done.stdout, done.stdout
    assert "postgres18: dsn: DBKIT_TEST_POSTGRES_DSN is not set" in done.stdout
    assert run(tmp_path, code, DBKIT_REQUIRE="postgres18").returncode == 1


def test_a_failed_test_keeps_its_database_and_tells_how_to_connect(pg18, tmp_path):
    code = (
        "import pytest\n@pytest.mark.pg(18)\ndef test_a(db):\n    db.psql('create table seen ()')\n    assert False\n"
    )
    done = run(tmp_path, code, DBKIT_TEST_KEEP="4")
    assert done.returncode == 1
    line = re.search(r"database of this test.*\n(psql .*)\n", done.stdout)
    assert line, done.stdout
    assert pg18.password not in done.stdout
    folder = Path(re.search(r"passfile=(\S+)/pgpass", line[1])[1])
    environment_path = f"{pg18.binaries.folder}{os.pathsep}{os.environ['PATH']}"
    looked = subprocess.run(
        ["sh", "-c", f"{line[1]} -Atc '\\dt'"],
        env={**os.environ, "PATH": environment_path},
        text=True,
        capture_output=True,
    )
    assert "seen" in looked.stdout, looked.stderr
    until = time.monotonic() + 20
    while folder.exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not folder.exists()


def test_a_passed_test_drops_its_database_and_roles(tmp_path, pg18):
    code = (
        "import pytest\npytestmark = pytest.mark.pg(18)\nseen = []\n"
        "def test_a(db):\n    seen.extend([db.name, db.role('superuser')[0], db.connect()])\n"
        "def test_b(pg, db):\n"
        "    names = [n for (n,) in db.execute('select datname from pg_database union select rolname from pg_roles')]\n"
        "    assert len(seen) == 3 and not {seen[0], seen[1]} & set(names) and seen[2].closed\n"
    )
    done = run(tmp_path, code)
    assert done.returncode == 0, done.stdout


def test_settings_of_the_developer_do_not_reach_the_tests(monkeypatch):
    for name in ("DBKIT_POLICY", "PGHOST", "PGSERVICE", "DATABASE_URL"):
        monkeypatch.setenv(name, "mine")
    for name in ("DBKIT_REQUIRE", "DBKIT_TEST_KEEP", "DBKIT_POSTGRES_BIN"):
        monkeypatch.setenv(name, "5")
    environment.clear()
    assert not {"DBKIT_POLICY", "PGHOST", "PGSERVICE", "DATABASE_URL"} & set(os.environ)
    assert {"DBKIT_REQUIRE", "DBKIT_TEST_KEEP", "DBKIT_POSTGRES_BIN"} <= set(os.environ)
