"""Plain Alembic revisions through the executor: transactions, statements that refuse one, and what cannot be read."""

import threading
import time

import pytest

from dbkit.errors import UsageError
from dbkit.postgres.migrate import status

HEAD = '''"""{doc}

Revision ID: {id}
Revises: {down}
"""
import sqlalchemy as sa
from alembic import op

revision = "{id}"
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade():
{up}


def downgrade():
{undo}
'''


def revision(place, name, up, down=None, undo="    pass"):
    text = HEAD.format(doc=name, id=name, down=down, up=up, undo=undo)
    (place.folder / "versions" / f"{name}.py").write_text(text)


def versions(place):
    return [v for (v,) in place.db.execute("select version_num from alembic_version")]


def test_plain_revisions_run_and_are_taken_back(place):
    revision(
        place, "a",
        '    op.create_table("t", sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.Text))\n'
        "    op.execute(\"insert into t values (1, '50%\tx')\")",
        undo='    op.drop_table("t")',
    )  # fmt: skip
    revision(
        place, "b",
        '    op.add_column("t", sa.Column("b", sa.Integer))\n'
        "    with op.get_context().autocommit_block():\n"
        '        op.create_index("i", "t", ["a"], postgresql_concurrently=True, if_not_exists=True)\n'
        '    op.execute("comment on table t is \'done\'")',
        down="a",
        undo='    op.drop_column("t", "b")\n    op.drop_index("i")',
    )  # fmt: skip
    applied = place.done("expand")
    assert versions(place) == ["b"]
    assert [d["unit"] for d in applied.report.extra["statements"]] == [1, 1, 2, 3]
    assert place.db.execute("select a from t") == [("50%\tx",)]
    assert place.db.execute("select indisvalid from pg_index where indexrelid = 'i'::regclass") == [(True,)]
    assert place.alembic("current").stdout.startswith("b")
    place.done("rollback")
    assert place.db.execute("select to_regclass('t')") == [(None,)]
    assert versions(place) == []


def test_a_revision_that_fails_leaves_the_ones_before_it(place):
    revision(place, "a", '    op.execute("create table t (id int)")')
    revision(place, "b", '    op.execute("create table u (id int)")\n    op.execute("select 1 / 0")', down="a")
    applied = place.move("expand")
    assert applied.error is not None
    assert applied.error.exit_code == 6
    assert "division by zero" in applied.error.why
    assert versions(place) == ["a"]
    assert place.db.execute("select to_regclass('u')") == [(None,)]


def test_a_statement_that_holds_its_lock_too_long_is_cancelled(place):
    place.run("create table t (id int, a int); insert into t select n, n from generate_series(1, 300000) n")
    revision(
        place, "a", "    op.execute(\"alter table t alter column a type bigint using a + length(repeat('x', 1000))\")"
    )
    applied = place.move("expand", budget={"max_hold": 0.02})
    assert applied.error is not None
    assert "--max-hold" in applied.error.hint
    assert "ACCESS EXCLUSIVE on public.t" in applied.error.why
    assert place.db.execute("select to_regclass('alembic_version')") == [(None,)]
    place.done("expand", budget={"max_hold": 60.0})


COPY = """    bind = op.get_bind()
    for key, words in bind.execute(sa.text("select id, a from t where id > :n"), {"n": 0}).all():
        bind.execute(sa.text("update t set a = :a where id = :id"), {"a": words.upper(), "id": key})
    op.add_column("t", sa.Column("b", sa.Integer))
    if context.is_offline_mode():
        raise RuntimeError("needs a connection")"""


FAILED = "select 1 from dbkit.job_event where event = 'attempt failed'"


def online(place, name, up, **more):
    revision(place, name, up.replace("    ", "    from alembic import context\n    ", 1), **more)


def test_a_revision_that_needs_a_connection_runs_as_a_whole(place):
    place.run("create table t (id int, a text); insert into t values (1, 'x'), (2, '50%')")
    online(place, "a", COPY, undo='    op.get_bind()\n    op.drop_column("t", "b")')
    (entry,) = status.plan(place.target, place.environment).extra["revisions"]
    assert "run by Alembic on a connection" in entry["statements"][0]["sql"]
    applied = place.done("expand")
    assert versions(place) == ["a"]
    assert applied.report.extra["statements"][0]["attempts"] == 1
    assert place.db.execute("select a from t order by id") == [("X",), ("50%",)]
    assert place.alembic("current").stdout.startswith("a")
    place.done("rollback")
    assert versions(place) == []
    assert place.alembic("upgrade", "head").returncode == 0


def test_it_gives_its_place_up_and_is_called_again(place):
    place.run("create table t (id int, a text); insert into t values (1, 'x')")
    online(place, "a", COPY)
    holder = place.db.connect(autocommit=False)
    holder.execute("lock table t in share mode")

    def let_go():
        with place.db.connect() as other:
            there = "select 1 from pg_class where relname = 'job_event'"
            while not (other.execute(there).fetchone() and other.execute(FAILED).fetchone()):
                time.sleep(0.05)
        holder.commit()

    thread = threading.Thread(target=let_go)
    thread.start()
    applied = place.done("expand")
    thread.join()
    assert applied.report.extra["statements"][0]["attempts"] > 1
    assert place.db.execute("select a, b from t") == [("X", None)]


