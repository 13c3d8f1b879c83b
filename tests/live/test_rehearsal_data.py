"""What a rehearsal's rows hold beside the seeds' own values: rows that COPY brings, and NULLs as production has them."""

import psycopg
import pytest

from dbkit.postgres import ddl
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rehearse import nulls, predict, rehearsal
from dbkit.postgres.migrate.rehearse.choose import Choice
from dbkit.postgres.migrate.rehearse.run import Runner
from dbkit.postgres.migrate.rehearse.seed import Seeder
from dbkit.postgres.migrate.source import make
from dbkit.postgres.migrate.stats import Stats, TableSize

COPY = (
    "-- ünlike bytes, letters count\n\\set ON_ERROR_STOP on\ncreate table t (a int, b text);\n"
    "copy t (a, b) from stdin;\n1\tünö\n2\t\\N\n3\ta; b\n\\.\n{}"
)


def ran(db, *texts, watching=True):
    runner = Runner(db.dsn, watching=watching)
    runner.run([make(f"{n}.sql", text) for n, text in enumerate(texts)])
    return runner


@pytest.mark.parametrize("watching", [True, False])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_copy_brings_its_rows(db, watching, newline):
    text = COPY.format("create index i on t (a);\ncopy t (a) from stdin with (format csv);\n4\n").replace("\n", newline)
    runner = ran(db, text, watching=watching)
    assert runner.stop is None
    assert db.execute("select a, b from t order by a") == [(1, "ünö"), (2, None), (3, "a; b"), (4, None)]
    assert not runner.notes


def test_rows_that_the_table_refuses_stop_the_rehearsal(db):
    runner = ran(db, "create table t (a int check (a < 3));\ncopy t from stdin;\n1\n7\n\\.\nselect 1;\n")
    assert runner.stop is not None
    assert runner.stop.line == 2
    assert "check constraint" in runner.stop.why


def test_copy_to_the_client_and_from_files_are_left_alone(db):
    runner = ran(db, "create table t (a int);\ncopy t from '/nonexistent/file';\n")
    assert runner.stop is not None
    assert "nonexistent" in runner.stop.why


def seeded(db, schema, pending="", stats=None, rows=400):
    db.psql(schema)
    statements = ddl.parse(pending) if pending else ()
    with psycopg.connect(db.dsn, autocommit=True) as connection:
        seeder = Seeder(
            connection,
            lambda table, root: rows,
            nulls=lambda table, root: nulls.wanted(table, root, statements, stats),
        )
        return {s.table.name: s for s in seeder.run()}


def share(db, column, table="t"):
    return float(db.execute(f"select avg(({column} is null)::int) from {table}")[0][0])


def known(**shares):
    return Stats({("public", "t"): TableSize(1 << 20, 4000, nulls=shares)})


def test_production_says_how_many(db):
    seeded(
        db,
        "create table t (id int primary key, a int, b text check (b <> ''), c date, d int not null, e int unique)",
        stats=known(a=0.5, b=0.1, c=1.0, e=0.0, gone=0.7),
    )
    assert share(db, "a") == pytest.approx(0.5, abs=0.05)
    assert share(db, "b") == pytest.approx(0.1, abs=0.05)
    assert (share(db, "c"), share(db, "d"), share(db, "e")) == (1, 0, 0)
    both = db.execute("select avg((a is null and b is null)::int) from t")[0][0]
    assert 0 < both < 0.1  # the columns do not go together


@pytest.mark.parametrize(
    ("pending", "some"),
    [
        ("update t set a = 1 where a is null", True),
        ("create index on t (a) where a is not null", True),
        ("update t set b = coalesce(a, 0)", True),
        ("update t set a = 1", False),
        ("update other set a = 1 where a is null", False),
    ],
)
def test_without_statistics_statements_ask_for_them(db, pending, some):
    seeded(db, "create table t (id int primary key, a int, b int); create table other (a int)", pending)
    assert (share(db, "a") > 0) is some
    assert share(db, "b") == 0


def test_checks_and_keys_have_the_last_word(db):
    found = seeded(
        db,
        "create table p (id int primary key); create table t (id int primary key, x int, y int,"
        " check (num_nonnulls(x, y) = 1), p int references p, q int, r int, foreign key (q) references p);"
        " create table m (a int, b int) partition by range (a); create table m1 partition of m for values from (1) to"
        " (9999)",
        stats=Stats(
            {
                ("public", "t"): TableSize(1, 1, nulls={"x": 0.5, "y": 0.9, "p": 0.3}),
                ("public", "m"): TableSize(1, 1, nulls={"a": 0.5, "b": 0.5}),
            }
        ),
    )
    assert {s.rows for s in found.values()} == {400}
    assert db.execute("select count(*) from t where num_nonnulls(x, y) <> 1") == [(0,)]
    assert share(db, "p") == pytest.approx(0.3, abs=0.1)
    assert (share(db, "a", "m"), share(db, "b", "m")) == (0, pytest.approx(0.5, abs=0.1))


def rehearsed(pending, stats=None, read_rate=None, history="create table t (id int primary key, a int)"):
    choice = Choice((make("0.sql", history),), (make("1.sql", pending),))
    (outcome,) = rehearsal.rehearse(choice, rehearsal.Options(majors=(18,), stats=stats, rows=500, read_rate=read_rate))
    return outcome


def test_not_null_fails_as_production_would():
    outcome = rehearsed("alter table t alter a set not null", known(a=0.2))
    assert outcome.stop is not None
    assert "contains null values" in outcome.stop.why
    filled = rehearsed("update t set a = 0 where a is null; alter table t alter a set not null", known(a=0.2))
    assert filled.stop is None
    assert not filled.notes


def test_what_nobody_knows_is_said():
    (note,) = rehearsed("alter table t alter a set not null").notes
    assert "NULL in t.a" in note
    assert "--stats" in note


def test_tables_that_are_not_probed_are_named():
    history = "; ".join(f"create table t{n} (id int)" for n in range(10))
    pending = "; ".join(f"alter table t{n} add a int" for n in range(10))
    (note,) = rehearsed(pending, history=history).notes
    assert "8 of 10" in note
    assert note.endswith("t8, t9")


def test_a_cold_table_takes_what_its_storage_takes():
    stats = Stats({("public", "t"): TableSize(100 << 30, 4000, nulls={})})
    (cold,) = rehearsed("alter table t add check (a > 0)", stats, 200 << 20).predictions
    (warm,) = rehearsed("alter table t add check (a > 0)", stats).predictions
    assert cold is not None
    assert warm is not None
    assert cold.low < cold.likely < cold.high
    assert cold.likely >= (100 << 30) / (200 << 20)
    (nothing,) = rehearsed("alter table t add b int", stats, 200 << 20).predictions
    assert nothing is not None
    assert nothing.high < 1  # metadata only: no row is read


def test_a_floor_keeps_what_is_above_it():
    one = predict.Prediction(10, 8, 14)
    assert one.at_least(1) == one
    assert one.at_least(20) == predict.Prediction(20, 16, 25)


def test_a_name_with_a_schema_is_not_another(db):
    table = Name("app", "t")
    assert nulls.unknown([table], ddl.parse("alter table other.t alter a set not null"), None) == []
    assert nulls.unknown([table], ddl.parse("alter table app.t alter a set not null"), None)
