"""`dbkit migrate rehearse` as a user meets it: input, exit codes, JSON, Alembic, application queries, and its end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dbkit.ephemeral.postgres import ADDRESS
from tests.cli.test_ci_recipes import block, project, shell
from tests.fixtures.alembic_chains import branches, revision

__all__ = ["project"]

BEFORE = "create table t (id bigint generated always as identity primary key, a int, v varchar(10));\n"
QUICK = ("--rows", "200")


def command(*arguments):
    return [sys.executable, "-m", "dbkit", "migrate", "rehearse", *map(str, arguments)]


def rehearse(*arguments, cwd, text=None, **environment):
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DBKIT_CONFIG": os.devnull, **environment},
    )


@pytest.fixture
def on18(pg18):
    """The run's own server instead of one started for each call."""
    return {ADDRESS: pg18.dsn}


@pytest.mark.parametrize(
    ("files", "arguments", "words"),
    [
        ({}, [], "no migrations are named"),
        ({"m.sql": "select 1"}, ["m.sql", "--pg", "9.6"], "versions 11 to 18"),
        ({"m.sql": "select 1"}, ["m.sql", "--pg", "13"], "versions 14 to 18"),
        ({"m.sql": "select 1"}, ["m.sql", "--pg", "x"], "is not a PostgreSQL version"),
        ({"m.sql": "select 1"}, ["m.sql", "--max-stall", "soon"], "--max-stall"),
        ({"m.sql": "select 1"}, ["m.sql", "--pending", "0"], "--pending"),
        ({"m.sql": "select 1"}, ["m.sql", "--pending", "3"], "there are 1 migrations"),
        ({"m.sql": "select 1"}, ["m.sql", "--from", "n"], "no migration is called n"),
        ({"m.sql": "select 1"}, ["m.sql", "--from", "m.sql", "--pending", "1"], "each say what is pending"),
        ({"m.sql": "select 1"}, ["m.sql", "--app-sql", "none.sql"], "cannot read none.sql"),
        ({"m.sql": "select 1", "q.sql": "drop table t"}, ["m.sql", "--app-sql", "q.sql"], "not a query"),
        ({"m.sql": "select 1"}, ["m.sql", "-o", "x.unknown"], "x.unknown"),
        ({"m.sql": "select 1"}, ["m.sql", "--stats", "m.sql"], "is not JSON"),
        ({"alembic.ini": "[alembic]\nscript_location = x\n"}, ["alembic.ini"], "no Alembic environment"),
    ],
)  # fmt: skip
def test_bad_input_exits_2_before_a_server_is_started(tmp_path, files, arguments, words):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    done = rehearse(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_server_that_cannot_be_had_exits_3_with_what_was_tried(tmp_path):
    (tmp_path / "m.sql").write_text("select 1")
    done = rehearse("m.sql", "--pg", "16", cwd=tmp_path, PATH="/nowhere", DOCKER_HOST="unix:///nowhere")
    assert done.returncode == 3
    assert "no throw-away PostgreSQL 16" in done.stderr
    assert "hint:" in done.stderr


def test_a_failing_history_exits_2_with_its_line(tmp_path, on18):
    (tmp_path / "1.sql").write_text("create table t (a int);\n\nalter table u add b int;\n")
    (tmp_path / "2.sql").write_text("alter table t add b int;\n")
    done = rehearse(".", cwd=tmp_path, **on18)
    assert done.returncode == 2
    assert "1.sql:3: the history fails" in done.stderr
    assert "--schema FILE" in done.stderr


def test_a_failing_statement_is_a_finding_and_says_where_it_stopped(tmp_path, on18):
    (tmp_path / "1.sql").write_text(BEFORE)
    (tmp_path / "2.sql").write_text("alter table t add b int;\nalter table t drop column z;\nselect 1;\n")
    done = rehearse(".", "--format", "json", *QUICK, cwd=tmp_path, **on18)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert [s["error"] is None for s in report["statements"]] == [True, False]
    failed = next(f for f in report["findings"] if f["rule"] == "migrate.rehearsal-failed")
    assert failed["location"] == {"file": "2.sql", "line": 2}
    assert "the rehearsal stopped here" in failed["message"]
    assert report["rehearsals"][0]["stopped"]["line"] == 2


def test_broken_sql_is_a_finding(tmp_path, on18):
    (tmp_path / "m.sql").write_text("select 1;\nalter tabel t;\n")
    done = rehearse("m.sql", "--format", "json", cwd=tmp_path, **on18)
    assert done.returncode == 1
    rules = {f["rule"]: f["location"]["line"] for f in json.loads(done.stdout)["findings"]}
    assert rules["migrate.rehearsal-failed"] == 2
    assert rules["migrate.syntax-error"] == 2


def test_nothing_pending_passes_without_a_server(tmp_path):
    (tmp_path / "1.sql").write_text(BEFORE)
    done = rehearse(".", "--from", "1.sql", "--format", "json", cwd=tmp_path, PATH="/nowhere")
    assert done.returncode == 0
    assert json.loads(done.stdout)["statements"] == []
    assert "nothing is pending" in done.stderr


def test_the_json_is_the_contract(tmp_path, on18):
    (tmp_path / "schema.sql").write_text(BEFORE)
    (tmp_path / "m.sql").write_text(
        "alter table t alter column a type bigint;\nalter table t alter column v set not null;\n"
    )
    done = rehearse("m.sql", "--schema", "schema.sql", "--format", "json", *QUICK, cwd=tmp_path, **on18)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    first, second = report["statements"]
    assert {"file", "line", "sql", "locks", "held_ms", "rewritten", "scanned", "waited_ms", "error"} <= set(first)
    assert (first["file"], first["line"], first["error"]) == ("m.sql", 1, None)
    assert first["locks"] == {"t": "ACCESS EXCLUSIVE", "t_pkey": "ACCESS EXCLUSIVE"}
    assert first["rewritten"] == ["t", "t_pkey"]
    assert second["scanned"] == ["t"]
    assert first["held_ms"] > second["held_ms"] > 0  # held to the end of the one transaction
    evidence = {f["rule"]: f["evidence"] for f in report["findings"]}
    assert evidence["migrate.column-type-rewrites"] == evidence["migrate.not-null-scans"] == "observed"


def test_files_without_a_transaction_give_their_locks_back(tmp_path, on18):
    (tmp_path / "schema.sql").write_text(BEFORE)
    (tmp_path / "m.sql").write_text("alter table t add b int;\ncreate index concurrently i on t (a);\n")
    done = rehearse("m.sql", "--schema", "schema.sql", "--format", "json", *QUICK, cwd=tmp_path, **on18)
    first, second = json.loads(done.stdout)["statements"]
    assert first["transaction"] != second["transaction"]
    assert second["locks"]["t"] == "SHARE UPDATE EXCLUSIVE"
    assert second["in_transaction"] is False


def test_a_statement_that_refuses_a_transaction_fails_in_one(tmp_path, on18):
    (tmp_path / "schema.sql").write_text(BEFORE)
    (tmp_path / "m.sql").write_text("create index concurrently i on t (a);\n")
    done = rehearse(
        "m.sql", "--schema", "schema.sql", "--assume-in-transaction", "--format", "json", cwd=tmp_path, **on18
    )
    report = json.loads(done.stdout)
    assert report["statements"][0]["sqlstate"] == "25001"
    assert {f["rule"]: f["evidence"] for f in report["findings"]}["migrate.not-in-transaction"] == "observed"


def test_predictions_and_the_budget(tmp_path, on18):
    (tmp_path / "schema.sql").write_text(BEFORE)
    (tmp_path / "m.sql").write_text("alter table t alter column a type bigint;\n")
    tables = [{"name": "public.t", "bytes": 50 * 1024**3, "rows": 500_000_000}]
    (tmp_path / "stats.json").write_text(json.dumps({"tables": tables}))
    arguments = ["m.sql", "--schema", "schema.sql", "--stats", "stats.json", "--rows", "4000", "--max-stall", "250ms"]
    done = rehearse(*arguments, "--format", "json", "-o", "r.html", cwd=tmp_path, **on18)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    predicted = report["statements"][0]["predicted_ms"]
    assert predicted["low"] <= predicted["likely"] <= predicted["high"]
    assert predicted["likely"] > 1000
    over = next(f for f in report["findings"] if f["rule"] == "migrate.stall-over-budget")
    assert "at production size" in over["message"]
    assert "Locks on PostgreSQL 18" in (tmp_path / "r.html").read_text()


def test_application_queries_of_both_versions(tmp_path, on18):
    (tmp_path / "schema.sql").write_text(BEFORE)
    (tmp_path / "m.sql").write_text("alter table t rename column v to w;\n")
    (tmp_path / "old.sql").write_text(
        "select v from t where id = $1;\ninsert into t (a) values (1);\nselect * from t limit 5;"
    )
    (tmp_path / "new.sql").write_text("select w from t where id = $1;")
    done = rehearse(
        "m.sql", "--schema", "schema.sql", "--app-sql", "old.sql", "--app-sql-new", "new.sql",
        "--format", "json", *QUICK, cwd=tmp_path, **on18,
    )  # fmt: skip
    report = json.loads(done.stdout)
    failing = [f for f in report["findings"] if f["rule"] == "migrate.application-query-fails"]
    assert [f["location"]["line"] for f in failing] == [1, 3]
    assert "prepared again" in failing[1]["message"]
    assert "cached plan" in failing[1]["message"]
    phases = {(q["version"], q["line"]): q["phases"] for q in report["rehearsals"][0]["queries"]}
    assert phases["old", 2]["during"]["failed"] == 0
    assert phases["old", 2]["during"]["runs"] >= 1
    assert phases["new", 1]["before"]["failed"] == 1
    assert phases["new", 1]["after"]["failed"] == 0


REVISION = '''
"""x"""
from alembic import op
import sqlalchemy as sa
revision = "{rev}"
down_revision = {down}
def upgrade():
{body}
'''


def alembic(folder: Path, env: str, *bodies: str) -> Path:
    (folder / "versions").mkdir()
    (folder / "env.py").write_text(env)
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = .\n")
    down = "None"
    for number, body in enumerate(bodies, 1):
        text = REVISION.format(rev=f"rev{number}", down=down, body="\n".join(f"    {x}" for x in body.splitlines()))
        (folder / "versions" / f"{number}_x.py").write_text(text)
        down = f'"rev{number}"'
    return folder / "alembic.ini"


CREATE = 'op.create_table("t", sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.Integer))'


def test_an_alembic_chain(tmp_path, on18):
    alembic(
        tmp_path, "", CREATE, 'op.add_column("t", sa.Column("b", sa.Integer))',
        'op.alter_column("t", "a", nullable=False)\nwith op.get_context().autocommit_block():\n'
        '    op.create_index("i", "t", ["b"], postgresql_concurrently=True)',
    )  # fmt: skip
    done = rehearse("alembic.ini", "--from", "rev1", "--format", "json", *QUICK, cwd=tmp_path, **on18)
    statements = json.loads(done.stdout)["statements"]
    assert [(s["file"], s["error"]) for s in statements] == [
        ("versions/2_x.py", None), ("versions/3_x.py", None), ("versions/3_x.py", None)
    ]  # fmt: skip
    # Without transaction_per_migration both revisions share a transaction, up to the autocommit block.
    assert statements[0]["transaction"] == statements[1]["transaction"] != statements[2]["transaction"]
    assert statements[2]["locks"]["t"] == "SHARE UPDATE EXCLUSIVE"


def test_branches_in_several_folders(tmp_path, on18):
    ini = branches(tmp_path, "path_separator = os\nversion_locations = %(here)s/core:%(here)s/billing\n")
    body = "op.get_bind().exec_driver_sql('alter table bills add column note text')"
    (tmp_path / "core" / "m.py").write_text(revision("m", ("c2", "b1"), body=body))
    done = rehearse(ini, "--from", "c1", "--format", "json", *QUICK, cwd=tmp_path, **on18)
    seen = [(s["file"], s["error"], s["locks"]) for s in json.loads(done.stdout)["statements"]]
    assert [(file, error) for file, error, _ in seen] == [
        ("billing/b1.py", None), ("core/c2.py", None), ("core/m.py", None)
    ]  # fmt: skip
    assert seen[0][2]["users"] == "SHARE ROW EXCLUSIVE"


def test_transaction_per_migration_is_seen(tmp_path, on18):
    alembic(
        tmp_path, "context.configure(transaction_per_migration=True)\n", CREATE,
        'op.add_column("t", sa.Column("b", sa.Integer))', 'op.add_column("t", sa.Column("c", sa.Integer))',
    )  # fmt: skip
    done = rehearse("alembic.ini", "--pending", "2", "--format", "json", *QUICK, cwd=tmp_path, **on18)
    first, second = json.loads(done.stdout)["statements"]
    assert first["transaction"] != second["transaction"]


def test_a_revision_that_raises_is_a_finding(tmp_path, on18):
    alembic(tmp_path, "", CREATE, 'raise RuntimeError("no such luck")')
    done = rehearse("alembic.ini", "--format", "json", cwd=tmp_path, **on18)
    assert done.returncode == 1
    failed = next(f for f in json.loads(done.stdout)["findings"] if f["rule"] == "migrate.rehearsal-failed")
    assert failed["location"] == {"file": "versions/2_x.py", "line": 8}
    assert "no such luck" in failed["message"]


def test_two_versions_in_one_call(tmp_path, pg15, on18):
    (tmp_path / "schema.sql").write_text(BEFORE)
    (tmp_path / "m.sql").write_text("alter table t add b int;\n")
    done = rehearse(
        "m.sql", "--schema", "schema.sql", "--pg", "15,18", "--format", "json", "-q", *QUICK, cwd=tmp_path, **on18
    )
    report = json.loads(done.stdout)
    assert [t["name"] for t in report["targets"]] == ["pg15", "pg18"]
    assert [s["target"] for s in report["statements"]] == ["pg15", "pg18"]
    assert "migrate.versions-differ" in {p["rule"] for p in report["passed"]}
    assert done.stderr == ""


def test_the_text_has_one_line_a_statement(tmp_path, on18):
    (tmp_path / "schema.sql").write_text(BEFORE)
    (tmp_path / "m.sql").write_text("alter table t alter column a set not null;\n")
    done = rehearse("m.sql", "--schema", "schema.sql", *QUICK, cwd=tmp_path, **on18)
    line = next(x for x in done.stdout.splitlines() if "m.sql:1 " in x)
    assert "ACCESS EXCLUSIVE on t" in line
    assert "reads t" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_it_nothing_stays_behind(tmp_path, number):
    (tmp_path / "schema.sql").write_text(BEFORE)
    (tmp_path / "m.sql").write_text("select pg_sleep(600);\n")
    with subprocess.Popen(
        command("m.sql", "--schema", "schema.sql", "--pg", "18", *QUICK),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "DBKIT_CONFIG": os.devnull},
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "rows in" in line:
                break
        mine = servers_of(running.pid)
        running.send_signal(number)
        running.wait(60)
    assert mine
    until = time.monotonic() + 60
    while time.monotonic() < until and any(Path(p).exists() for p in mine):
        time.sleep(0.1)
    assert not [p for p in mine if Path(p).exists()]
    if number == signal.SIGINT:
        assert running.returncode == 130


def servers_of(pid):
    """Directories of throw-away servers that a process holds open."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.endswith("/alive"):
            found.add(str(Path(target).parent))
    return found


def test_the_recipe_of_the_page_works_as_written(project, db, on18):
    db.psql("create table users (id bigint primary key, email text); analyze")
    (project / "migrations" / "0000_old.sql").unlink()
    (project / "queries.sql").write_text("select email from users where id = $1;\n")
    (project / "next.sql").write_text("select id from users where email = $1;\n")
    lines = block("Rehearsing in CI", "sh").splitlines()
    for line in [x for x in lines if x and not x.startswith("#")]:
        done = shell(line.replace("--window 30s", "--window 0"), project, PRODUCTION=db.dsn, **on18)
        assert done.returncode == 0, done.stderr
    assert "migrate.index-not-concurrent" in (project / "rehearsal.html").read_text()
    assert "application-query-fails" in (project / "rehearsal.xml").read_text()


def test_the_environment_does_not_lead_to_another_server(tmp_path):
    (tmp_path / "schema.sql").write_text(BEFORE)
    (tmp_path / "m.sql").write_text("select 1;\n")
    away = {"PGHOSTADDR": "192.0.2.1", "PGSERVICE": "production", "PGSSLMODE": "verify-full", "PGCONNECT_TIMEOUT": "5"}
    done = rehearse("m.sql", "--schema", "schema.sql", "-q", *QUICK, cwd=tmp_path, **away)
    assert done.returncode == 0, done.stderr


def test_help_imports_no_driver(tmp_path):
    code = "import sys; sys.argv = ['dbkit', 'migrate', 'rehearse', '--help']\nimport dbkit.cli\ntry:\n    dbkit.cli.main()\nexcept SystemExit:\n    pass\nprint('psycopg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.rstrip().endswith("False")
    assert "dbkit migrate rehearse migrations/" in done.stdout


ONLINE = """bind = op.get_bind()
assert "a" in {c["name"] for c in sa.inspect(bind).get_columns("t")}
op.add_column("t", sa.Column("b", sa.Integer))
bind.execute(sa.text("update t set b = :n where id < 50"), {"n": 7})
with op.get_context().autocommit_block():
    op.create_index("i", "t", ["b"], postgresql_concurrently=True)
op.alter_column("t", "a", nullable=False)"""


def test_a_revision_that_only_runs_online_is_run_and_watched(tmp_path, on18):
    alembic(tmp_path, "raise SystemExit('env.py must not run')\n", CREATE, ONLINE, "op.drop_column('t', 'a')")
    done = rehearse("alembic.ini", "--pending", "2", "--format", "json", *QUICK, cwd=tmp_path, **on18)
    report = json.loads(done.stdout)
    rows = [(s["line"], s["sql"].split()[0].lower(), s["error"], s["locks"].get("t")) for s in report["statements"]]
    assert rows == [
        (10, "alter", None, "ACCESS EXCLUSIVE"),
        (11, "update", None, "ACCESS EXCLUSIVE"),  # still held
        (13, "create", None, "SHARE UPDATE EXCLUSIVE"),
        (14, "alter", None, "ACCESS EXCLUSIVE"),
        (8, "alter", None, "ACCESS EXCLUSIVE"),
    ]
    assert report["statements"][3]["scanned"] == ["t"]
    assert report["statements"][3]["transaction"] == report["statements"][4]["transaction"]
    assert not (tmp_path / "versions" / "__pycache__").exists()


def test_history_that_only_runs_online_is_run(tmp_path, on18):
    alembic(tmp_path, "", CREATE, 'op.get_bind().execute(sa.text("select 1"))\nop.add_column("t", sa.Column("b", sa.Integer))',
            'op.drop_column("t", "b")')  # fmt: skip
    done = rehearse("alembic.ini", "--format", "json", *QUICK, cwd=tmp_path, **on18)
    assert [s["error"] for s in json.loads(done.stdout)["statements"]] == [None], done.stderr
