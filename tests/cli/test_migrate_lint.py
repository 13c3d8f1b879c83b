"""`dbkit migrate lint` as a user meets it: bad input, exit codes, streams, and no driver loaded."""

import json
import os
import subprocess
import sys

import pytest

from tests.fixtures import program

INDEX = "create index i on t (a);\n"


def dbkit(*arguments, cwd, text=""):
    return program.dbkit("migrate", "lint", *arguments, cwd=cwd, text=text)


@pytest.mark.parametrize(
    ("files", "arguments", "words"),
    [
        ({}, [], "no migrations are named"),
        ({}, ["nowhere.sql"], "does not exist"),
        ({}, ["."], "holds no migrations"),
        ({"m.sql": b"\x7fELF\x00\x01"}, ["m.sql"], "is not a text file"),
        ({"m.sql": b"select '\xe9';"}, ["m.sql"], "not UTF-8"),
        ({"m.sql": b"select 1"}, ["m.sql", "--pg-version", "9.6"], "versions 11 to 18"),
        ({"m.sql": b"select 1"}, ["m.sql", "--select", "migrate.nothing"], "no rule is called"),
        ({"m.sql": b"select 1"}, ["m.sql", "--schema", "none.sql"], "cannot read none.sql"),
        ({"m.sql": b"select 1", "s.sql": b"creat table"}, ["m.sql", "--schema", "s.sql"], "s.sql:1:1"),
        ({"alembic.ini": b"[alembic]\nscript_location = x\n"}, ["alembic.ini"], "no Alembic environment"),
        ({"m.sql": b"select 1"}, ["m.sql", "--stats", "m.sql"], "is not JSON"),
        ({"m.sql": b"select 1"}, ["m.sql", "-o", "x.unknown"], "x.unknown"),
    ],
)  # fmt: skip
def test_bad_input_exits_2_and_says_what_to_do(tmp_path, files, arguments, words):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    done = dbkit(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_syntax_error_is_a_finding_with_a_caret(tmp_path):
    (tmp_path / "m.sql").write_text("select 1;\nalter table t ad column x int;\n")
    done = dbkit("m.sql", "--format", "json", cwd=tmp_path)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [(f["rule"], f["location"]["line"]) for f in found["findings"]] == [("migrate.syntax-error", 2)]
    shown, caret = done.stderr.splitlines()[1:3]
    assert shown.index("ad column") == caret.index("^")


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [
        (INDEX, [], 1),
        (INDEX, ["--fail-on", "never"], 0),
        ("drop table t;", [], 0),
        ("drop table t;", ["--fail-on", "warn"], 1),
        (INDEX, ["--ignore", "migrate.index-not-concurrent"], 0),
        (INDEX, ["--select", "migrate.drop-table"], 0),
        ("select 1;", ["--fail-on", "info"], 0),
        ("", ["--fail-on", "info"], 0),
    ],
)
def test_exit_codes(tmp_path, text, arguments, code):
    assert dbkit("-", *arguments, cwd=tmp_path, text=text).returncode == code


def test_stdin_has_a_name(tmp_path):
    done = dbkit("-", "--stdin-name", "0042.sql", "--format", "json", cwd=tmp_path, text=INDEX)
    assert {f["location"]["file"] for f in json.loads(done.stdout)["findings"]} == {"0042.sql"}


@pytest.mark.parametrize("fmt", ["text", "json", "sarif", "junit", "github", "gitlab", "markdown", "html"])
def test_every_format_carries_the_finding(tmp_path, fmt):
    done = dbkit("-", "--format", fmt, cwd=tmp_path, text=INDEX)
    assert done.returncode == 1
    assert "index-not-concurrent" in done.stdout


def test_fix_writes_and_then_passes(tmp_path):
    file = tmp_path / "m.sql"
    file.write_text(INDEX)
    shown = dbkit("m.sql", "--diff", cwd=tmp_path)
    assert (shown.returncode, file.read_text()) == (0, INDEX)
    assert "+create index concurrently i on t (a);" in shown.stdout
    done = dbkit("m.sql", "--fix", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "concurrently" in file.read_text()
    assert "fixed m.sql" in done.stderr


def test_no_driver_and_no_rule_of_a_server_is_loaded(tmp_path):
    script = (
        "import sys; sys.argv = ['dbkit', 'migrate', 'lint', '-', '--fail-on', 'never']\n"
        "from dbkit.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "unwanted = {'psycopg', 'sqlalchemy', 'alembic', 'dbkit.pgbouncer.rules', 'dbkit.postgres.indexes.rules'}\n"
        "print(sorted(unwanted & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, input=INDEX, text=True, capture_output=True, check=True,
        env={**os.environ, "DBKIT_CONFIG": os.devnull},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
