"""Chains of several folders, branches and heads: read as Alembic's own configuration says, by every command alike."""

import warnings
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from dbkit.errors import UsageError
from dbkit.postgres.migrate import alembic_source, lint, revisions
from tests.fixtures.alembic_chains import branches, revision

ASYNC = "path_separator = os\nversion_locations = %(here)s/core:%(here)s/billing\n"


def alembics(ini: Path) -> list[str]:
    """The order of Alembic itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [r.revision for r in ScriptDirectory.from_config(Config(ini)).walk_revisions()][::-1]


@pytest.mark.parametrize(
    "written",
    [
        "path_separator = os\nversion_locations = %(here)s/core:%(here)s/billing\n",
        "version_path_separator = :\nversion_locations = core:billing\n",
        "version_path_separator = ;\nversion_locations = %(here)s/core;%(here)s/billing\n",
        "path_separator = newline\nversion_locations =\n  core\n  %(here)s/billing\n",
        "path_separator = space\nversion_locations = core billing\n",
        "version_locations = core, billing\n",
        "path_separator = os\nrecursive_version_locations = true\nversion_locations = core:billing\n",
        "path_separator = os\nversion_locations = here:core:billing:nowhere\nfile_template = %%(rev)s\n",
    ],
)
def test_folders_are_those_of_the_configuration(tmp_path, monkeypatch, written):
    monkeypatch.chdir(tmp_path)  # where Alembic has to be run for a relative folder
    ini = branches(tmp_path, written)
    if "recursive" in written:
        (tmp_path / "core" / "2024").mkdir()
        (tmp_path / "core" / "c1.py").rename(tmp_path / "core" / "2024" / "c1.py")
    read = [Path(s.file).stem for s in alembic_source.read(ini)]
    assert read == alembics(ini)
    assert sorted(read) == ["b1", "c1", "c2", "m"]
    assert [r.id for r in revisions.find(ini).revisions] == read
    monkeypatch.chdir("/")
    assert [Path(s.file).stem for s in alembic_source.read(ini)] == read
    assert [r.id for r in revisions.find(tmp_path / "env").revisions] == read


@pytest.mark.parametrize("beside", [False, True])
def test_pyproject_names_the_folders_alone_or_beside_an_alembic_ini(tmp_path, beside):
    branches(tmp_path, "").unlink()
    if beside:
        (tmp_path / "alembic.ini").write_text("[alembic]\nsqlalchemy.url = %(NOT_SET)s\n[loggers]\nkeys = root\n")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.alembic]\nscript_location = "%(here)s/env"\nversion_locations = ["%(here)s/core", "%(here)s/billing"]\n'
    )
    for given in ("pyproject.toml", "billing", *(["alembic.ini"] if beside else [])):
        assert [r.id for r in revisions.find(tmp_path / given).revisions] == ["c1", "b1", "c2", "m"]
        assert [Path(s.file).stem for s in alembic_source.read(tmp_path / given)][:2] == ["c1", "b1"]


@pytest.mark.parametrize(
    ("given", "judged", "schema"),
    [
        (".", "c1 b1 c2 m", ""),
        ("env", "c1 b1 c2 m", ""),
        ("billing", "b1", "c1"),
        ("billing/b1.py", "b1", "c1"),
        ("core", "c1 c2 m", "b1"),
        ("core/m.py", "m", "c1 b1 c2"),
    ],
)
def test_one_folder_of_several_is_judged_with_the_others_as_schema(tmp_path, given, judged, schema):
    branches(tmp_path, ASYNC)
    scripts = alembic_source.read(tmp_path / given)
    assert [Path(s.file).stem for s in scripts if not s.history] == judged.split()
    assert [Path(s.file).stem for s in scripts if s.history] == schema.split()
    found = {f.rule for f in lint.lint(scripts).active if Path(f.location.file).stem == "b1"}
    assert ("migrate.foreign-key-without-index" in found) == ("b1" in judged)
    assert "migrate.not-analysed" not in found


def test_a_table_of_another_branch_is_new_where_a_revision_depends_on_it(tmp_path):
    branches(tmp_path, ASYNC)
    (tmp_path / "billing" / "b1.py").write_text(revision("b1", None, "create index i on users (name)", after="c1"))
    rules = {f.rule for f in lint.lint(alembic_source.read(tmp_path)).active}
    assert "migrate.index-not-concurrent" in rules  # made by another file: others see it when this one runs


def test_several_heads_are_read_and_only_a_new_revision_is_refused(tmp_path):
    ini = branches(tmp_path, ASYNC)
    (tmp_path / "core" / "m.py").unlink()
    assert [Path(s.file).stem for s in alembic_source.read(ini)] == alembics(ini)
    environment = revisions.find(ini)
    with pytest.raises(UsageError, match=r"has 2 heads: c2 \(c2\.py\), b1 \(b1\.py\)|has 2 heads: b1 .*, c2") as caught:
        _ = environment.head
    assert f'`alembic -c {ini} merge -m "join heads" ' in caught.value.hint


def test_a_new_revision_goes_into_the_folder_of_its_head(tmp_path):
    ini = branches(tmp_path, ASYNC)
    (tmp_path / "core" / "m.py").unlink()
    (tmp_path / "billing" / "n.py").write_text(revision("n", ("c2", "b1"), "select 1"))
    (tmp_path / "env" / "script.py.mako").write_text(
        "revision, down_revision = ${repr(up_revision)}, ${repr(down_revision)}\n"
    )
    environment = revisions.find(ini)
    made = environment.script.generate_revision("9", "new", head=environment.head)
    assert Path(made.path).parent == tmp_path / "billing"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("path_separator = comma\nversion_locations = core\n", "'comma' is not a valid value"),
        ("version_locations = %(nowhere)s/core\n", "Bad value substitution"),
        ("path_separator = os\nversion_locations = gone\n", "gone"),
    ],
)
def test_a_configuration_that_alembic_rejects_is_an_error_in_words(tmp_path, written, words):
    ini = branches(tmp_path, written)
    with pytest.raises(UsageError) as caught:
        alembic_source.read(ini)
    assert words in caught.value.why


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("x = context.get_x_argument(as_dictionary=True)\n    if x.get('data'):\n        op.execute('drop table users')", None),
        ("op.execute('select 1' if context.get_x_argument() else 'select 2')", None),
        ("op.execute(context.get_x_argument(as_dictionary=True)['sql'])", "none of the `-x` arguments"),
    ],
)  # fmt: skip
def test_arguments_of_alembic_are_none_and_that_is_said(tmp_path, body, said):
    ini = branches(tmp_path, ASYNC)
    (tmp_path / "core" / "m.py").write_text(revision("m", ("c2", "b1"), body=body))
    report = lint.lint(alembic_source.read(ini))
    here = [f for f in report.active if Path(f.location.file).stem == "m" and f.location.line]
    rule = "migrate.unreadable" if said else "migrate.not-analysed"
    (found,) = [f for f in here if f.rule in ("migrate.unreadable", "migrate.not-analysed")]
    assert (found.rule, found.location.line) == (rule, 5)
    assert (said or "`alembic -x`") in found.message
    sent = " ".join(p.sql for p in revisions.find(ini)["m"].parts("upgrade"))
    assert "drop table" not in sent
    assert sent.startswith("-- dbkit: online") == bool(said)
