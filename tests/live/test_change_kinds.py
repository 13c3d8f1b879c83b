"""Every kind of change, from `new` to contract and back, with nobody else about: what is there after each step."""

import json

import pytest
from alembic import command
from alembic.config import Config

from dbkit.errors import Refused
from dbkit.postgres.migrate import alembic_source, lint
from tests.fixtures.change_cases import CASES

ROWS = 300


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


@pytest.fixture
def made(place, case):
    place.run(case.schema)
    if case.old.table == "t":
        columns = ", ".join(case.old.columns)
        with place.db.connect() as connection:
            connection.cursor().executemany(
                f"insert into t (id, {columns}) values (%s{', %s' * len(case.old.columns)})",
                [(n, *case.old.show(n)) for n in range(1, ROWS + 1)],
            )
    if case.seed:
        place.run(case.seed)
    place.change = place.new(case.kind, case.place, *case.words, **case.more)
    return place


def rows(place, shape):
    return place.db.execute(f"select {shape.key}, {', '.join(shape.columns)} from {shape.table} order by 1")


def held(place, tables):
    return [f"{name} {line}" for name in tables for line in place.facts(name)]


def test_there_and_back(made, case):
    before, told = held(made, case.tables), rows(made, case.old)
    made.done("expand")
    assert made.phase(made.change) in ("expanded", "verified", "contracted")
    assert rows(made, case.old) == told
    made.done("rollback")
    assert made.phase(made.change) == "new"
    assert held(made, case.tables) == before
    assert rows(made, case.old) == told
    assert made.db.execute("select * from dbkit.migration_part") == []


def test_to_the_end_and_back(made, case):
    before = held(made, case.tables)
    made.done("expand")
    if case.fills:
        assert made.move_refused("contract")
        made.fill(made.change)
    if case.contracts:
        assert made.phase(made.change) == "verified"
        made.done("contract")
    assert made.phase(made.change) == "contracted"
    assert rows(made, case.new) == [(n, *case.new.show(n)) for n in range(1, ROWS + 1)]
    assert made.db.execute("select proname from pg_proc where proname like 'dbkit%'") == []
    assert made.db.execute("select tgname from pg_trigger where tgname like '%dbkit%'") == []
    names = case.tables if case.old.table == case.new.table else (case.new.table,)
    after = held(made, names)
    if not case.back:
        with pytest.raises(Refused, match="cannot be rolled back"):
            made.move("rollback", made.change)
        return
    made.done("rollback", made.change)
    if case.contracts:
        assert rows(made, case.old) == [(n, *case.old.show(n)) for n in range(1, ROWS + 1)]
        if made.phase(made.change) == "expanded":
            made.fill(made.change)
        made.done("contract")  # and forward again
        assert held(made, names) == after
        made.done("rollback", made.change)
        made.done("rollback", made.change)
    assert made.phase(made.change) == "new"
    assert held(made, case.tables) == before
    assert rows(made, case.old) == [(n, *case.old.show(n)) for n in range(1, ROWS + 1)]


def test_by_plain_alembic(made, case, monkeypatch):
    """As `alembic upgrade` and `downgrade` do it, in this process: theirs takes a second to start."""
    before = held(made, case.tables)
    monkeypatch.setenv("DATABASE_URL", made.db.dsn)
    config = Config(made.ini)
    command.upgrade(config, "head")
    assert made.phase(made.change) == "contracted"
    assert rows(made, case.new) == [(n, *case.new.show(n)) for n in range(1, ROWS + 1)]
    if case.back:
        command.downgrade(config, "base")
        assert made.phase(made.change) == "new"
        assert held(made, case.tables) == before
        command.upgrade(config, "head")


@pytest.mark.pg(18)
def test_by_the_command_of_alembic(place):
    place.run("create table t (id int primary key, a text not null default 'v'); insert into t select 1")
    place.change = place.new("rename-column", "t.a", "b")
    for words, phase in ((("upgrade", "head"), "contracted"), (("downgrade", "base"), "new")):
        done = place.alembic(*words)
        assert done.returncode == 0, done.stderr
        assert place.phase(place.change) == phase


