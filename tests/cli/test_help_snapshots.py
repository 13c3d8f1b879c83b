"""Help of every command and the shape of `explain`, as a user sees them."""

import json

import pytest

from dbkit import errors, pages
from dbkit.cli.engines import load_rules
from tests.cli.test_cli import COMMANDS
from tests.fixtures.program import dbkit
from tests.fixtures.snapshots import as_file

TXT = as_file("txt")
GROUPS = [(), *sorted({(words[0],) for words in COMMANDS if len(words) > 1})]


@pytest.mark.parametrize("command", [*GROUPS, *COMMANDS], ids=lambda words: "-".join(words) or "dbkit")
def test_help(command, snapshot):
    done = dbkit(*command, "--help", COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == snapshot(extension_class=TXT)


@pytest.mark.parametrize("topic", pages.TOPICS)
def test_topic(topic, snapshot):
    assert pages.page(topic) == snapshot(extension_class=TXT)


def test_rule_page(snapshot):
    load_rules()
    assert pages.page("pg.index-invalid") == snapshot(extension_class=TXT)


def test_every_rule_page_has_the_same_shape():
    listed = json.loads(dbkit("explain", "--list", "--format", "json").stdout)
    assert len(listed) > 100
    load_rules()
    for row in listed:
        assert list(row) == ["id", "engine", "category", "title", "severity", "evidence", "equivalents"]
        assert all(isinstance(names, list) and names for names in row["equivalents"].values()), row
        lines = pages.page(row["id"]).splitlines()
        assert lines[:4] == [row["id"], "=" * len(row["id"]), "", row["title"]]
        assert lines[5].startswith(f"severity  {row['severity']}")
        assert lines[6] == f"evidence  {row['evidence']}"
        assert lines.index("Bad:") < lines.index("Good:"), row["id"]


def test_the_exit_code_page_is_what_the_errors_carry():
    """Every code an error of ours ends with has its line on the page, and the page has no other."""
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    lines = pages.page("exit-codes").splitlines()
    assert {int(line.split()[0]) for line in lines if line.startswith("  ")} == codes
    carried = {kind.exit_code for kind in errors.DbkitError.__subclasses__() if kind is not errors.Interrupted}
    assert carried <= codes
