"""--diff-base: new files as a whole, changed files by line; all are read for the schema."""

import subprocess

import pytest

from dbkit.errors import UsageError
from dbkit.postgres.migrate import lint, source
from dbkit.postgres.migrate.diff import since


@pytest.fixture
def repository(tmp_path):
    def git(*arguments):
        config = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *config, *arguments], check=True, capture_output=True)

    git("init", "-b", "main")
    (tmp_path / "1.sql").write_text("create table t (a varchar(10));\ncreate index i on u (a);\n")
    git("add", ".")
    git("commit", "-m", "one")
    git("checkout", "-b", "feature")
    return tmp_path, git


def found(folder, base="main"):
    scripts = source.read_paths([folder])
    report = lint.lint(scripts, lint.Options(changed=since(base, scripts)))
    return {(f.rule.removeprefix("migrate."), f.location.file[-5:], f.location.line) for f in report.active}


def test_only_what_is_new_is_reported_but_all_is_known(repository):
    folder, git = repository
    assert found(folder) == set()
    (folder / "2.sql").write_text("alter table t alter a type varchar(20);\ncreate index j on t (a);\n")
    assert ("index-not-concurrent", "2.sql", 2) in found(folder)
    assert not [f for f in found(folder) if f[1] == "1.sql" or f[0] == "column-type-undecided"]
    git("add", ".")
    git("commit", "-m", "two")
    assert ("index-not-concurrent", "2.sql", 2) in found(folder)
    text = (folder / "1.sql").read_text()
    (folder / "1.sql").write_text(text + "drop index k;\n")
    hits = found(folder)
    assert ("drop-index-not-concurrent", "1.sql", 3) in hits
    assert ("index-not-concurrent", "1.sql", 2) not in hits


def test_a_change_inside_a_statement_reports_it(repository):
    folder, git = repository
    (folder / "1.sql").write_text("create table t (a varchar(10));\ncreate index i\n  on u (a);\n")
    git("commit", "-am", "two")
    (folder / "1.sql").write_text("create table t (a varchar(10));\ncreate index i\n  on u (b);\n")
    assert ("index-not-concurrent", "1.sql", 2) in found(folder, "HEAD")


@pytest.mark.parametrize("reference", ["nowhere", "--output=/tmp/x"])
def test_a_wrong_reference_is_refused(repository, reference):
    with pytest.raises(UsageError):
        found(repository[0], reference)


def test_outside_of_git_it_says_so(tmp_path):
    (tmp_path / "1.sql").write_text("select 1;")
    with pytest.raises(UsageError, match="git"):
        found(tmp_path)
