"""Drift on real servers: since a baseline, between a file and its server, between a primary and its standby."""

import json

import psycopg

from tests.fixtures.program import dbkit
from tests.rules import live_example

ONLY = "pg.setting-changed,pg.file-not-in-force,pg.standby-below-primary,pg.standby-behind"


def audit(*more, code=(0, 1), **env):
    done = dbkit("audit", *more, "--select", ONLY, "--format", "json", **env)
    assert done.returncode in code, done.stderr
    return json.loads(done.stdout)


def found(report, rule):
    return {(f["target"], f["object"]): f for f in report["findings"] if f["rule"] == rule}


def change(own, *statements):
    with psycopg.connect(own.dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_baseline_shows_what_changed_on_a_server_and_a_file_what_it_would_change(own_server, tmp_path):
    own = own_server({"work_mem": "8MB"})
    change(own, "create role app", "alter role app set jit = off", "alter system set random_page_cost = 2")
    baseline = tmp_path / "baseline.json"
    baseline.write_text(json.dumps(audit(DBKIT_DSN=own.dsn)))
    assert not audit("--baseline", str(baseline), DBKIT_DSN=own.dsn)["findings"]
    change(own, "alter system set work_mem = '16MB'", "alter system set max_connections = 77", "alter role app reset jit",
           "alter database postgres set work_mem = '1MB'", "select pg_reload_conf()")  # fmt: skip
    live_example.until(own, "select setting = '16384' from pg_settings where name = 'work_mem'", database="template1")
    report = audit("--baseline", str(baseline), DBKIT_DSN=own.dsn)
    changed = {name: f for (_, name), f in found(report, "pg.setting-changed").items()}
    assert set(changed) >= {"work_mem", "role app: jit", "database postgres: work_mem"}
    assert set(changed) <= {"work_mem", "role app: jit", "database postgres: work_mem", "random_page_cost"}
    assert "work_mem was 8MB, is 16MB (postgresql.auto.conf:" in changed["work_mem"]["message"]
    assert changed["work_mem"]["data"]["old"] == "8192"
    assert "jit of role app was off, is not set" in changed["role app: jit"]["message"]

    conf = tmp_path / "postgresql.conf"
    conf.write_text("work_mem = 9MB\nmax_wal_senders = 3\nlog_lock_waits = on\nlog_connections = on\n")
    report = audit("--pg-conf", str(conf), "--pg-version", str(own.major), "--dsn", own.dsn)
    told = {name: f for (_, name), f in found(report, "pg.file-not-in-force").items()}
    assert told["work_mem"]["data"]["takes"] == "nothing"  # ALTER SYSTEM beats it
    assert told["work_mem"]["severity"] == "warn"
    assert told["max_wal_senders"]["data"]["takes"] == "restart"
    assert told["log_lock_waits"]["data"]["takes"] == "reload"
    assert told["log_connections"]["data"]["takes"] == "new sessions"
    assert told["max_wal_senders"]["location"] == {"file": str(conf), "line": 2}
    assert "random_page_cost" not in told  # postgresql.auto.conf stays, whatever file is put in place
    report = audit("--pg-conf", str(conf), "--dsn", own.dsn)  # without --pg-version the server says it
    assert {f["version"] for f in report["files"]} == {str(own.major)}
    other = 33 - own.major
    done = dbkit("audit", "--pg-conf", str(conf), "--pg-version", str(other), "--dsn", own.dsn, "--select", ONLY)
    assert f"judged for PostgreSQL {other}, as --pg-version says; dsn is {own.major}" in done.stderr


def test_a_standby_is_held_against_its_primary_and_its_lag_is_seen_from_both_sides(own_server, replica, tmp_path):
    primary = own_server({"max_connections": "60"})
    standby = replica(primary, settings={"max_connections": "60", "hot_standby_feedback": "on"})
    (tmp_path / "dbkit.toml").write_text('[targets.one]\ndsn_env = "ONE"\n[targets.two]\ndsn_env = "TWO"\n')
    both = ("one", "two", "--config", str(tmp_path / "dbkit.toml"))
    env = {"ONE": primary.dsn, "TWO": standby.dsn}
    report = audit(*both, **env)
    assert not report["findings"]
    # The standby keeps running with what is too little only from the moment the primary has more; ours is told before.
    change(primary, "alter system set max_connections = 65")
    primary.restart()
    change(standby, "select pg_wal_replay_pause()")
    change(primary, "create table t as select repeat('x', 1000) from generate_series(1, 3000)")
    policy = tmp_path / "policy.yaml"
    policy.write_text("extends: default\nrules:\n  pg.standby-behind: {bytes: 100kB}\n")
    live_example.until(
        standby,
        "select pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) > 1000000",
        database="postgres",
    )
    report = audit(*both, "--policy", str(policy), **env)
    below = found(report, "pg.standby-below-primary")
    assert set(below) == {("two", "max_connections"), ("one", "max_connections")}
    assert "alter system set max_connections = '65'" in below["two", "max_connections"]["fix"]["text"]
    behind = found(report, "pg.standby-behind")
    assert {target for target, _ in behind} == {"one", "two"}
    assert "replay is paused" in behind["two", "this server"]["message"]
    # ALTER SYSTEM works on a standby; the record of `apply` does not.
    plan, script = tmp_path / "fix.json", tmp_path / "fix.sql"
    for file in (plan, script):
        dbkit(
            "audit",
            "--select",
            "pg.page-costs-inverted,pg.setting-off-policy",
            "--fix",
            str(file),
            DBKIT_DSN=standby.dsn,
        )
    done = dbkit("apply", str(plan), DBKIT_DSN=standby.dsn)
    assert (done.returncode, "--fix fix.sql" in done.stderr) == (4, True), done.stderr
    change(standby, *(s for s in script.read_text().splitlines() if s.startswith(("alter system", "select pg_"))))
    live_example.until(
        standby, "select setting = '1.1' from pg_settings where name = 'random_page_cost'", database="postgres"
    )
