"""`dbkit audit --pg-conf` as a user meets it: the documented text, the JSON of a file, patches, scripts, bad input."""

import json
import os
import subprocess

import pytest
import yaml

from tests.fixtures.parts import needed
from tests.fixtures.program import dbkit

DOCUMENT = """\
shared_buffers = 4GB                    -- 25% of RAM
effective_cache_size = 12GB             -- 75% of RAM
work_mem = 256MB                        -- per query
maintenance_work_mem = 1GB              -- VACUUM, CREATE INDEX

max_connections = 200
connection_pooling = 'PgBouncer'        -- external pooler

wal_buffers = 64MB
checkpoint_completion_target = 0.9
max_wal_size = 4GB
min_wal_size = 1GB
random_page_cost = 1.1                  -- SSD
effective_io_concurrency = 200          -- SSD
default_statistics_target = 100
max_parallel_workers_per_gather = 4
max_parallel_workers = 8
max_parallel_maintenance_workers = 4
log_min_duration_statement = 1000       -- queries over 1 s
log_checkpoints = on
log_connections = on
log_disconnections = on
log_lock_waits = on
"""
TIER = ("--memory", "16GB", "--cpus", "4")


@pytest.fixture
def conf(tmp_path):
    file = tmp_path / "postgresql.conf"
    file.write_text(DOCUMENT)
    return file


def audit(file, *more):
    done = dbkit("audit", "--pg-conf", str(file), "--format", "json", *more)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout), done


@pytest.mark.parametrize("version", ["14", "15", "18"])
def test_the_documented_text_is_refused_repaired_and_then_good(conf, version):
    report, done = audit(conf, "--pg-version", version, *TIER)
    assert done.returncode == 1
    (file,) = report["files"]
    assert (file["kind"], file["version"], file["loads"], file["starts"]) == ("postgresql.conf", version, False, False)
    dashes = [n for n, line in enumerate(DOCUMENT.splitlines(), 1) if "--" in line]
    said = [e["line"] for e in (*file["errors"], *file["further"]) if e["name"] is None]
    assert said == dashes  # pg_file_settings and a reload say the first, a start says them all
    assert [e["line"] for e in file["errors"]] == dashes[:1]
    refused = [f for f in report["findings"] if f["rule"] == "pg.conf-refused"]
    assert {f["location"]["line"] for f in refused} == set(dashes)
    assert all("comments begin with #" in f["message"] for f in refused if f["object"] != "connection_pooling")
    assert "PgBouncer" in next(f["message"] for f in refused if f["object"] == "connection_pooling")
    off = {f["object"]: f for f in report["findings"] if f["rule"] == "pg.setting-off-policy"}
    assert {"work_mem", "max_parallel_workers", "max_parallel_workers_per_gather"} <= set(off)
    assert not {"shared_buffers", "effective_cache_size", "maintenance_work_mem", "max_connections"} & set(off)
    assert "the document says 8" in off["max_parallel_workers"]["message"]
    (sum_,) = [f for f in report["findings"] if f["rule"] == "pg.memory-overcommit"]
    factor = "" if version == "14" else " x 2 hash_mem_multiplier"
    assert f"200 connections x 256MB work_mem{factor}" in sum_["message"]
    patch = conf.parent / "fix.patch"
    done = dbkit("audit", "--pg-conf", str(conf), "--pg-version", version, *TIER, "--fix", str(patch))
    assert f"patch -d {conf.parent} -p0" in done.stderr
    applied = subprocess.run(
        [needed("patch"), "-d", str(conf.parent), "-p0", "-i", str(patch)], capture_output=True, text=True
    )
    assert applied.returncode == 0, applied.stdout
    report, _ = audit(conf, "--pg-version", version, *TIER)
    assert report["files"][0]["loads"]
    assert {f["rule"] for f in report["findings"]} <= {"pg.tls-off", "pg.log-prefix-blind"}, report["findings"]
    assert "# connection_pooling = 'PgBouncer'" in conf.read_text()
    assert "work_mem = 9MB" in conf.read_text() or version == "14"


def test_the_json_of_a_file_is_the_documented_one(conf):
    conf.write_text("work_mem = 4MB\nshared_buffers = '1 GB'\nWORK_MEM = 8MB\nmy.own = x\nfsync = maybe\n")
    report, _ = audit(conf, "--pg-version", "15")
    (file,) = report["files"]
    assert file["path"] == str(conf)
    assert file["entries"] == 5
    assert file["settings"]["work_mem"] == {
        "raw": "8MB", "value": "8192", "unit": "kB", "file": str(conf), "line": 3, "occurrences": 2, "error": None,
    }  # fmt: skip
    assert file["settings"]["shared_buffers"]["value"] == "131072"
    assert file["settings"]["my.own"]["value"] == "x"
    assert "requires a Boolean" in file["settings"]["fsync"]["error"]
    assert [(e["line"], e["name"]) for e in file["errors"]] == [(5, "fsync")]
    assert file["restart"] == ["shared_buffers"]


