"""`dbkit audit` as a user meets it: several targets, fix plans, policies, baselines, bad input, and no password."""

import json

import pytest

from dbkit.plan import load
from dbkit.settings import from_address
from tests.cli import canary
from tests.fixtures.program import dbkit

MESS = (
    "create table t (id bigint primary key, a int, b int); create index t_a on t (a); create index t_a_again on t (a);"
    "create index t_a_b on t (a, b); create table child (t_id bigint references t)"
)
INDEXES = ("--select", "pg.index")  # the shared servers are set up to be thrown away, which the setting rules say
GONE = "postgresql://nobody@127.0.0.1:1/gone"


def config(folder, **targets):
    lines = [f'[targets.{name}]\ndsn_env = "URL_{name.upper()}"\n{more}\n' for name, more in targets.items()]
    (folder / "dbkit.toml").write_text("\n".join(lines))
    return str(folder / "dbkit.toml")


def report(done):
    return json.loads(done.stdout)


@pytest.mark.pg(18)
def test_the_others_are_reported_when_one_cannot_be_reached(db, tmp_path):
    db.psql(MESS)
    file = config(tmp_path, here="", gone="")
    done = dbkit(
        "audit", *INDEXES, "here", "gone", "--config", file, "--format", "json", URL_HERE=db.dsn, URL_GONE=GONE
    )
    assert done.returncode == 3
    found = report(done)
    assert [t["name"] for t in found["targets"]] == ["here", "gone"]
    assert {f["target"] for f in found["findings"]} == {"here"}
    assert {p["target"] for p in found["passed"]} == {"here"}
    (gone,) = [s for s in found["skipped"] if s["target"] == "gone"]
    assert "cannot connect to gone at 127.0.0.1:1" in gone["reason"]
    assert done.stderr.count("error:") == 1
    assert "hint:" in done.stderr


@pytest.mark.pg(18)
def test_each_line_says_whose_it_is_where_there_are_several(db, tmp_path):
    db.psql(MESS)
    file = config(tmp_path, one="", two="")
    done = dbkit("audit", *INDEXES, "one", "two", "--config", file, URL_ONE=db.dsn, URL_TWO=db.dsn)
    assert "warn one: pg.index-duplicate public.t_a_again" in done.stdout
    assert "warn two: pg.index-duplicate public.t_a_again" in done.stdout


@pytest.mark.parametrize("more", [(), ("--format", "html"), ("--format", "sarif"), ("--format", "junit")])
@pytest.mark.pg(18)
def test_every_format_is_delivered(db, more):
    db.psql(MESS)
    done = dbkit("audit", *INDEXES, *more, DBKIT_DSN=db.dsn)
    assert done.returncode == 0, done.stderr
    assert "t_a_again" in done.stdout


def test_a_fix_plan_mends_when_applied(db, tmp_path):
    db.psql(MESS)
    file = tmp_path / "fix.json"
    done = dbkit("audit", *INDEXES, "--fix", str(file), "--fail-on", "warn", DBKIT_DSN=db.dsn)
    assert done.returncode == 1, done.stderr
    assert f"dbkit apply {file}" in done.stderr
    plan = load(file)
    assert plan.kind == "fix"
    assert [(s.action, s.object) for s in plan.steps] == [
        ("create-index", "public.child_t_id_idx"),
        ("drop-index", "public.t_a"),
        ("drop-index", "public.t_a_again"),
    ]
    assert all(s.before and s.undo and s.lock.startswith("SHARE UPDATE EXCLUSIVE") for s in plan.steps)
    done = dbkit("apply", str(file), DBKIT_DSN=db.dsn)
    assert done.returncode == 0, done.stderr
    done = dbkit("audit", *INDEXES, "--fail-on", "info", DBKIT_DSN=db.dsn)
    assert done.returncode == 0, done.stdout
    left = {name for (name,) in db.execute("select indexname from pg_indexes where schemaname = 'public'")}
    assert left == {"t_pkey", "t_a_b", "child_t_id_idx"}


def test_a_stale_fix_plan_is_refused(db, tmp_path):
    db.psql(MESS)
    file = tmp_path / "fix.json"
    dbkit("audit", *INDEXES, "--fix", str(file), DBKIT_DSN=db.dsn)
    db.psql("drop index t_a_again; create index t_a_again on t (b)")
    done = dbkit("apply", str(file), DBKIT_DSN=db.dsn)
    assert done.returncode == 4, done.stderr
    assert "t_a_again" in done.stderr
    assert db.execute("select to_regclass('t_a')") != [(None,)]


@pytest.mark.pg(18)
def test_what_the_policy_sets_aside_is_not_fixed(db, tmp_path):
    db.psql(MESS)
    policy = tmp_path / "mine.yaml"
    policy.write_text(
        "version: 1\nextends: default\nrules:\n  pg.index-foreign-key-unindexed: off\n"
        "ignore:\n  - {rule: pg.index-duplicate, object: 'public.t_*', reason: being migrated}\n"
    )
    done = dbkit("audit", *INDEXES, "--policy", str(policy), "--fix", str(tmp_path / "f.json"), DBKIT_DSN=db.dsn)
    assert done.returncode == 0, done.stderr
    assert [s.object for s in load(tmp_path / "f.json").steps] == ["public.t_a"]
    assert "1 suppressed" in done.stdout
    assert "foreign-key" not in done.stdout


