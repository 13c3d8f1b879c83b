"""Revisions that ask for a connection: what they send is watched, and nothing else they reach for is reached."""

import textwrap

import psycopg
import pytest

from dbkit.errors import UsageError
from dbkit.postgres.migrate import alembic_source, lint
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.rehearse import recorded
from dbkit.postgres.migrate.rehearse.probes import Probes
from dbkit.postgres.migrate.rehearse.run import Runner

FIRST = """
    op.create_table("t", sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))
    op.execute("insert into t select i, 0 from generate_series(1, 30) i")
"""
HEAD = """
import asyncio, os, socket, subprocess, threading
import psycopg
import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.orm import Session, declarative_base
revision, down_revision = "{number}", {down}
REAL = os.environ["REAL"]
def upgrade():
"""
LINE = HEAD.count("\n") + 1
"""Where a body begins."""


@pytest.fixture(autouse=True)
def real(db, monkeypatch):
    """The address of what stands for production: a revision finds it where an application would."""
    monkeypatch.setenv("REAL", db.dsn)


def scripts(folder, *bodies):
    (folder / "versions").mkdir()
    (folder / "env.py").write_text("import os\nos.environ['NEEDED']\nraise SystemExit('env.py must not run')\n")
    for number, body in enumerate(bodies):
        head = HEAD.format(number=number, down=f'"{number - 1}"' if number else None)
        (folder / "versions" / f"{number}.py").write_text(
            head + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")
        )
    return alembic_source.read(folder)


def ran(db, folder, *bodies, watching=True):
    runner = Runner(db.dsn, watching=watching)
    runner.run(scripts(folder, FIRST, *bodies))
    return runner


def rows(runner):
    """Of the second revision: the line of its body, the first word, how often, and the fate of each statement."""
    return [
        (o.line - LINE + 1, o.sql.split()[0].lower(), 1 + o.repeats, "caught" if o.caught else o.error and "failed")
        for o in runner.ledger.seen
        if "1.py" in o.file
    ]


RUNS = [
    # What depends on the dialect goes the way it goes in production.
    ('if op.get_bind().dialect.name == "postgresql":\n    op.execute("alter table t add x int")', [(2, "alter", 1, "")]),
    # A mock-up answers None where the server answers rows.
    (
        'if op.get_bind().execute(sa.text("select count(*) from t")).scalar() > 9:\n    op.execute("alter table t add x int")',
        [(1, "select", 1, ""), (2, "alter", 1, "")],
    ),
    # An inspector's questions are answered, not shown.
    (
        ('if "x" not in [c["name"] for c in sa.inspect(op.get_bind()).get_columns("t")]:\n'
        '    op.add_column("t", sa.Column("x", sa.Integer))'),
        [(2, "alter", 1, "")],
    ),
    ('if not context.is_offline_mode():\n    op.execute("alter table t add x int")', [(2, "alter", 1, "")]),
    # A loop over rows is one statement that ran often, whether its values are parameters or text.
    (
        ('for i, in op.get_bind().execute(sa.text("select id from t")).fetchall():\n'
        '    op.get_bind().execute(sa.text("update t set n = :i where id = :i"), {"i": i})\n'
        '    op.execute(f"update t set n = {i} where id = {i}")'),
        [(1, "select", 1, ""), (2, "update", 30, ""), (3, "update", 30, "")],
    ),
    # A loop over tables is many statements.
    (
        'b = op.get_bind()\nfor name in ("u", "v"):\n    op.execute(f"create table {name} (a int)")',
        [(3, "create", 1, ""), (3, "create", 1, "")],
    ),
    # The ORM.
    (
        ("class T(declarative_base()):\n"
        '    __tablename__ = "t"\n'
        "    id = sa.Column(sa.Integer, primary_key=True)\n"
        "    n = sa.Column(sa.Integer)\n"
        "with Session(bind=op.get_bind()) as session:\n"
        "    session.get(T, 3).n = 5\n"
        "    session.commit()\n"
        'op.get_bind().execute(sa.text("update t set n = n + 1 where n = 5"))'),
        [(6, "select", 1, ""), (7, "update", 1, ""), (8, "update", 1, "")],
    ),
    # An error behind a savepoint is the revision's own business.
    (
        ("b = op.get_bind()\ntry:\n    with b.begin_nested():\n"
        '        b.execute(sa.text("alter table gone add x int"))\nexcept sa.exc.ProgrammingError:\n    pass\n'
        'op.execute("alter table t add x int")'),
        [(4, "alter", 1, "caught"), (7, "alter", 1, "")],
    ),
    # Several statements in one message.
    (
        'op.get_bind()\nop.execute("update t set n = 1; alter table t add x int")',
        [(2, "update", 1, ""), (2, "alter", 1, "")],
    ),
    # Out of the transaction and in again.
    (
        ("op.get_bind()\nwith op.get_context().autocommit_block():\n"
        '    op.create_index("i", "t", ["n"], postgresql_concurrently=True)\nop.execute("alter table t add x int")'),
        [(3, "create", 1, ""), (4, "alter", 1, "")],
    ),
    # The driver's own cursor, and a percent sign.
    (
        'c = op.get_bind().connection.cursor()\nc.execute("update t set n = 3 where id % 7 = 0")\nassert c.rowcount == 4',
        [(2, "update", 1, "")],
    ),
]  # fmt: skip