def test_bytes_that_are_not_text_are_shown_and_patched(conf):
    conf.write_bytes(b"cluster_name = '\xff\xfe'\nwork_mem = 1GB # caf\xe9\r\n")
    report, _ = audit(conf, *TIER)
    assert report["files"][0]["settings"]["cluster_name"]["raw"] == "\\xff\\xfe"
    patch = conf.parent / "fix.patch"
    dbkit("audit", "--pg-conf", str(conf), *TIER, "--fix", str(patch))
    applied = subprocess.run(
        [needed("patch"), "--binary", "-d", str(conf.parent), "-p0", "-i", str(patch)], capture_output=True
    )
    assert applied.returncode == 0, applied.stdout
    assert b"# caf\xe9\r\n" in conf.read_bytes()


def test_what_the_machine_decides_is_skipped_without_it(conf):
    conf.write_text("shared_buffers = 128MB\n")
    report, _ = audit(conf)
    assert "shared_buffers" not in {f["object"] for f in report["findings"]}
    reasons = {s["rule"]: s["reason"] for s in report["skipped"]}
    assert "--memory 16GB" in reasons["pg.setting-off-policy"]
    assert "--memory 16GB" in reasons["pg.memory-overcommit"]


def test_an_upgrade_names_what_breaks(conf):
    conf.write_text("old_snapshot_threshold = 1h\npromote_trigger_file = '/tmp/x'\nwork_mem = 4MB\n")
    report, _ = audit(conf, "--pg-version", "15", "--upgrade-to", "18", "--select", "pg.conf-upgrade-breaks")
    assert {f["object"] for f in report["findings"]} == {"old_snapshot_threshold", "promote_trigger_file"}
    assert "pg_promote" in next(f["message"] for f in report["findings"] if f["object"] == "promote_trigger_file")


def test_own_wanted_settings_extend_the_shipped_ones(conf, tmp_path):
    mine = tmp_path / "ours.yaml"
    mine.write_text(
        "version: 1\nengine: postgres\nextends: postgres\nsettings:\n"
        "  jit: false\n  work_mem:\n    want: 64MB\n    accept: {at_most: 64MB}\n    origin: ours\n    why: reports need it\n"
    )
    conf.write_text("work_mem = 65MB\n")
    report, _ = audit(conf, *TIER, "--settings", str(mine), "--select", "pg.setting-off-policy")
    found = {f["object"]: f for f in report["findings"]}
    assert "jit" not in found
    assert "at most 64MB will do (ours)" in found["work_mem"]["message"]
    assert found["work_mem"]["location"] == {"file": str(conf), "line": 1}
    mine.write_text("version: 1\nengine: postgres\nsettings:\n  jit:\n    wont: 3\n")
    done = dbkit("audit", "--pg-conf", str(conf), "--settings", str(mine))
    assert done.returncode == 2
    assert "ours.yaml:5" in done.stderr


@pytest.mark.parametrize(
    ("service", "words", "never"),
    [
        (
            "aws",
            [
                'aws rds modify-db-parameter-group --db-parameter-group-name "$PARAMETER_GROUP" --parameters ',
                """'ParameterName=log_lock_waits,ParameterValue="1",ApplyMethod=immediate'""",
                """'ParameterName=work_mem,ParameterValue="9216",ApplyMethod=immediate'""",
                """'ParameterName=shared_buffers,ParameterValue="524288",ApplyMethod=pending-reboot'""",
                "aws rds reboot-db-instance",
            ],
            "ParameterName=fsync",
        ),
        (
            "azure",
            [
                'az postgres flexible-server parameter set --resource-group "$RESOURCE_GROUP" --server-name "$SERVER" ',
                "--name log_lock_waits --value on\n",
                "--name work_mem --value 9216\n",
                "--name shared_buffers --value 524288\n",
                'az postgres flexible-server restart -g "$RESOURCE_GROUP" -n "$SERVER"',
            ],
            "--name fsync",
        ),
        (
            "gcp",
            [
                'gcloud sql instances patch "$INSTANCE" --database-flags=',
                "log_lock_waits=on",
                "work_mem=9216",
                "shared_buffers=524288",
                "# Some of these restart the instance at once",
            ],
            "fsync=on",
        ),
    ],
    ids=["aws", "azure", "gcp"],
)
def test_a_managed_service_gets_its_own_commands(conf, service, words, never):
    """Each as its manual has it: base units, booleans as the service takes them, what waits for a restart."""
    conf.write_text("fsync = off\nwork_mem = 256MB\nshared_buffers = 128MB\nlog_lock_waits = off\n")
    script = conf.parent / "fix.sh"
    done = dbkit("audit", "--pg-conf", str(conf), *TIER, "--managed", service, "--fix", str(script))
    assert done.returncode == 1, done.stderr
    text = script.read_text()
    assert [w for w in words if w not in text] == []
    assert "# fsync cannot be set here" in text
    assert never not in text
    assert subprocess.run(["sh", "-n", str(script)]).returncode == 0
    done = dbkit("audit", "--pg-conf", str(conf), *TIER, "--managed", service, "--fix", str(conf.parent / "fix.sql"))
    assert done.returncode == 2
    assert "ALTER SYSTEM is not permitted" in done.stderr


