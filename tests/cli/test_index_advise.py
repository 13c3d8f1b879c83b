"""`dbkit index advise` as a user meets it: plan and apply, migrations that run, every format, bad input, no password."""

import json
import subprocess
import sys

import pytest

from tests.cli import canary
from tests.fixtures import program
from tests.fixtures.migrations import report as linted
from tests.fixtures.program import dbkit

TABLES = """
create table t (id bigint primary key, a int, b int, note text);
insert into t select n, n % 100, n, 'note ' || n from generate_series(1, 30000) n;
create table p (id bigint, at date) partition by range (at);
create table p_old partition of p for values from ('2020-01-01') to ('2025-01-01');
create table p_rest partition of p default;
insert into p select n, date '2020-01-01' + n % 3000 from generate_series(1, 40000) n;
analyze;
"""
QUERIES = """
select * from t where a = :a order by b desc limit 5;
select * from p where id = %(id)s;
select * from t where note = 'x';
selekt 1;
"""


def typed(text, *arguments, **environment):
    """As `dbkit`, with something on standard input."""
    return dbkit("index", "advise", "--sql", "-", *arguments, text=text, **environment)


@pytest.fixture
def queries(tmp_path):
    file = tmp_path / "queries.sql"
    file.write_text(QUERIES)
    return str(file)


def test_the_plan_is_applied_and_then_there_is_nothing_to_advise(db, queries, tmp_path):
    db.psql(TABLES)
    plan = tmp_path / "plan.json"
    done = dbkit("index", "advise", "--sql", queries, "--plan", str(plan), "--fail-on", "warn", DBKIT_DSN=db.dsn)
    assert done.returncode == 1, done.stderr
    assert "cost falls by" in done.stdout
    assert f"dbkit apply {plan}" in done.stderr
    done = dbkit("apply", str(plan), DBKIT_DSN=db.dsn)
    assert done.returncode == 0, done.stderr
    db.execute("analyze")
    done = dbkit("index", "advise", "--sql", queries, "--fail-on", "warn", "--format", "json", DBKIT_DSN=db.dsn)
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert found["findings"] == []
    assert found["proposals"] == []
    assert [p["rule"] for p in found["passed"]] == ["pg.index-advised"]
    assert found["coverage"] == {
        "statements": 4, "analysed": 3, "share": 0.75, "time_share": None, "hidden": 0, "left_out": 0,
    }  # fmt: skip
    assert "selekt" in found["skipped"][0]["reason"]


def test_json_says_what_was_found_and_how(db, queries):
    db.psql(TABLES)
    # Where the environment's own host address is for other connections, the copy is still found.
    away = {"DBKIT_DSN": f"{db.dsn}?hostaddr=127.0.0.1", "PGHOSTADDR": "192.0.2.1", "PGCONNECT_TIMEOUT": "5"}
    done = dbkit("index", "advise", "--sql", queries, "--format", "json", **away)
    found = json.loads(done.stdout)
    finding = next(f for f in found["findings"] if f["object"] == "public.t_a_b_idx")
    assert finding["rule"] == "pg.index-advised"
    assert finding["location"] == {"file": queries, "line": 2}
    assert finding["fix"]["text"].startswith("create index concurrently t_a_b_idx on public.t (a, b);")
    assert finding["data"]["cost_after"] < finding["data"]["cost_before"]
    statement = next(s for s in found["statements"] if s["indexes"] == ["t_a_b_idx"])
    assert statement["text"] == "select * from t where a = $1 order by b desc limit 5"
    assert any("Seq Scan on t" in step for step in statement["plan_before"])
    assert any("t_a_b_idx" in step for step in statement["plan_after"])
    assert found["tried_with"].startswith("an empty copy on PostgreSQL")


@pytest.mark.pg(18)
@pytest.mark.parametrize("fmt", ["sarif", "junit", "github", "markdown", "html"])
def test_every_format_is_delivered(db, queries, fmt):
    db.psql(TABLES)
    done = dbkit("index", "advise", "--sql", queries, "--format", fmt, DBKIT_DSN=db.dsn)
    assert done.returncode == 0, done.stderr
    assert "t_a_b_idx" in done.stdout


def test_statements_come_from_standard_input(db):
    db.psql(TABLES)
    done = typed("select * from t where b = ?", "-q", DBKIT_DSN=db.dsn)
    assert done.returncode == 0, done.stderr
    assert "on public.t (b)" in done.stdout
    assert done.stderr == ""