@pytest.mark.parametrize("watching", [True, False])
@pytest.mark.parametrize(("body", "expected"), RUNS)
def test_it_goes_as_in_the_deploy(db, tmp_path, body, expected, watching):
    runner = ran(db, tmp_path, body, watching=watching)
    assert runner.stop is None, runner.stop
    assert rows(runner) == expected


STOPS = [
    ('op.get_bind()\nop.execute("alter table gone add x int")', 2, '"gone" does not exist'),
    ('op.get_bind().execute(sa.text("insert into t values (:i, 1)"), {"i": 1})', 1, "duplicate key"),
    # Caught without a savepoint: the transaction is lost all the same.
    (
        'try:\n    op.get_bind().execute(sa.text("alter table gone add x int"))\nexcept sa.exc.ProgrammingError:\n    pass',
        1, "without a savepoint",
    ),
    ('op.get_bind()\nop.execute("alter tabel t")', 2, "syntax error"),
    ("op.get_bind()\nraise SystemExit('enough')", 2, "SystemExit: enough"),
    ("op.get_bind()\nassert 1 == 2, 'odd'", 2, "AssertionError: odd"),
    # A second connection of the engine waits for the first, as it would for ever.
    (
        'op.execute("lock table t")\nwith op.get_bind().engine.begin() as c:\n    c.execute(sa.text("update t set n = 2"))',
        3, "in the deploy for ever",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "line", "words"), STOPS)
def test_it_stops_where_the_deploy_would(db, tmp_path, body, line, words, monkeypatch):
    monkeypatch.setattr("dbkit.postgres.migrate.rehearse.online._PATIENCE", "200ms")
    runner = ran(db, tmp_path, body)
    assert runner.stop is not None
    assert words in runner.stop.why
    assert runner.stop.line in (line + LINE - 1, 1)
    assert runner.stop.why == runner.ledger.seen[-1].error
    assert [o.error for o in runner.ledger.seen].count(runner.stop.why) == 1


OUTSIDE = [
    'sa.create_engine(REAL.replace("postgresql:", "postgresql+psycopg:")).connect()',
    "psycopg.connect(REAL)",
    "asyncio.run(psycopg.AsyncConnection.connect(REAL))",
    "thread = threading.Thread(target=lambda: psycopg.connect(REAL))\nthread.start()\nthread.join()",
    "try:\n    psycopg.connect(REAL)\nexcept Exception:\n    pass",
    'subprocess.run(["psql", REAL])',
    'os.system("psql")',
    'socket.create_connection(("127.0.0.1", 5432))',
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("body", OUTSIDE)
@pytest.mark.parametrize("first", ["", "op.get_bind()\n"])
def test_nothing_but_its_server_is_reached(db, tmp_path, body, first):
    runner = ran(db, tmp_path, first + body)
    assert runner.stop is not None
    assert "which is refused" in runner.stop.why
    with psycopg.connect(db.dsn) as still:  # ours connect as ever
        assert still.execute("select 1").fetchone() == (1,)


def test_lint_reaches_nothing_either(db, tmp_path):
    found = scripts(tmp_path, FIRST, "psycopg.connect(REAL)")
    assert found[1].problems == ((LINE, found[1].problems[0][1]),)
    assert "opens a connection of its own (psycopg), which is refused" in found[1].problems[0][1]


def test_nor_does_an_import(db, tmp_path):
    scripts(tmp_path, FIRST, "pass")
    with (tmp_path / "versions" / "1.py").open("a") as file:
        file.write("\npsycopg.connect(REAL)\n")
    with pytest.raises(UsageError, match="cannot be imported") as raised:
        alembic_source.read(tmp_path)
    assert "opens a connection of its own (psycopg)" in (raised.value.why or "")


def test_a_deadlock_costs_the_others_not_the_migration(db, tmp_path):
    db.psql("create table x (a int); insert into x values (1)")
    probes = Probes(db.dsn, [Name("public", "x")])
    try:
        runner = ran(
            db, tmp_path, 'op.execute("update x set a = 2")\nop.execute("select pg_sleep(0.3)")\nop.execute("alter table x add b int")'
        )  # fmt: skip
    finally:
        probes.stop()
    assert runner.stop is None, runner.stop


def test_lint_judges_what_ran(db, tmp_path):
    body = 'op.get_bind().execute(sa.text("select 1 from t")).fetchall()\nop.create_index("i", "t", ["n"])'
    found = scripts(tmp_path, FIRST, body)
    runner = Runner(db.dsn)
    runner.run(found)
    assert {f.rule for f in lint.examine(found, lint.Options()).report.active} >= {"migrate.unreadable"}
    found[0].history = True
    report = lint.examine(recorded.as_run(found, runner.ledger.seen), lint.Options()).report
    assert [(f.location.line, f.object) for f in report.active if f.rule == "migrate.index-not-concurrent"] == [
        (LINE + 1, "t")
    ]
    assert "migrate.unreadable" not in {f.rule for f in report.active}