@pytest.mark.parametrize("fmt", ["text", "sarif", "junit", "github", "gitlab", "markdown", "html"])
def test_every_format_shows_a_file(conf, fmt):
    done = dbkit("audit", "--pg-conf", str(conf), *TIER, "--format", fmt)
    assert done.returncode == 1, done.stderr
    assert "work_mem" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--pg-conf", "none.conf"), "cannot read none.conf"),
        (("--pg-conf", "."), "is a folder"),
        (("--pg-conf", "postgresql.conf", "--pg-version", "13"), "PostgreSQL 13 is not known"),
        (("--pg-conf", "postgresql.conf", "--pg-version", "new"), "not a PostgreSQL version"),
        (("--pg-conf", "postgresql.conf", "--memory", "lots"), "not a size"),
        (("--pg-conf", "postgresql.conf", "--memory", "1MB"), "too little"),
        (("--pg-conf", "postgresql.conf", "--storage", "tape"), "ssd, hdd or san"),
        (("--pg-conf", "postgresql.conf", "--managed", "ibm"), "aws, azure or gcp"),
        (("--pg-conf", "postgresql.conf", "--upgrade-to", "15"), "not newer"),
        (("--pg-conf", "postgresql.conf", "--settings", "none.yaml"), "cannot read none.yaml"),
        (("--pg-conf", "postgresql.conf", "--fix", "fix.json"), "no .json file can be made"),
        (("--pg-conf", "postgresql.conf", "--fix", "fix.txt"), "cannot tell what to write"),
        (("--pg-conf", "postgresql.conf", "--fix", "fix.sh"), "add --managed"),
        (("--pg-conf", "postgresql.conf", "--select", "pg.nothing"), "no rule is called"),
    ],
)
def test_bad_input_is_one_error(conf, arguments, words):
    done = dbkit("audit", *arguments, cwd=conf.parent)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr


def test_the_shipped_file_says_who_wants_what():
    from dbkit import assets

    data = yaml.safe_load(assets.path("policies/postgres.yaml").read_text())
    for name, wish in data["settings"].items():
        assert {"want", "origin", "why"} <= set(wish), name


def test_a_baseline_names_each_setting_of_a_file_that_changed(tmp_path):
    conf, earlier = tmp_path / "postgresql.conf", tmp_path / "earlier.json"
    conf.write_text("work_mem = 8MB\nmax_connections = 50\nrandom_page_cost = 1.1\n")
    report, _ = audit(conf)
    earlier.write_text(json.dumps(report))
    report, _ = audit(conf, "--baseline", str(earlier))
    assert "pg.setting-changed" in {p["rule"] for p in report["passed"]}
    conf.write_text("WORK_MEM = '16MB'\nrandom_page_cost = 1.10\njit = off\n")
    report, _ = audit(conf, "--baseline", str(earlier))
    told = {f["object"]: f for f in report["findings"] if f["rule"] == "pg.setting-changed"}
    assert set(told) == {"work_mem", "max_connections", "jit"}
    assert "work_mem was 8MB, is 16MB (postgresql.conf:1)" in told["work_mem"]["message"]
    assert "was 50, is 100 (the default: nothing sets it any more)" in told["max_connections"]["message"]
    assert told["jit"]["data"]["old"] == "on"


