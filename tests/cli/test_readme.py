"""README and CONTRIBUTING are true: every command is in the table, nothing else is, and what they name is there."""

import re
from pathlib import Path

from tests.cli.test_cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def named():
    """The commands of README's table: `dbkit index plan, apply` names two."""
    for cell in re.findall(r"^\| `dbkit ([^`]+)` \|", README, re.MULTILINE):
        if " --" in cell:  # a way to call a command that has its own line
            continue
        group, _, rest = cell.partition(" ")
        yield from ((group, sub.strip()) for sub in rest.split(",")) if rest else [(group,)]


def test_the_table_names_every_command_and_no_other():
    assert sorted(named()) == sorted(COMMANDS)


def test_commands_in_text_exist():
    for text in (README, CONTRIBUTING):
        for words in re.findall(
            r"dbkit ((?:[a-z]+ ?){1,2})", " ".join(re.findall(r"`dbkit[^`]*`|^    dbkit.*$", text, re.MULTILINE))
        ):
            group, _, sub = words.strip().partition(" ")
            assert any(c[0] == group and (len(c) == 1 or not sub or c[1] == sub) for c in COMMANDS), words


def test_files_that_are_named_exist():
    for text in (README, CONTRIBUTING):
        for name in re.findall(r"`([\w./-]+/[\w./-]*)`", text):
            assert (ROOT / name).exists(), name
