"""`dbkit audit --pgbouncer-ini` as a user meets it: no server, one JSON, a patch that applies, errors with hints."""

import json
import subprocess

import pytest
from jsonschema import validate

from dbkit.report.schema import REPORT
from tests.fixtures.parts import needed
from tests.fixtures.program import dbkit

DOCUMENTED = """\
[databases]
applyforus_auth = host=auth-db port=5432 dbname=applyforus_auth
applyforus_users = host=users-db port=5432 dbname=applyforus_users
applyforus_jobs = host=jobs-db port=5432 dbname=applyforus_jobs

[pgbouncer]
listen_addr = *
listen_port = 6432
auth_type = scram-sha-256
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 25
min_pool_size = 5
reserve_pool_size = 5
reserve_pool_timeout = 3
max_db_connections = 100
server_idle_timeout = 600
server_lifetime = 3600
"""
"""S0 4.2 as printed."""
FLEET = {"pgbouncer.siblings-differ", "pgbouncer.poolers-over-server", "pgbouncer.peers-incomplete"}


@pytest.fixture
def ini(tmp_path):
    def write(text=DOCUMENTED, name="pgbouncer.ini"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def found(*arguments):
    done = dbkit("audit", "--format", "json", *arguments)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    validate(report, REPORT)
    return report


def test_the_documented_file_gets_the_right_findings(ini):
    """What S0 4.2 leaves out is found, what it writes is not."""
    report = found("--pgbouncer-ini", ini(), "--pgbouncer-version", "1.18")
    assert {f["rule"]: f["severity"] for f in report["findings"] if f["severity"] != "info"} == {
        "pgbouncer.no-user-source": "error",
        "pgbouncer.no-console-user": "warn",
        "pgbouncer.client-plaintext": "warn",
        "pgbouncer.server-unverified": "warn",
        "pgbouncer.prepared-statements": "warn",
        "pgbouncer.file-descriptors": "warn",
        "pgbouncer.wait-outlives-client": "warn",
    }
    assert all(f["fix"] for f in report["findings"])
    assert {"pgbouncer.differs", "pgbouncer.pool-over-server"} <= {p["rule"] for p in report["passed"]}
    (file,) = report["files"]
    assert (file["kind"], file["version"], file["loads"], file["entries"]) == ("pgbouncer.ini", "1.18", True, 15)
    assert file["errors"] == []
    assert file["settings"]["reserve_pool_timeout"] == {
        "raw": "3", "value": "3", "unit": "s", "file": file["path"], "line": 15, "occurrences": 1, "error": None,
    }  # fmt: skip
    assert file["databases"]["applyforus_jobs"] == {
        "host": "jobs-db", "port": "5432", "database": "applyforus_jobs", "force_user": "", "pool_size": "25",
        "min_pool_size": "5", "reserve_pool_size": "5", "pool_mode": "", "max_connections": "100",
    }  # fmt: skip


def test_three_hosts_are_not_one_server(ini, tmp_path):
    """S0 names three hosts with 100 each; on one host they would not fit 200, and two poolers do not on any."""
    one = DOCUMENTED.replace("users-db", "auth-db").replace("jobs-db", "auth-db")
    select = ("--select", "pgbouncer.pool-over-server")
    assert not found("--pgbouncer-ini", ini(), *select)["findings"]
    (finding,) = found("--pgbouncer-ini", ini(one), *select)["findings"]
    assert (finding["severity"], finding["data"]["total"], finding["data"]["max_connections"]) == ("error", 300, 200)
    figures = tmp_path / "connections.yaml"
    figures.write_text(
        "version: 1\nservers: {max_connections: 200, reserved: 3, origin: ours, available_at_least: 5,"
        " available_origin: S0 6.3, bands: {target: [60, 70], scale: 75, maximum: 85, origin: S2 1.4}}\n"
        "poolers: {processes: 2}\n"
    )
    report = found("--pgbouncer-ini", ini(), *select, "--connections", str(figures))
    assert {f["data"]["total"] for f in report["findings"]} == {200}
    assert len(report["findings"]) == 3


def test_several_files_are_held_against_each_other(ini):
    """Each fits 200 connections; together they do not, and one pools otherwise."""
    one = ini(DOCUMENTED.replace("users-db", "db").replace("jobs-db", "other"), "a.ini")
    two = ini(DOCUMENTED.replace("users-db", "db").replace("= transaction", "= session"), "b.ini")
    report = found("--pgbouncer-ini", one, "--pgbouncer-ini", two)
    assert [t["name"] for t in report["targets"]] == [one, two]
    assert [f["path"] for f in report["files"]] == [one, two]
    fleet = {(f["rule"], f["object"]): f for f in report["findings"] if f["rule"] in FLEET}
    assert fleet["pgbouncer.poolers-over-server", "db:5432"]["data"]["total"] == 200
    assert fleet["pgbouncer.poolers-over-server", "db:5432"]["severity"] == "error"
    assert fleet["pgbouncer.siblings-differ", "pool_mode"]["data"]["values"] == {one: "transaction", two: "session"}
    assert ("pgbouncer.poolers-over-server", "other:5432") not in fleet
    assert "pgbouncer.peers-incomplete" in {p["rule"] for p in report["passed"]}
    alike = found("--pgbouncer-ini", one, "--pgbouncer-ini", one)
    assert "pgbouncer.siblings-differ" in {p["rule"] for p in alike["passed"]}
    assert not {f["rule"] for f in found("--pgbouncer-ini", one)["findings"]} & FLEET


def test_a_postgresql_conf_gives_the_limit(ini, tmp_path):
    (tmp_path / "postgresql.conf").write_text("max_connections = 60\n")
    report = found(
        "--pgbouncer-ini",
        ini(),
        "--pg-conf",
        str(tmp_path / "postgresql.conf"),
        "--select",
        "pgbouncer.pool-over-server",
    )
    assert {f["data"]["max_connections"] for f in report["findings"] if f["rule"].startswith("pgbouncer")} == {60}
    assert {f["kind"] for f in report["files"]} == {"pgbouncer.ini", "postgresql.conf"}


def test_a_patch_applies_and_leaves_less(ini, tmp_path):
    file = ini(DOCUMENTED.replace("pool_mode = transaction", "pool_mode = session").replace("= 25", "= 90"))
    patch = tmp_path / "fix.patch"
    done = dbkit("audit", "--pgbouncer-ini", file, "--fix", str(patch))
    assert done.returncode == 1
    assert "patch" in done.stderr
    subprocess.run([needed("patch"), "-s", file, str(patch)], check=True)
    before, after = found("--pgbouncer-ini", ini(DOCUMENTED, "other.ini")), found("--pgbouncer-ini", file)
    assert after["files"][0]["settings"]["pool_mode"]["value"] == "transaction"
    assert after["files"][0]["settings"]["default_pool_size"]["value"] == "25"
    assert len(after["findings"]) < len(before["findings"])


def test_a_file_that_does_not_load_is_the_only_thing_said(ini):
    report = found("--pgbouncer-ini", ini("[pgbouncer]\nlog_connections = on\nlog_pool_errors = 1\n"))
    assert [(f["rule"], f["location"]["line"]) for f in report["findings"]] == [
        ("pgbouncer.file-rejected", 2),
        ("pgbouncer.file-rejected", 3),
    ]
    assert "write 1 or 0" in report["findings"][0]["message"]
    assert "did you mean log_pooler_errors?" in report["findings"][1]["message"]
    assert not report["files"][0]["loads"]
    assert [(e["line"], e["at"]) for e in report["files"][0]["errors"]] == [(2, 2)]
    late = found("--pgbouncer-ini", ini("[pgbouncer]\nlog_pool_errors = 1\n\n\nverbose = 1\n"))
    # The log counts on over the blank lines; the finding stands where the entry does.
    assert [(e["line"], e["at"]) for e in late["files"][0]["errors"]] == [(4, 2), (4, 2)]
    assert late["findings"][0]["location"]["line"] == 2
    assert any("does not load" in s["reason"] for s in report["skipped"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pgbouncer-ini", "/nonexistent.ini"], "cannot read /nonexistent.ini"),
        (["--pgbouncer-version", "1.18"], "no PgBouncer is looked at"),
        (["--pgbouncer-ini", "{ini}", "--pgbouncer-version", "0.9"], "PgBouncer 0.9 is not known"),
        (["--pgbouncer-ini", "{ini}", "--reload-check"], "compares a file with a running pooler"),
        (["--pgbouncer-ini", "{ini}", "--connections", "{ini}"], "not valid YAML"),
        (["--pgbouncer-ini", "{ini}", "--fix", "x.sql"], "no .sql file"),
        (["--pgbouncer-ini", "{ini}", "--select", "pgbouncer.nope"], "no rule is called"),
        (["--dsn", "pgbouncer://monitoring:canary7"], "its port is not a number"),
        (["--dsn", "pgbouncer://monitoring:canary7@host:canary7"], "its port is not a number"),
        (["--dsn", "pgbouncer://monitoring@host:canary7&x=1"], "cannot be read"),
    ],
)
def test_bad_input_is_one_error(ini, tmp_path, arguments, said):
    file = ini()
    done = dbkit("audit", *[a.replace("{ini}", file).replace("x.sql", str(tmp_path / "x.sql")) for a in arguments])
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("error:") == 1
    assert "canary" not in done.stdout + done.stderr


def test_no_password_of_the_file_is_shown(ini):
    text = DOCUMENTED.replace("dbname=applyforus_auth", "dbname=a user=u password=canary'7 nope=1")
    text += "auth_ldap_options = ldapbindpasswd=canary7\n-- password=canary7\n"
    for fmt in ("text", "json", "html", "sarif"):
        done = dbkit("audit", "--pgbouncer-ini", ini(text), "--format", fmt, "-v")
        assert "canary" not in done.stdout + done.stderr


@pytest.mark.parametrize("fmt", ["text", "json", "html", "sarif", "junit", "markdown", "github", "gitlab"])
def test_any_bytes_are_reported_in_every_format(tmp_path, fmt):
    (tmp_path / "odd.ini").write_bytes(b"\xff\xfe[pgbouncer]\n\x1b[31m=\xe9\n[databases]\n<b>=host=\xff\n\x00")
    done = dbkit("audit", "--pgbouncer-ini", str(tmp_path / "odd.ini"), "--format", fmt)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout
