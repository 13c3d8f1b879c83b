"""Plain Alembic revisions through the executor: transactions, statements that refuse one, and what cannot be read."""

import pytest

from dbkit.errors import UsageError

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


def test_what_needs_a_connection_is_said_before_anything_runs(place):
    revision(place, "a", '    op.execute("create table t (id int)")')
    revision(place, "b", "    op.get_bind().execute(sa.text('select 1')).scalar()", down="a")
    with pytest.raises(UsageError, match="cannot be read without a connection"):
        place.move("expand")
    assert place.db.execute("select to_regclass('t')") == [(None,)]


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
