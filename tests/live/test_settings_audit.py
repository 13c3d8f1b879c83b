"""Settings of real servers: audited with and without rights, mended by a plan, restarted, and clean the second time."""

import json
import re
import subprocess

import psycopg
import pytest

from dbkit.plan import load
from dbkit.rules import REGISTRY
from tests.fixtures.parts import needed
from tests.fixtures.program import dbkit
from tests.rules import live_example

MACHINE = ("--memory", "4GB", "--cpus", "2")
SETTINGS = ("--ignore", "pg.index", "--ignore", "pg.tls-off", "--ignore", "pg.hba", "--ignore", "pg.checksums-off")
PLANTED = """
max_connections = 70
fsync = off
full_page_writes = off
work_mem = 256MB
work_mem = 128MB
random_page_cost = 4
statement_timeout = 30s
enable_nestloop = off
log_hostname = on
"""
NAMES = {"fsync", "full_page_writes", "work_mem", "random_page_cost", "statement_timeout", "enable_nestloop"}


def write(own, text):
    with (own.directory / "postgresql.conf").open("a") as stream:
        stream.write(text)


def audit(dsn, *more):
    done = dbkit("audit", *MACHINE, *SETTINGS, "--format", "json", *more, DBKIT_DSN=dsn)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout), done


def objects(report, *rules):
    return {f["object"] for f in report["findings"] if f["rule"] in rules}


@pytest.fixture
def planted(own_server):
    own = own_server()
    write(own, PLANTED)
    with psycopg.connect(own.dsn, autocommit=True) as connection:
        connection.execute("create role app login password 'app-secret'")
        connection.execute("create role blind login password 'blind-secret'")
        connection.execute("alter role app set work_mem = '1GB'")
        connection.execute("alter role blind set work_mem = '77MB'")
        connection.execute("alter database postgres set jit = on")
    own.restart()
    return own


def as_role(own, role):
    return own.dsn.replace(f"{own.user}:{own.password}@", f"{role}:{role}-secret@")


def test_a_plan_mends_what_was_planted_and_the_second_audit_is_clean(planted, tmp_path):
    file = tmp_path / "fix.json"
    report, done = audit(planted.dsn, "--fix", str(file))
    found = objects(report, *REGISTRY) | {f["object"] for f in report["findings"]}
    assert found >= NAMES
    assert "128MB" in next(
        f["message"] for f in report["findings"] if f["rule"] == "pg.conf-dead-line" and f["object"] == "work_mem"
    )
    overrides = [f for f in report["findings"] if f["rule"] == "pg.setting-overridden"]
    assert {f["data"]["role"] or f["data"]["database"] for f in overrides} == {"app", "blind", "postgres"}
    assert {f["severity"] for f in overrides if f["data"]["role"] == "app"} == {"warn"}
    plan = load(file)
    assert {s.action for s in plan.steps} == {"alter-system", "reload-settings"}
    assert plan.steps[-1].action == "reload-settings"
    assert "wait for a restart" in plan.steps[-1].note
    done = dbkit("apply", str(file), "--format", "json", DBKIT_DSN=planted.dsn)
    assert done.returncode == 0, done.stderr
    assert {r["outcome"] for r in json.loads(done.stdout)["results"]} == {"ok"}
    done = dbkit("apply", str(file), "--format", "json", DBKIT_DSN=planted.dsn)
    assert done.returncode == 0, done.stderr
    report, _ = audit(planted.dsn)
    assert "shared_preload_libraries" in objects(report, "pg.setting-pending-restart")
    planted.restart()
    report, _ = audit(planted.dsn)
    left = {(f["rule"], f["object"]) for f in report["findings"] if f["severity"] != "info"}
    # Dead lines stay in the file (ALTER SYSTEM does not edit it); the role's own work_mem is for a person to judge.
    assert {rule for rule, _ in left} <= {"pg.conf-dead-line", "pg.setting-overridden"}, left
    assert not objects(report, "pg.setting-off-policy", "pg.memory-overcommit", "pg.setting-pending-restart")


def test_a_role_without_rights_sees_the_server_and_not_its_own_session(planted):
    report, _ = audit(as_role(planted, "blind"))
    server = report["servers"][0]["settings"]
    assert server.get("work_mem", {}).get("value") != str(77 * 1024)
    reasons = {s["rule"]: s["reason"] for s in report["skipped"]}
    assert "grant select on pg_file_settings to" in reasons["pg.conf-refused"]
    assert "pg_read_all_stats" in reasons["pg.connections-near-limit"]
    passed = {p["rule"] for p in report["passed"]}
    assert not passed & set(reasons)
    with psycopg.connect(planted.dsn, autocommit=True) as connection:
        connection.execute("grant pg_monitor to blind")
        connection.execute("grant select on pg_file_settings to blind")
        connection.execute("grant execute on function pg_show_all_file_settings() to blind")
    report, _ = audit(as_role(planted, "blind"))
    assert report["servers"][0]["settings"]["work_mem"]["value"] == str(128 * 1024)
    assert "pg.conf-refused" not in {s["rule"] for s in report["skipped"]}


