"""Suppressions: dbkit's own and those of the tools a project comes from; unused and ended ones are said."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from tests.fixtures.migrations import hazards, report, rules

INDEX = "create index i on t (a);"
TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    "text",
    [
        f'-- dbkit: ignore migrate.index-not-concurrent reason="small"\n{INDEX}',
        f'-- dbkit: ignore index-not-concurrent reason="small" until=2027-01-01\n{INDEX}',
        f'-- dbkit: ignore migrate reason="all of it"\n{INDEX}',
        f'{INDEX} -- dbkit: ignore index-not-concurrent reason="small"',
        f'-- dbkit: ignore-file index-not-concurrent reason="small"\n\nselect 1;\n\n{INDEX}',
        "create index i\n-- dbkit: ignore index-not-concurrent reason='small'\non t (a);",
        f"-- squawk-ignore require-concurrent-index-creation\n{INDEX}",
        f"-- squawk-ignore require-concurrent-index-creation, prefer-robust-stmts\n{INDEX}",
        f"-- squawk-ignore-next-statement require-concurrent-index-creation\n{INDEX}",
        f"/* squawk-ignore require-concurrent-index-creation */\n{INDEX}",
        f"-- squawk-ignore-file require-concurrent-index-creation\nselect 1;\n{INDEX}",
        f"-- squawk-ignore-file\nselect 1;\n{INDEX}",
        f"-- eugene: ignore E6, E4\n{INDEX}",
        f"-- eugene: ignore\n{INDEX}",
        f"-- pgsafe:ignore add-index-non-concurrent  reviewed\n{INDEX}",
        f"-- pgt-ignore lint/safety/requireConcurrentIndexCreation: reviewed\n{INDEX}",
        f"-- pgls-ignore lint/safety\n{INDEX}",
        f"-- pgls-ignore lint\n{INDEX}",
        f"-- pgls-ignore safety: reviewed\n{INDEX}",
        f"-- pgls-ignore requireConcurrentIndexCreation: reviewed\n{INDEX}",
        f"-- pgls-ignore lint/requireConcurrentIndexCreation\n{INDEX}",
        f"-- pgls-ignore destructive\n-- pgls-ignore safety\n{INDEX}",
        f"-- pgsafe:ignore drop-table not here\n-- pgsafe:ignore add-index-non-concurrent  reviewed\n{INDEX}",
        f"{INDEX}  -- pgsafe:ignore add-index-non-concurrent  one-off, off-peak",
        f"-- pgt-ignore-all lint/safety/requireConcurrentIndexCreation\nselect 1;\n{INDEX}",
        f"-- pgt-ignore-start lint/safety\nselect 1;\n{INDEX}\n-- pgt-ignore-end lint/safety",
    ],
)
def test_a_comment_silences_its_statement_and_no_other(text):
    again = f"{text}\n\ncreate index j on u (a);"
    found = report(again, today=TODAY)
    rule = "migrate.index-not-concurrent"
    assert [f.object for f in found.suppressed if f.rule == rule][:1] == ["t"]
    if "file" not in text and "-all" not in text:
        assert [f.object for f in found.active if f.rule == rule] == ["u"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("-- dbkit: ignore index-not-concurrent reason='x y z'\nselect 1;", "nothing here"),
        (f"-- dbkit: ignore index-not-concurrent reason='x y z' until=2026-01-01\n{INDEX}", "ended on 2026-01-01"),
        (f"-- dbkit: ignore index-not-concurrent reason='x y z' until=soon\n{INDEX}", "is not a date"),
        (f"-- dbkit: ignore index-not-concurrent reason='x y z' until=2027-13-01\n{INDEX}", "nothing is silenced"),
        (f"-- dbkit: ignore index-not-concurent reason='x y z'\n{INDEX}", "no rule is called"),
        (f"-- dbkit: ignore reason='x y z'\n{INDEX}", "names no rule"),
        (f"-- dbkit: ignore index-not-concurrent\n{INDEX}", "gives no reason"),
    ],
)
def test_a_bad_comment_is_a_finding(text, words):
    found = [f for f in report(text, today=TODAY).active if f.rule == "migrate.bad-suppression"]
    assert len(found) == 1
    assert words in found[0].message
    assert found[0].location.line == 1


@pytest.mark.parametrize("end", ["2026-01-01", "soon", "2027-13-01"])
def test_an_ended_one_silences_nothing(end):
    text = f"-- dbkit: ignore index-not-concurrent reason='x y z' until={end}\n{INDEX}"
    assert "index-not-concurrent" in hazards(text, today=TODAY)


def test_a_comment_ends_where_it_is_closed_and_a_string_is_none():
    assert rules("drop table t /* dbkit: ignore drop-table reason='x y z' */;") == {"no-lock-timeout"}
    held = rules("select '-- dbkit: ignore drop-table reason=\"x y z\"';\ndrop table t;")
    assert held == {"drop-table", "no-lock-timeout"}


def test_other_tools_comments_for_other_rules_do_not():
    assert "index-not-concurrent" in hazards(f"-- squawk-ignore ban-drop-column\n{INDEX}")
    assert not [f for f in report(f"-- squawk-ignore ban-drop-column\n{INDEX}").active if "suppression" in f.rule]


@pytest.mark.parametrize(
    "comment",
    [
        "-- squawk-ignore",  # squawk itself wants a name
        "-- pgls-ignore destructive",
        "-- pgls-ignore typecheck",
        "-- pgls-ignore style",
        "-- pgsafe:ignore drop-table reviewed",
        "-- eugene: ignore E7",
        "-- SQUAWK ignore require-concurrent-index-creation",
    ],
)
def test_a_comment_about_something_else_silences_nothing(comment):
    assert "index-not-concurrent" in hazards(f"{comment}\n{INDEX}")


def test_a_group_silences_its_rules():
    drop = "drop table t;"
    assert "drop-table" in rules(drop)
    assert "drop-table" not in rules(f"-- pgls-ignore destructive: empty since May\n{drop}")
    assert "drop-table" in rules(f"-- pgls-ignore safety\n{drop}")


@pytest.mark.parametrize(
    "text",
    [
        f"-- squawk-ignore require-concurrent-index-creation\n{INDEX}",
        f"-- squawk-ignore require-concurrent-index-creation, prefer-robust-stmts\n{INDEX}",
        f"/* squawk-ignore require-concurrent-index-creation */ {INDEX}",
        f"{INDEX} -- squawk-ignore require-concurrent-index-creation",
        "create index i -- squawk-ignore require-concurrent-index-creation\non t (a);",
        f"select 1;\n-- squawk-ignore-file require-concurrent-index-creation\n{INDEX}",
        f"-- squawk-ignore-file\n{INDEX}",
        f"-- squawk-ignore ban-drop-column\n{INDEX}",
        f"-- squawk-ignore\n{INDEX}",
        INDEX,
    ],
)
def test_squawk_itself_agrees(text):
    program = Path(sys.executable).with_name("squawk")
    done = subprocess.run([str(program), "--reporter=json"], input=text, capture_output=True, text=True, check=False)
    theirs = "require-concurrent-index-creation" in {v["rule_name"] for v in json.loads(done.stdout)}
    assert ("index-not-concurrent" in hazards(text)) is theirs
