"""`dbkit doctor`: what a role can do and see, and the GRANT for the rest, which must work as printed."""

import json
import re

import pytest

from tests.cli.test_audit import GONE, config
from tests.fixtures.program import dbkit


def examined(dsn):
    done = dbkit("doctor", "--format", "json", DBKIT_DSN=dsn)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["targets"][0]


def checks(dsn):
    return {c["name"]: c for c in examined(dsn)["checks"]}


def test_a_superuser_may_do_everything(db):
    found = checks(db.dsn)
    held = {name for name, check in found.items() if check["held"]}
    assert held >= {
        "connects directly", "compares wanted indexes", "sees other sessions", "sees all settings",
        "reads column statistics", "builds indexes", "keeps job state", "counts index scans", "supported version",
    }  # fmt: skip


def test_every_grant_opens_what_it_says(db):
    db.psql("create table t (a int)")
    db.execute(f"revoke temporary on database {db.name} from public")
    _, dsn = db.role()
    closed = {name: c["opens"] for name, c in checks(dsn).items() if not c["held"]}
    assert set(closed) >= {
        "compares wanted indexes", "sees other sessions", "sees all settings", "reads column statistics",
        "builds indexes", "keeps job state",
    }  # fmt: skip
    for opens in closed.values():
        assert opens
        if opens.startswith(("grant", "create extension pgstattuple", "create extension pg_trgm")):
            db.psql(opens)
    opened = checks(dsn)
    for name, opens in closed.items():
        if opens.startswith("grant"):
            assert opened[name]["held"], (name, opens)
    assert opened["pg_trgm"]["held"]
    assert opened["pgstattuple"]["opens"].startswith("grant pg_stat_scan_tables")
    db.psql(opened["pgstattuple"]["opens"])
    assert checks(dsn)["pgstattuple"]["held"]


@pytest.mark.pg(18)
def test_a_pooler_is_told_apart(db, pgbouncer):
    pooler = pgbouncer(db.server, pool_mode="session")
    found = checks(pooler.dsn_for(db.name))
    assert not found["connects directly"]["held"]
    assert "5432" in found["connects directly"]["opens"]
    assert checks(db.dsn)["connects directly"]["held"]


@pytest.mark.pg(18)
def test_a_standby_is_told_apart(own_server, replica):
    primary = own_server()
    standby = replica(primary)
    found = examined(standby.dsn)
    assert found["standby"]
    assert not {c["name"]: c["held"] for c in found["checks"]}["builds indexes"]
    assert examined(primary.dsn)["standbys"] == 1


@pytest.mark.pg(18)
def test_configuration_is_shown_with_its_source_and_no_secret(db, tmp_path):
    file = config(tmp_path, here='indexes = ["sql"]\nreplicas = ["gone"]', gone="")
    done = dbkit("doctor", "here", "--config", file, URL_HERE=db.dsn, PGPASSWORD="s3cret", DBKIT_POLICY="default")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"target here = postgres, address in URL_HERE, indexes sql, replicas gone +\(.*dbkit.toml\)", done.stdout
    )
    assert "policy = default  (DBKIT_POLICY)" in done.stdout
    assert "PGPASSWORD = set, not shown" in done.stdout
    assert "s3cret" not in done.stdout
    assert db.server.password not in done.stdout


@pytest.mark.pg(18)
def test_the_others_are_examined_when_one_cannot_be_reached(db, tmp_path):
    file = config(tmp_path, here="", gone="")
    done = dbkit("doctor", "gone", "here", "--config", file, URL_HERE=db.dsn, URL_GONE=GONE)
    assert done.returncode == 3
    assert "server: PostgreSQL 18" in done.stdout
    assert done.stderr.count("error:") == 1
    done = dbkit("doctor", "gone", "here", "--config", file, "--format", "json", URL_HERE=db.dsn, URL_GONE=GONE)
    assert done.returncode == 3
    assert [("error" in t) for t in json.loads(done.stdout)["targets"]] == [True, False]