@pytest.mark.pg(18)
def test_a_baseline_hides_what_was_there(db, tmp_path):
    db.psql(MESS)
    base = tmp_path / "base.json"
    done = dbkit("audit", *INDEXES, "-o", str(base), "--fail-on", "warn", DBKIT_DSN=db.dsn)
    assert done.returncode == 1
    arguments = ("audit", *INDEXES, "--baseline", str(base), "--fail-on", "info")
    assert dbkit(*arguments, DBKIT_DSN=db.dsn).returncode == 0
    db.psql("create index t_b on t (b); create index t_b2 on t (b)")
    done = dbkit(*arguments, DBKIT_DSN=db.dsn)
    assert done.returncode == 1
    assert "t_b2" in done.stdout


@pytest.mark.pg(18)
def test_a_database_that_is_not_the_documented_one_is_not_held_against_the_documents(db):
    db.psql(MESS)
    found = report(dbkit("audit", *INDEXES, "--format", "json", DBKIT_DSN=db.dsn))
    assert not [f for f in found["findings"] if f["rule"] in ("pg.index-missing", "pg.index-cannot-build")]
    assert [s for s in found["skipped"] if s["rule"] == "pg.index-missing" and "9 documented tables" in s["reason"]]


@pytest.mark.pg(18)
def test_named_wanted_indexes_are_always_held_against(db, tmp_path):
    (tmp_path / "w.sql").write_text("create index i on no_such_table (a);")
    done = dbkit("audit", *INDEXES, "--file", str(tmp_path / "w.sql"), DBKIT_DSN=db.dsn)
    assert done.returncode == 1
    assert "there is no table no_such_table" in done.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: {pg.index-unsued: off}", "p.yaml:2: no rule is called 'pg.index-unsued'"),
        ("rules:\n  pg.index-unused:\n    max_scan: 3", "p.yaml:4: pg.index-unused has no limit 'max_scan'"),
        ("rules:\n  pg.index-bloated: {min_bytes: much}", "p.yaml:3: pg.index-bloated: min_bytes"),
        ("ignore:\n  - rule: pg.index-invalid", "p.yaml:3"),
        ("rule: {}", "p.yaml:2"),
    ],
)
def test_a_policy_is_refused_at_its_line_before_anything_is_asked(text, words, tmp_path):
    (tmp_path / "p.yaml").write_text(f"version: 1\n{text}\n")
    done = dbkit("audit", "--policy", "p.yaml", "--dsn", GONE, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert done.stderr.count("error:") == 1
    assert "hint:" in done.stderr or "field required" in done.stderr.lower() or "not a size" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nowhere",), 2, "no target is called 'nowhere'"),
        (("her",), 2, "did you mean 'here'?"),
        (("here",), 2, "URL_HERE"),
        (("here", "other", "--fix", "f.json"), 2, "one database"),
        (("--dsn", "mysql://u@h/d"), 2, "no engine answers"),
        (("--dsn", GONE, "--ignore", "pg.index-invald"), 2, "did you mean pg.index-invalid"),
        (("--dsn", GONE, "--baseline", "none.json"), 2, "cannot read the baseline"),
        (("--dsn", GONE), 3, "check host and port"),
    ],
)
def test_bad_input_is_one_error_with_a_hint(arguments, code, words, tmp_path):
    file = config(tmp_path, here="", other="")
    done = dbkit("audit", *arguments, "--config", file, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert done.stderr.count("error:") == 1
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.pg(18)
def test_a_locked_table_is_an_error_that_says_who_holds_it(db):
    db.psql(MESS)
    with db.connect(autocommit=False, application_name="the migration") as holder:
        holder.execute("lock table t in access exclusive mode")
        done = dbkit("audit", DBKIT_DSN=db.dsn)
        assert done.returncode == 6, done.stderr
        assert "a table is locked" in done.stderr
        assert "dbkit doctor" in done.stderr
        done = dbkit("doctor", DBKIT_DSN=db.dsn)
        assert "the migration) holds ACCESS EXCLUSIVE on public.t" in done.stdout


def test_no_password_is_left_anywhere(db, tmp_path):
    db.psql(MESS)
    address = canary.give(db)
    assert from_address(address).dsn() == address
    files = [tmp_path / f"r{suffix}" for suffix in (".txt", ".json", ".sarif", ".xml", ".md", ".html")]
    plan = tmp_path / "fix.json"
    outputs = [part for file in files for part in ("-o", str(file))]
    runs = [
        ("audit", "-v", *INDEXES, "--fix", str(plan), *outputs),
        ("audit", "-v", "--format", "json", "--fail-on", "never"),
        ("doctor",),
        ("doctor", "--format", "json"),
        ("apply", str(plan)),
        ("job", "list", "--format", "json"),
    ]
    for arguments in runs:
        done = dbkit(*arguments, DBKIT_DSN=address)
        assert done.returncode == 0, done.stderr
        assert canary.traces(done, plan, *files, db=db) == [], arguments
    assert all(file.stat().st_size for file in files)
    wrong = dbkit("audit", DBKIT_DSN=address.replace("@127", "x@127"))
    assert wrong.returncode == 3
    assert "password authentication failed" in wrong.stderr
    assert canary.traces(wrong) == []