@pytest.mark.parametrize(
    ("up", "code", "told"),
    [
        ("    op.get_bind().execute(sa.text('insert into t values (1)'))\n    1 / 0", 6, "a.py:17: upgrade() fails"),
        ("    op.get_bind().execute(sa.text('insert into nowhere values (1)'))", 6, "nowhere"),
        (
            "    op.get_bind().execute(sa.text('insert into t values (1)')).connection.commit()",
            6,
            "ended the transaction",
        ),
        ("    op.get_bind()\n    with op.get_context().autocommit_block():\n        pass", 4, "split it"),
        ("    op.get_bind()\n    op.execute('vacuum t')", 4, "refuses to run in a transaction"),
        ("    op.get_bind()\n    raise SystemExit(3)", 6, "SystemExit"),
    ],
)
def test_what_goes_wrong_in_it_is_told_and_undone(place, up, code, told):
    place.run("create table t (id int)")
    revision(place, "a", up)
    applied = place.move("expand")
    assert applied.error.exit_code == code
    assert told in " ".join(applied.error.lines())
    if "commit()" not in up:
        assert place.db.execute("select count(*) from t") == [(0,)]
    assert place.db.execute("select to_regclass('alembic_version')") == [(None,)]


def test_a_lock_it_takes_and_holds_too_long_is_given_back(place):
    place.run("create table t (id int)")
    revision(place, "a", "    op.get_bind()\n    op.execute('lock table t')\n    op.execute('select pg_sleep(30)')")
    applied = place.move("expand", budget={"max_hold": 0.2})
    assert applied.error is not None
    assert applied.error.exit_code == 6
    assert "--max-hold" in applied.error.hint
    assert place.db.execute("select to_regclass('alembic_version')") == [(None,)]


def test_a_file_that_no_connection_would_mend_is_refused_before_anything_runs(place):
    revision(place, "a", '    op.execute("create table t (id int)")')
    revision(place, "b", "    nothing_of_that_name()", down="a")
    with pytest.raises(UsageError, match="cannot be read"):
        place.move("expand")
    assert place.db.execute("select to_regclass('t')") == [(None,)]


def test_branches_and_a_merge_run_in_the_order_of_their_graph(place):
    def make(name, down):
        revision(place, name, f'    op.create_table("t_{name}")', down=down, undo=f'    op.drop_table("t_{name}")')

    make("a", None)
    make("b1", "a")
    make("c1", "a")
    make("c2", "c1")
    revision(place, "z", "    pass", down=("b1", "c2"))
    place.done("expand")
    assert versions(place) == ["z"]
    place.alembic("downgrade", "a")
    assert versions(place) == ["a"]
    assert place.alembic("upgrade", "c1").returncode == 0
    place.done("expand")
    assert versions(place) == ["z"]
    place.done("rollback")
    assert sorted(versions(place)) == ["c1"]
    assert place.alembic("downgrade", "base").returncode == 0


def test_a_contract_holds_back_its_own_branch_only(place):
    revision(place, "a", "    pass")
    contract = '    op.execute("select 1")\n\n\nphase = "contract"'
    revision(place, "b1", "    pass", down="a", undo=contract)
    revision(place, "b2", '    op.create_table("t_b2")', down="b1")
    revision(place, "c1", '    op.create_table("t_c1")', down="a")
    place.done("expand")
    assert versions(place) == ["c1"]
    (entry,) = [r for r in status.plan(place.target, place.environment).extra["revisions"] if r["revision"] == "b1"]
    assert entry["phase"] == "contract"
    place.done("contract")
    assert sorted(versions(place)) == ["b1", "c1"]
    place.done("expand")
    assert sorted(versions(place)) == ["b2", "c1"]


def test_concurrently_inside_the_transaction_is_refused(place):
    place.run("create table t (id int)")
    revision(place, "a", '    op.execute("create index concurrently i on t (id)")')
    with pytest.raises(UsageError, match="refuses to run in a transaction"):
        raise place.move("expand").error


def test_settings_of_a_revision_hold_for_its_later_units(place):
    place.run("create schema other; create schema more")
    revision(
        place, "a",
        '    op.execute("set search_path = other")\n    op.execute("create table t (id int)")\n'
        "    with op.get_context().autocommit_block():\n"
        '        op.execute("create index concurrently i on t (id)")\n'
        '    op.execute("create table u (id int)")',
    )  # fmt: skip
    place.done("expand")
    found = place.db.execute(
        "select relname, relnamespace::regnamespace::text from pg_class where relname in ('t', 'u', 'i')"
    )
    assert sorted(found) == [("i", "other"), ("t", "other"), ("u", "other")]
