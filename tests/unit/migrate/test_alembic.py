"""Alembic revisions: rendered one by one, offline, each statement at its op. line."""

import sys
from pathlib import Path

import pytest

from dbkit.errors import UsageError
from dbkit.postgres.migrate import alembic_source, lint, revisions

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


@pytest.mark.parametrize(
    ("location", "given"),
    [
        ("%(here)s/db", "proj/alembic.ini"),
        ("db", "proj/alembic.ini"),
        ("proj:db", "proj/alembic.ini"),
        ("proj/db", "proj/alembic.ini"),
        ("db", "proj/db"),
        ("db", "proj/db/versions/a1.py"),
    ],
)
def test_the_location_and_the_import_path_are_those_of_the_configuration(tmp_path, monkeypatch, location, given):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "proj" / "db"
    (place / "versions").mkdir(parents=True)
    (place / "env.py").write_text("raise SystemExit('env.py must not run')")
    (tmp_path / "proj" / "tables_of_ours.py").write_text("NAME = 'orders'")
    (place / "versions" / "a1.py").write_text(
        "from tables_of_ours import NAME\nfrom alembic import op\nrevision, down_revision = 'a1', None\n"
        "def upgrade():\n    op.execute(f'create table {NAME} (id int)')\n"
    )
    ini = f"[alembic]\nscript_location = {location}\nprepend_sys_path = .\npath_separator = os\n"
    (tmp_path / "proj" / "alembic.ini").write_text(ini)
    before = list(sys.path)
    (script,) = alembic_source.read(Path(given))
    assert script.text == "create table orders (id int);"
    assert sys.path == before
    sys.modules.pop("tables_of_ours")


def test_the_revision_that_cannot_be_imported_is_named(folder):
    (folder / "versions" / "c3_z.py").write_text(
        "import no_such_module_of_ours\nrevision, down_revision = 'c3', 'b2'\n"
    )
    with pytest.raises(UsageError, match=r"revision c3_z\.py cannot be imported") as caught:
        alembic_source.read(folder)
    assert "no_such_module_of_ours" in caught.value.why


def test_what_is_no_sql_is_said_with_the_revisions_line_alone(folder):
    (folder / "versions" / "c3_z.py").write_text(
        "from alembic import op\nrevision, down_revision = 'c3', 'b2'\ndef upgrade():\n    op.execute('alter tabel t')\n"
    )
    report, _ = findings(folder)
    (found,) = [f for f in report.active if f.rule == "migrate.syntax-error"]
    assert (found.location.line, found.message) == (4, 'syntax error at or near "tabel"')


def test_one_call_that_sends_two_statements_could_not_be_one(folder):
    (folder / "versions" / "c3_z.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\nrevision, down_revision = 'c3', 'b2'\ndef upgrade():\n"
        "    with op.batch_alter_table('u') as u:\n        u.add_column(sa.Column('a', sa.Text))\n"
        "        u.add_column(sa.Column('b', sa.Text))\n"
    )
    report, _ = findings(folder)
    assert not [f for f in report.active if f.rule == "migrate.several-alters" and "c3_z" in f.location.file]


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


NAMED = """
revision, down_revision = "c1", None
import sqlalchemy as sa
from alembic import op

def upgrade():
    op.create_table("t", sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.Integer), sa.Column("b", sa.Integer))
"""
BY_CONVENTION = """
revision, down_revision = "d2", "c1"
from alembic import op

def upgrade():
    op.create_unique_constraint(None, "t", ["a"])
    op.create_check_constraint("positive", "t", "a > 0")
    op.create_foreign_key(None, "t", "t", ["b"], ["id"])
    op.create_index(None, "t", ["b"])
    op.drop_constraint(op.f("uq_t_a"), "t")
"""
MODELS = """
from sqlalchemy import MetaData
NAMES: dict[str, str] = {
    "ix": "ix_%(column_0_label)s", "uq": "uq_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s", "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
}
metadata = MetaData(naming_convention=NAMES)
raise SystemExit("a model must not run")
"""
NAMES_GIVEN = ("ADD CONSTRAINT uq_t_a UNIQUE", "ck_t_positive", "fk_t_b_t", "ix_t_b")


@pytest.mark.parametrize(
    ("files", "given"),
    [
        ({"app/models.py": MODELS, "env.py": "from app.models import metadata as target_metadata"}, True),
        ({"app/models.py": MODELS, "app/__init__.py": "from .models import metadata", "env.py": "import app"}, True),
        ({"src/app/models.py": MODELS, "src/app/db.py": "from app import models", "env.py": "from app.db import x"}, True),
        ({"env.py": MODELS}, True),
        ({"names.py": MODELS, "env.py": "from names import NAMES\nt = MetaData(naming_convention=NAMES)"}, True),
        ({"env.py": "t = MetaData(naming_convention=given())"}, False),
        ({"env.py": "import app", "app.py": "def broken(:"}, False),
        ({"env.py": MODELS + "other = MetaData(naming_convention={'uq': 'u_%(table_name)s'})"}, False),
        ({"env.py": "t = MetaData(naming_convention={'uq': '%(own_token)s', 'own_token': f})"}, False),
        ({"env.py": ""}, False),
    ],
)  # fmt: skip
def test_names_follow_a_convention_that_the_source_shows(tmp_path, files, given):
    place = tmp_path / "migrations"
    (place / "versions").mkdir(parents=True)
    for name, text in files.items():
        file = (place if name == "env.py" else tmp_path) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (place / "versions" / "c1.py").write_text(NAMED)
    (place / "versions" / "d2.py").write_text(BY_CONVENTION)
    text = alembic_source.read(place)[1].text
    deployed = "\n".join(p.sql for p in revisions.find(place)["d2"].parts("upgrade"))
    assert [name in text for name in NAMES_GIVEN] == [given, given, given, True]  # SQLAlchemy names indexes by itself
    assert deployed == text


@pytest.mark.parametrize(
    ("env", "revision", "line"),
    [
        ("\nt = MetaData(naming_convention=given())", NAMED, 2),
        ("x = {'uq': 'a_' + 'b'}\n\nt = MetaData(naming_convention=x)", NAMED, 3),
        ("t = MetaData(naming_convention={'uq': '%(own)s', 'own': f})", NAMED, 1),
        (MODELS + "other = MetaData(naming_convention={'uq': 'u_%(table_name)s'})", NAMED, 9),
        (MODELS, NAMED, None),
        ("t = MetaData(naming_convention=None)", NAMED, None),
        ("t = MetaData()", NAMED, None),
        (
            "t = MetaData(naming_convention=given())",
            NAMED.replace('sa.Column("id", sa.Integer, primary_key=True), ', ""),
            None,
        ),
    ],
)
def test_names_that_are_not_known_are_said_where_the_convention_stands(tmp_path, env, revision, line):
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(env)
    (tmp_path / "versions" / "c1.py").write_text(revision)
    report = lint.lint(alembic_source.read(tmp_path))
    said = [f for f in report.active if f.rule == "migrate.not-analysed"]
    assert [(Path(f.location.file).name, f.location.line) for f in said] == ([("env.py", line)] if line else [])
    assert all("1 revision leaves" in f.message for f in said)