@pytest.mark.parametrize("what", ["none", "folder", "pipe", "large"])
def test_what_is_no_file_is_refused_with_a_hint(what, tmp_path):
    path = tmp_path / "postgresql.conf"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "large":
        with path.open("wb") as stream:
            stream.truncate(100 * 2**20)
    done = dbkit("audit", "--pg-conf", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "hint: " in done.stderr


def test_bytes_that_are_no_utf8_break_no_format_and_stay_in_the_patch(tmp_path):
    conf = tmp_path / os.fsdecode(b"b\xe9d.conf")
    conf.write_bytes(b"cluster_name = '\xe9'\n\xe9\xff = 1\nwork_mem = 4MB -- \xe9\nlog_line_prefix = '\x1b[31m\xe9'\n")
    files = [tmp_path / f"out.{suffix}" for suffix in ("json", "sarif", "xml", "md", "html", "txt")]
    outputs = [word for file in files for word in ("-o", str(file))]
    done = dbkit("audit", "--pg-conf", str(conf), *outputs, "--fix", str(tmp_path / "fix.patch"))
    assert done.returncode == 1, done.stderr
    assert all("\x1b" not in file.read_text(encoding="utf-8") for file in files[1:])
    assert json.loads(files[0].read_text())["files"][0]["settings"]["cluster_name"]["raw"] == "\\xe9"
    assert b"work_mem = 4MB # \xe9" in (tmp_path / "fix.patch").read_bytes()


def test_the_pg_hba_conf_beside_a_file_is_judged_with_its_lines(tmp_path):
    conf, hba = tmp_path / "postgresql.conf", tmp_path / "pg_hba.conf"
    conf.write_text("ssl = on\n")
    report, _ = audit(conf, "--select", "pg.hba")
    assert "--pg-hba" in report["skipped"][0]["reason"]
    hba.write_text(
        "local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all 0.0.0.0/0 trust\n"
        "hostssl replication repl all scram-sha-256\nhost app app 10.0.0.0/8 md5\nhost app app 10.0.0.0/8 peer\n"
        "include extra.conf\n"
    )
    (tmp_path / "extra.conf").write_text("\nhost app app 10.0.0.0/8 password\n")
    report, _ = audit(conf, "--select", "pg.hba")
    told = {(f["rule"], f["location"]["line"]): f for f in report["findings"]}
    assert told["pg.hba-weak", 3]["severity"] == "error"
    assert "peer authentication is only supported on local sockets" in told["pg.hba-weak", 6]["message"]
    assert told["pg.hba-open", 4]["severity"] == "warn"
    assert ("pg.hba-weak", 5) in told
    assert told["pg.hba-weak", 2]["location"]["file"].endswith("extra.conf")
    assert not {line for rule, line in told if line == 1}
    (held,) = report["hba"]
    assert (held["loads"], [r["line_number"] for r in held["rules"]]) == (False, [1, 2, 3, 4, 5, 6, 2])
    other = tmp_path / "other_hba"
    other.write_text("hostssl all all 10.0.0.0/8 scram-sha-256\n")
    report, done = audit(conf, "--select", "pg.hba", "--pg-hba", str(other), "--fail-on", "info")
    assert done.returncode == 0
    conf.write_text("ssl = off\n")
    report, _ = audit(conf, "--select", "pg.hba", "--pg-hba", str(other))
    assert "never lets anybody in" in report["findings"][0]["message"]
    assert dbkit("audit", "--pg-hba", str(other)).returncode == 2


def test_the_busy_moment_counts_the_pools_of_the_same_run(tmp_path):
    conf, ini = tmp_path / "postgresql.conf", tmp_path / "pgbouncer.ini"
    conf.write_text("shared_buffers = 4GB\nwork_mem = 64MB\nmax_connections = 200\n")
    ini.write_text(
        "[databases]\napp = host=db user=app\n[pgbouncer]\nlisten_addr = 127.0.0.1\nauth_type = scram-sha-256\n"
        "auth_file = users.txt\ndefault_pool_size = 30\nmax_db_connections = 30\n"
    )
    alone = audit(conf, *TIER, "--select", "pg.memory-overcommit")[0]["findings"][0]
    assert "100 active x 64MB work_mem: 50 % of max_connections, for no pool is known" in alone["message"]
    both = audit(conf, *TIER, "--select", "pg.memory-overcommit", "--pgbouncer-ini", str(ini))[0]["findings"][0]
    assert "30 connections x 64MB work_mem: the pools of pgbouncer.ini on db:5432" in both["message"]
    assert both["data"]["likely_bytes"] < alone["data"]["likely_bytes"]
    ini.with_name("b.ini").write_text(ini.read_text().replace("= 30", "= 12"))
    two = ("--pgbouncer-ini", str(ini), "--pgbouncer-ini", str(ini.with_name("b.ini")))
    several = audit(conf, *TIER, "--select", "pg.memory-overcommit", *two)[0]["findings"][0]
    words = "42 connections x 64MB work_mem: the pools of pgbouncer.ini on db:5432 (30) + b.ini on db:5432 (12)"
    assert words in several["message"]
