"""The command line as a user meets it: help, bad input, exit codes, and no password anywhere."""

import subprocess
import sys

import pytest

from dbkit.cli import tree
from tests.fixtures.program import dbkit

CANARY = "canary-s3cret"


def commands():
    """Every command of the tree, as the words a user types."""
    for name in tree.COMMANDS:
        loaded = tree.load(name)
        for sub in getattr(loaded, "commands", {None: None}):
            yield (name, sub) if sub else (name,)


COMMANDS = list(commands())


@pytest.mark.parametrize("name", tree.COMMANDS)
def test_the_line_of_help_is_the_first_of_the_commands_own(name):
    first = " ".join(tree.load(name).help.partition("\n\n")[0].split())
    assert first.startswith(tree.COMMANDS[name].help.removesuffix("."))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_examples(command):
    done = dbkit(*command, "--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout
    assert f"dbkit {' '.join(command)}" in done.stdout


BAD_FILES = {
    "broken.sql": b"create index i on users (a,  ",
    "bytes.sql": b"\xff\xfe",
    "bad.json": b'{"schema": 1}',
    "password.toml": f'[targets.prod]\npassword = "{CANARY}"\n'.encode(),
    "dsn.toml": f'[targets.prod]\ndsn = "postgresql://u:{CANARY}@h/d"\n'.encode(),
    "typo.toml": b'[targets.prod]\ndsn_evn = "X"\n',
    "broken.toml": b"[targets.prod\n",
    "unset.toml": b'[targets.prod]\ndsn_env = "NOT_SET"\n',
    "typo.yaml": b"version: 1\nrules:\n  pg.index-mising: on\n",
    "limit.yaml": b"version: 1\nrules:\n  pg.index-unused:\n    max_scan: 3\n",
}

HEAVY = {"psycopg", "sqlalchemy", "alembic", "jinja2", "yaml", "postgast", "sqlglot", "rich", "pydantic", "asyncio"}
IN_HELP = {"dbkit", "dbkit.__main__", "dbkit.cli", "dbkit.cli.tree", "dbkit.errors"}


def test_help_imports_no_driver_and_no_command():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dbkit", "--help"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not {name.partition(".")[0] for name in imported} & HEAVY
    assert {name for name in imported if name.startswith("dbkit")} <= IN_HELP


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("doctor", "--dsn", "postgresql://u@127.0.0.1:1/d"), 3, "cannot connect"),
        (("doctor", "--dsn", f"postgresql://u:{CANARY}@h:x%zz/d"), 2, "cannot be read"),
        (("doctor", "--dsn", f"postgres//u:{CANARY}@h/d"), 2, "cannot be read"),
        (("doctor", "-t", "nowhere"), 2, "no target is called 'nowhere'"),
        (("audit", "--dsn", "postgresql://u@127.0.0.1:1/d", "--select", "pg.index-invald"), 2, "pg.index-invalid"),
        (("explain", "pg.index-invald"), 2, "pg.index-invalid"),
        (("apply", "nothing.json"), 2, "cannot read the plan"),
        (("index", "plan", "--file", "nothing"), 2, "there is no nothing"),
        (("policy", "check", "nothing"), 2, "default"),
        (("doctor", "--dsn", f"postgresql://u:{CANARY}"), 2, "its port is not a number"),
        (("doctor", "--dsn", f"host=h port=5432x password={CANARY}"), 2, "its port is not a number"),
        (("doctor", "--dsn", "postgresql://u@no-such-host.invalid/d"), 3, "check the host name"),
        (("doctor", "--config", "nothing.toml"), 2, "cannot read nothing.toml"),
        (("doctor", "--config", "password.toml"), 2, "dsn_env"),
        (("doctor", "--config", "dsn.toml"), 2, "dsn_env"),
        (("doctor", "--config", "typo.toml"), 2, "did you mean 'dsn_env'"),
        (("doctor", "--config", "broken.toml"), 2, "line 1"),
        (("doctor", "--config", "unset.toml", "-t", "prod"), 2, "export NOT_SET="),
        (("index", "plan", "--file", "broken.sql"), 2, "broken.sql:1:28"),
        (("index", "plan", "--file", "bytes.sql"), 2, "not UTF-8"),
        (("index", "plan", "--file", "empty"), 2, "no .sql file"),
        (("index", "plan", "-o", "no/such/folder/plan.json"), 2, "there is no folder"),
        (("index", "plan", "-o", "empty"), 2, "it is a folder"),
        (("audit", "-o", "report.pdf"), 2, "known suffixes"),
        (("apply", "bad.json", "-o", "no/such/report.html"), 2, "there is no folder"),
        (("apply", "bad.json"), 2, "kind: Field required"),
        (("apply", "broken.sql"), 2, "not a plan"),
        (("demo", "-o", "no/such/demo.html"), 2, "there is no folder"),
        (("demo", "-o", "demo.pdf"), 2, "known suffixes"),
        (("index", "apply", "--wait", "soon", "--yes"), 2, "30s"),
        (("policy", "check", "typo.yaml"), 2, "typo.yaml:3: no rule is called 'pg.index-mising'"),
        (("policy", "check", "limit.yaml"), 2, "did you mean 'max_scans'"),
        (("indx",), 2, "Did you mean 'index'"),
        (("index", "status", "--fromat", "json"), 2, "--format"),
        (("index", "status", "--format", "xlm"), 2, "xlm"),
        (("apply",), 2, "'plan'"),
    ],
)
def test_bad_input_gives_one_error_with_its_code(arguments, code, words, tmp_path):
    for name, text in BAD_FILES.items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / "empty").mkdir()
    done = dbkit(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1
    assert "hint:" in done.stderr
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("create index i on users (", "wish.sql:1:"),
        ("create index on users (a)", "no name"),
        ("select 1", "only CREATE INDEX"),
        (f"create index {'n' * 64} on users (a)", "64 bytes"),
        ("create index if not exists i on users (a)", "IF NOT EXISTS"),
        ("create index i on only users (a)", "ON ONLY"),
        ("create index i on users (a); create index i on users (b)", "twice"),
    ],
)
def test_wanted_files_are_refused_at_their_line(text, words, tmp_path):
    (tmp_path / "wish.sql").write_text(text)
    done = dbkit("index", "plan", "--file", "wish.sql", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr


def test_wrong_password_is_told_apart_and_not_shown(db):
    wrong = db.dsn.replace(db.server.password, CANARY)
    done = dbkit("doctor", DBKIT_DSN=wrong)
    assert done.returncode == 3
    assert "password authentication failed" in done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_doctor_names_the_grant(db):
    _, dsn = db.role()
    done = dbkit("doctor", DBKIT_DSN=dsn)
    assert done.returncode == 0, done.stderr
    assert "grant pg_read_all_stats to" in done.stdout


def test_without_a_terminal_nothing_is_applied_unasked(platform_db):
    done = dbkit("index", "apply", DBKIT_DSN=platform_db.dsn)
    assert done.returncode == 4, done.stderr
    assert "--yes" in done.stderr


def test_a_plan_from_another_database_is_refused(platform_db, db, tmp_path):
    done = dbkit("index", "plan", "-o", str(tmp_path / "p.json"), "--fail-on", "never", DBKIT_DSN=platform_db.dsn)
    assert done.returncode == 0, done.stderr
    done = dbkit("apply", str(tmp_path / "p.json"), DBKIT_DSN=db.dsn)
    assert done.returncode == 4
    assert "another database" in done.stderr