def test_a_stale_or_altered_plan_is_refused(planted, tmp_path):
    file = tmp_path / "fix.json"
    audit(planted.dsn, "--select", "pg.fsync-off", "--fix", str(file))
    data = json.loads(file.read_text())
    data["steps"][0]["sql"] = "alter system set fsync = 'on'; drop table t"
    (tmp_path / "bad.json").write_text(json.dumps(data))
    done = dbkit("apply", str(tmp_path / "bad.json"), DBKIT_DSN=planted.dsn)
    assert done.returncode == 2, done.stderr
    assert "changed by hand" in done.stderr
    audit(planted.dsn, "--select", "pg.page-costs,pg.setting-off-policy", "--fix", str(file))
    with psycopg.connect(planted.dsn, autocommit=True) as connection:
        connection.execute("alter system set random_page_cost = 3")
        connection.execute("select pg_reload_conf()")
    live_example_until(planted, "select setting = '3' from pg_settings where name = 'random_page_cost'")
    done = dbkit("apply", str(file), DBKIT_DSN=planted.dsn)
    assert done.returncode == 4, done.stderr
    assert "random_page_cost is 3" in done.stderr


def live_example_until(own, query):
    with psycopg.connect(own.dsn, autocommit=True) as connection:
        connection.execute("create database example")
    live_example.until(own, query)


def test_a_role_without_the_right_is_told_the_grant(planted, tmp_path):
    file = tmp_path / "fix.json"
    audit(planted.dsn, "--select", "pg.fsync-off", "--fix", str(file))
    done = dbkit("apply", str(file), DBKIT_DSN=as_role(planted, "app"))
    assert done.returncode == 3, done.stderr
    assert "grant" in done.stderr


def test_the_script_and_the_patch_mend_as_the_plan_does(planted, tmp_path):
    script, patch = tmp_path / "fix.sql", tmp_path / "fix.patch"
    conf = planted.directory / "postgresql.conf"
    done = dbkit("audit", "--pg-conf", str(conf), "--pg-version", str(planted.major), *MACHINE, "--fix", str(patch))
    assert done.returncode == 1, done.stderr
    applied = subprocess.run(
        [needed("patch"), "-d", str(planted.directory), "-p0", "-i", str(patch)], capture_output=True, text=True
    )
    assert applied.returncode == 0, applied.stdout
    own = conf.stat()
    assert own.st_size
    done = dbkit(
        "audit",
        "--pg-conf",
        str(conf),
        "--pg-version",
        str(planted.major),
        *MACHINE,
        "--ignore",
        "pg.tls-off",
        "--fail-on",
        "info",
    )
    assert done.returncode == 0, done.stdout
    give(planted, conf)
    planted.restart()
    report, _ = audit(planted.dsn, "--fix", str(script))
    assert not objects(report, "pg.setting-off-policy", "pg.fsync-off", "pg.conf-dead-line", "pg.conf-refused")


def give(own, file):
    """`patch` writes a new file: it belongs to whom the old one did."""
    import os

    owner = own.directory.stat()
    os.chown(file, owner.st_uid, owner.st_gid)


@pytest.mark.pg(18)
def test_nodes_of_one_run_are_compared(own_server, tmp_path):
    one, two = own_server(), own_server({"work_mem": "64MB"})
    (tmp_path / "dbkit.toml").write_text(
        '[targets.one]\ndsn_env = "ONE"\nmemory = "2GB"\ncpus = 2\n[targets.two]\ndsn_env = "TWO"\n'
    )
    done = dbkit("audit", "one", "two", "--select", "pg.setting-differs-between-nodes", "--config",
                 str(tmp_path / "dbkit.toml"), "--format", "json", "--fail-on", "never", ONE=one.dsn, TWO=two.dsn)  # fmt: skip
    found = json.loads(done.stdout)["findings"]
    assert {(f["target"], f["object"]) for f in found} == {("one", "work_mem"), ("two", "work_mem")}
    assert "64MB on two" in next(f["message"] for f in found if f["target"] == "one")


@pytest.mark.pg(18)
def test_checksums_and_tablespaces(own_server):
    own = own_server()
    report, _ = audit(own.dsn, "--select", "pg.tablespace-inside")
    assert [p["rule"] for p in report["passed"]] == ["pg.tablespace-inside"]
    folder = own.directory / "inside"
    folder.mkdir()
    give(own, folder)
    with psycopg.connect(own.dsn, autocommit=True) as connection:
        connection.execute(f"create tablespace here location '{folder}'")
    report, _ = audit(own.dsn, "--select", "pg.tablespace-inside")
    assert objects(report, "pg.tablespace-inside") == {"here"}
    done = dbkit("audit", "--select", "pg.checksums-off", "--format", "json", DBKIT_DSN=own.dsn)
    with psycopg.connect(own.dsn) as connection:
        held = connection.execute("show data_checksums").fetchone()[0]
    assert (held == "on") == (not json.loads(done.stdout)["findings"])


def test_no_secret_is_shown(planted):
    _, done = audit(planted.dsn)
    assert planted.password not in done.stdout + done.stderr
    assert not re.search("app-secret|blind-secret", done.stdout)