ENVIRONMENT = """
from alembic import context
from sqlalchemy import create_engine, pool
import os
engine = create_engine(os.environ["URL"].replace("postgresql://", "postgresql+psycopg://"), poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""


def alembic(folder, *arguments, url):
    return program.alembic("-c", folder / "alembic.ini", *arguments, URL=url)


def test_an_alembic_revision_is_written_that_runs_both_ways(db, queries, tmp_path):
    db.psql(TABLES)
    folder = tmp_path / "app"
    made = subprocess.run([sys.executable, "-m", "alembic", "init", str(folder / "env")], cwd=tmp_path, check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert made.returncode == 0, made.stderr
    (tmp_path / "alembic.ini").rename(folder / "alembic.ini")
    (folder / "alembic.ini").write_text(f"[alembic]\nscript_location = {folder / 'env'}\n")
    (folder / "env" / "env.py").write_text(ENVIRONMENT)
    done = dbkit("index", "advise", "--sql", queries, "--migration", str(folder), DBKIT_DSN=db.dsn)
    assert done.returncode == 0, done.stderr
    (revision,) = (folder / "env" / "versions").glob("*.py")
    assert str(revision) in done.stderr
    text = revision.read_text()
    assert "autocommit_block" in text
    assert "op.create_index(" in text
    done = alembic(folder, "upgrade", "head", url=db.dsn)
    assert done.returncode == 0, done.stderr
    names = "select indexrelid::regclass::text from pg_index where indrelid in ('t'::regclass, 'p'::regclass) and indisvalid"
    assert {n for (n,) in db.execute(names)} == {"t_pkey", "t_a_b_idx", "t_note_idx", "p_id_idx"}
    done = alembic(folder, "downgrade", "base", url=db.dsn)
    assert done.returncode == 0, done.stderr
    assert {n for (n,) in db.execute(names)} == {"t_pkey"}


@pytest.mark.pg(18)
def test_two_heads_are_refused_before_anything_else(db, queries, tmp_path):
    versions = tmp_path / "versions"
    versions.mkdir()
    (tmp_path / "env.py").write_text("")
    for name in ("one", "two"):
        (versions / f"{name}.py").write_text(f'revision = "{name}"\ndown_revision = None\n\ndef upgrade(): ...\n')
    done = dbkit("index", "advise", "--sql", queries, "--migration", str(tmp_path), DBKIT_DSN=db.dsn)
    assert done.returncode == 2
    assert "has 2 heads: one (one.py), two (two.py)" in done.stderr
    assert '`alembic merge -m "join heads" one two`' in done.stderr


@pytest.mark.pg(18)
@pytest.mark.parametrize(
    ("there", "written"),
    [
        ("V7__first.sql", {"V8__add_advised_indexes.sql", "V8__add_advised_indexes.sql.conf"}),
        ("000003_first.up.sql", {"000004_add_advised_indexes.up.sql", "000004_add_advised_indexes.down.sql"}),
        ("dbmate.sql", {"*_add_advised_indexes.sql"}),
        ("goose.sql", {"*_add_advised_indexes.sql"}),
        ("plain.sql", {"*_add_advised_indexes.sql"}),
    ],
)
def test_sql_migrations_take_the_form_of_their_neighbours(db, tmp_path, there, written):
    db.psql(TABLES)
    marks = {"dbmate.sql": "-- migrate:up\n", "goose.sql": "-- +goose Up\n"}
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / there).write_text(f"{marks.get(there, '')}select 1;\n")
    done = typed("select * from t where b = ?", "--migration", str(folder), DBKIT_DSN=db.dsn)
    assert done.returncode == 0, done.stderr
    new = [p for p in folder.iterdir() if p.name != there]
    assert len(new) == len(written)
    for pattern in written:
        assert list(folder.glob(pattern)), pattern
    text = "\n".join(p.read_text() for p in new)
    assert "create index concurrently t_b_idx on public.t (b);" in text
    assert "drop index concurrently public.t_b_idx;" in text or there.startswith("V")
    main = next(p for p in new if p.name.endswith((".up.sql", "indexes.sql")))
    before = "create table t (id bigint primary key, a int, b int, note text);"
    found = linted(main.read_text(), before=before, name=str(main))
    assert [f.rule for f in found.active if f.severity.value == "error"] == []
    if there == "plain.sql":
        db.psql(text)


@pytest.mark.pg(18)
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--sql", "gone.sql"), 2, "cannot read gone.sql"),
        (("--sql", "-"), 2, "holds no statement to advise on"),
        (("--sql", "-", "--migration", "nowhere"), 2, "there is no nowhere"),
        (("--top", "0"), 2, "--top"),
        (("--min-saving", "150"), 2, "--min-saving"),
        (("--try", "magic"), 2, "--try"),
        ((), 2, "pg_stat_statements is not there"),
        (("--sql", "queries", "--try", "hypopg"), 2, "HypoPG is not installed"),
        (("--sql", "queries", "--plan", "/nowhere/plan.json"), 2, "cannot write the plan"),
    ],
)
def test_bad_input_is_one_error(db, queries, arguments, code, told):
    done = dbkit("index", "advise", *(queries if a == "queries" else a for a in arguments), DBKIT_DSN=db.dsn)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_password_is_nowhere(db, queries, tmp_path):
    db.psql(TABLES)
    dsn = canary.give(db)
    plan, page, folder = tmp_path / "plan.json", tmp_path / "page.html", tmp_path / "m"
    folder.mkdir()
    more = ("--plan", str(plan), "-o", str(page), "--migration", str(folder), "-v")
    done = dbkit("index", "advise", "--sql", queries, *more, DBKIT_DSN=dsn)
    assert done.returncode == 0, done.stderr
    assert canary.traces(done, plan, page, *folder.iterdir(), db=db) == []


@pytest.mark.pg(18)
def test_a_locked_table_is_one_error_without_a_password(db, queries):
    db.psql(TABLES)
    dsn = canary.give(db)
    holder = db.connect(autocommit=False)
    holder.execute("lock table t in access exclusive mode")
    done = dbkit("index", "advise", "--sql", queries, DBKIT_DSN=dsn)
    holder.rollback()
    assert done.returncode != 0
    assert done.stderr.count("error:") == 1
    assert "lock" in done.stderr
    assert "Traceback" not in done.stderr
    assert canary.traces(done, db=db) == []
