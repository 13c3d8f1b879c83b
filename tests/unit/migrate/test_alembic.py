"""Alembic revisions: rendered one by one, offline, each statement at its op. line."""

import pytest

from dbkit.errors import UsageError
from dbkit.postgres.migrate import alembic_source, lint

FIRST = """
revision, down_revision = "a1", None
import sqlalchemy as sa
from alembic import op

def upgrade():
    op.create_table("users", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(50)))
"""
SECOND = """
revision, down_revision = "b2", "a1"
import sqlalchemy as sa
from alembic import op

def upgrade():
    op.alter_column("users", "name", type_=sa.String(100), existing_type=sa.String(50))
    with op.get_context().autocommit_block():
        op.create_index("users_name", "users", ["name"], postgresql_concurrently=True)
    op.create_index(
        "users_id",
        "users", ["id"])  # dbkit: ignore index-not-concurrent reason="tiny table"
    op.execute("create index i on users (name); alter table users alter column name set not null")
"""
THIRD = """
revision, down_revision = "c3", "b2"
from alembic import op

def upgrade():
    op.execute("create index k on users (name)")
    op.get_bind().execute("select 1").fetchall()
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "env.py").write_text("raise SystemExit('env.py must not run')")
    (tmp_path / "versions").mkdir()
    for name, text in (("a1_x.py", FIRST), ("b2_y.py", SECOND)):
        (tmp_path / "versions" / name).write_text(text)
    return tmp_path


def findings(path):
    report = lint.lint(alembic_source.read(path))
    return report, [
        (f.rule.removeprefix("migrate."), f.location.line)
        for f in report.active
        if f.rule.split(".")[1] in ("index-not-concurrent", "not-null-scans", "unreadable", "not-in-transaction")
    ]


def test_findings_stand_at_the_op_line(folder):
    report, found = findings(folder)
    assert sorted(found) == [("index-not-concurrent", 13), ("not-null-scans", 13)]
    assert [(f.rule, f.location.line) for f in report.suppressed] == [("migrate.index-not-concurrent", 10)]
    assert "migrate.column-type-rewrites" not in {f.rule for f in report.active}
    assert not list(folder.rglob("__pycache__"))


def test_autocommit_block_is_outside_of_the_transaction(folder):
    scripts = alembic_source.read(folder)
    assert [p.control for p in scripts[1].parts if p.control] == ["end", "begin"]


@pytest.mark.parametrize("given", ["versions", "versions/b2_y.py", "alembic.ini", "pyproject.toml"])
def test_every_way_to_name_it(folder, given):
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s\n")
    (folder / "pyproject.toml").write_text('[tool.alembic]\nscript_location = "."\n')
    assert alembic_source.is_alembic(folder / given)
    _, found = findings(folder / given)
    assert ("not-null-scans", 13) in found


def test_one_revision_alone_is_judged_with_those_before_as_schema(folder):
    (folder / "versions" / "c3_z.py").write_text(
        "revision, down_revision = 'c3', 'b2'\ndef upgrade():\n    raise Exception\n"
    )
    scripts = alembic_source.read(folder / "versions" / "b2_y.py")
    assert [s.history for s in scripts] == [True, False]


def test_what_only_runs_online_is_reported_with_what_came_before(folder):
    (folder / "versions" / "c3_z.py").write_text(THIRD)
    _, found = findings(folder)
    assert ("unreadable", 7) in found
    assert ("index-not-concurrent", 6) in found


@pytest.mark.parametrize(
    ("files", "path", "words"),
    [
        ({"alembic.ini": "[alembic]\nscript_location = nowhere\n"}, "alembic.ini", "no Alembic environment"),
        ({"alembic.ini": "[other]\n"}, "alembic.ini", "names no script_location"),
        ({"pyproject.toml": "[tool.x]\n"}, "pyproject.toml", "no .tool.alembic."),
        ({"env.py": ""}, ".", "holds no Alembic revisions"),
        ({"manage.py": ""}, "manage.py", "not a migration"),
        ({"env.py": "", "versions/a.py": "down_revision = 'zz'\nrevision = 'a'\ndef upgrade(): pass"}, ".", "revision"),
        ({"env.py": "", "versions/a.py": "down_revision = None\ndef upgrade( : pass"}, ".", "cannot"),
    ],
)
def test_what_is_missing_is_said(tmp_path, files, path, words):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def read():
        assert alembic_source.is_alembic(tmp_path / path)
        return alembic_source.read(tmp_path / path)

    with pytest.raises(UsageError, match=words):
        read()
