"""Every `dbkit ...` command that a migration rule's page or fix names exists, with the flags it is given."""

import re
import shlex
from pathlib import Path

import pytest

from dbkit.cli.tree import COMMANDS, load
from dbkit.postgres.migrate import lint
from dbkit.postgres.migrate.examples import split
from dbkit.postgres.migrate.rules import MIGRATION_RULES
from dbkit.postgres.migrate.source import make
from dbkit.rules import Selection

ROOT = Path(__file__).resolve().parents[2]
# Named by DESIGN.md; missing still. A command that exists must fit.
PLANNED = {"deploy"}


def texts():
    """Pages, and what the findings of the bad examples say and advise."""
    for rule in MIGRATION_RULES:
        yield rule.id, rule.doc
        example = split(rule.bad)
        options = lint.Options(
            version=example.version,
            assume=example.assume,
            schema_sql=example.before,
            selection=Selection(select=(rule.id,)),
        )
        for finding in lint.lint([make("m.sql", example.migration)], options).active:
            yield rule.id, f"{finding.message}\n{finding.fix.text if finding.fix else ''}"
    yield "docs/ci.md", (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")


def named():
    for place, text in texts():
        for match in re.finditer(r"`(?:[^`\n]*\| )?(dbkit [a-z][^`]*)`", text):
            yield place, " ".join(match[1].split())
        # Outside of backticks only where no sentence can begin with the word: comments in SQL, blocks of commands.
        for match in re.finditer(r"^(?:--\s*(?:in batches: )?)?(dbkit [a-z].*)$", text, re.MULTILINE):
            if match[0].startswith("--") or place.endswith(".md"):
                yield place, match[1]


def test_something_is_named():
    assert len(set(named())) > 10


@pytest.mark.parametrize(("place", "command"), sorted(set(named())))
def test_the_command_exists(place, command):
    words = shlex.split(command.partition(" > ")[0].partition(" | ")[0], posix=True)[1:]
    here, path = None, []
    while words and (here is None or hasattr(here, "commands")):
        name = words.pop(0)
        path.append(name)
        if here is None:
            assert name in COMMANDS, command
            here = load(name)
        elif name not in here.commands:
            assert path[0] == "migrate", f"{place}: {command}"
            assert name in PLANNED, f"{place}: {command}"
            return
        else:
            here = here.commands[name]
    flags = {option for parameter in here.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("-") and word != "-":
            assert word.partition("=")[0] in flags, f"{place}: {command}"