@pytest.mark.pg(18)
def test_the_revisions_pass_lint(made, case):
    schema = made.db.psql("\\! true") and ""
    scripts = alembic_source.read(made.ini)
    report = lint.lint(scripts, lint.Options(schema_sql=schema + case.schema.split("insert into")[0]))
    errors = [f for f in report.active if f.severity.value == "error"]
    assert errors == [], [(f.rule, f.message, f.location) for f in errors]


def told(made, case, phase):
    """The one entry of `status`, held to the shape that pipelines read."""
    (entry,) = made.status()
    assert {key: type(value) for key, value in entry.items()} == {
        "id": str, "kind": str, "table": str, "phase": str, "next": str, "blocked_by": list, "rows_done": int,
        "rows_total": int if case.fills else type(None), "longest_wait_ms": float,
    }  # fmt: skip
    for block in entry["blocked_by"]:
        assert set(block) == {"what", "who", "hint"}
        assert all(isinstance(text, str) and text for text in block.values())
    assert (entry["id"], entry["kind"], entry["phase"]) == (made.change, case.kind, phase)
    assert entry["next"] == {
        "new": "expand", "expanded": "backfill", "verified": "contract", "contracted": "",
    }[phase]  # fmt: skip
    if case.fills:
        assert 0 <= entry["rows_done"] <= entry["rows_total"]
    assert json.loads(json.dumps(entry)) == entry
    return entry


@pytest.mark.pg(18)
def test_status_tells(made, case):
    assert told(made, case, "new")["blocked_by"] == []
    made.done("expand")
    if case.fills:
        assert told(made, case, "expanded")["blocked_by"][0]["who"]
        made.fill(made.change)
    entry = told(made, case, "verified" if case.contracts else "contracted")
    assert entry["longest_wait_ms"] > 0 or not case.locks
    if case.contracts:
        if case.old.columns != case.new.columns:
            assert entry["blocked_by"]  # the gate has watched for no time yet
        made.done("contract")
        assert told(made, case, "contracted")["blocked_by"] == []
    if case.contracts and case.back:
        made.done("rollback", made.change)
        told(made, case, made.phase(made.change))


def test_a_table_is_dropped(place):
    place.run(
        "create table t (id int primary key); create table other (id int primary key, t int references t);"
        " create table up (id int primary key); alter table t add up int references up;"
        " insert into t select 1; insert into other values (1, 1)"
    )
    change = place.new("drop-table", "t")
    before = [place.facts(name) for name in ("t", "other", "up")]
    place.done("expand")
    place.run("delete from t")  # nothing points at it any more
    place.run("insert into t values (1)")
    place.done("rollback")
    assert [place.facts(name) for name in ("t", "other", "up")] == before
    place.done("expand")
    place.done("contract")
    assert place.phase(change) == "contracted"
    assert place.db.execute("select to_regclass('t')") == [(None,)]
    with pytest.raises(Refused, match="cannot be rolled back"):
        place.move("rollback", change)


def test_an_expand_that_the_rows_do_not_allow_is_taken_back(place):
    """Orphans, duplicates, rows that break the condition: named, nothing left, and the pipeline sees exit 6."""
    place.run(
        "create table p (id int primary key); create table t (id int primary key, a int);"
        " insert into t select n, n / 2 from generate_series(1, 10) n"
    )
    before = place.facts("t")
    for words in (("add-foreign-key", "t.a", "p"), ("add-unique", "t", "a"), ("add-check", "t", "a > 3")):
        change = place.new(*words)
        applied = place.move("expand", change)
        assert applied.error is not None
        assert applied.error.exit_code == 6, applied.error.lines()
        assert "rolled back" in applied.error.what
        assert place.phase(change) == "new"
        assert place.facts("t") == before
        for file in (place.folder / "versions").glob("*.py"):
            file.unlink()
