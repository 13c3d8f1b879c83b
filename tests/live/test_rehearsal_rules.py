"""Every rule of the rehearsal finds its bad example on a real server and nothing in its good one."""

import re

import pytest

from dbkit.ephemeral.postgres import ADDRESS
from dbkit.model import Evidence, Severity
from dbkit.postgres.migrate import lint
from dbkit.postgres.migrate.rehearse import choose, present, rehearsal
from dbkit.postgres.migrate.rehearse.application import Query
from dbkit.postgres.migrate.rehearse.rules import REHEARSAL_RULES
from dbkit.postgres.migrate.source import make
from dbkit.postgres.migrate.stats import Stats, TableSize
from dbkit.rules import Selection

PARTS = re.compile(r"^-- (before|application|migration)$", re.MULTILINE)
LARGE = Stats({("public", "orders"): TableSize(200 * 1024**3, 2_000_000_000)})


def parts(example):
    pieces = PARTS.split(example)
    return {name: text.strip() for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}


def rehearse(example, *, majors=(18,), stats=None, rows=500, max_stall=None):
    text = parts(example) if "-- migration" in example else {"migration": example}
    queries = [q for q in text.get("application", "").split(";") if q.strip()]
    script = make("m.sql", text["migration"])
    options = rehearsal.Options(
        majors=majors,
        schema_sql=text.get("before", ""),
        stats=stats,
        rows=rows,
        queries=lambda: [Query("old", "q.sql", n, q.strip()) for n, q in enumerate(queries, 1)],
    )
    outcomes = rehearsal.rehearse(choose.Choice((), (script,)), options)
    linted = [
        lint.examine([script], lint.Options(version=(m, None), schema_sql=text.get("before", ""))) for m in majors
    ]
    view = present.View(Selection(), lambda rule: None, lambda rule, own: own or rule.severity, max_stall)
    return present.report(outcomes, linted, view)


def found(rule, example):
    budget = rule.id == "migrate.stall-over-budget"
    report = rehearse(
        example,
        majors=(15, 18) if rule.id == "migrate.versions-differ" else (18,),
        stats=LARGE if budget else None,
        max_stall=0.25 if budget else None,
    )
    return [f for f in report.active if f.rule == rule.id], report


@pytest.fixture(autouse=True)
def shared_server(pg18, monkeypatch):
    """Rehearse on the run's own server: starting one takes longer than the rehearsal."""
    monkeypatch.setenv(ADDRESS, pg18.dsn)


@pytest.mark.parametrize("rule", REHEARSAL_RULES, ids=lambda r: r.id)
def test_the_bad_example_is_found_and_the_good_one_is_not(rule):
    bad, _ = found(rule, rule.bad)
    assert bad
    assert all(f.evidence is Evidence.OBSERVED for f in bad)
    good, report = found(rule, rule.good)
    assert not good
    assert rule.id in {p.rule for p in report.passed}


def test_a_finding_of_lint_that_was_seen_is_observed():
    report = rehearse(
        "-- before\ncreate table t (a int);\n-- migration\nalter table t alter column a set not null;\n"
        "alter table t add column b int;\n"
    )
    evidence = {(f.rule, f.location.line): f.evidence for f in report.active if f.location}
    assert evidence["migrate.not-null-scans", 1] is Evidence.OBSERVED
    assert not any(f.rule == "migrate.lint-disagrees" for f in report.active)


def test_lint_that_cries_wolf_is_named():
    # Without the schema lint cannot know that the column grows within its type; the server does.
    script = make("m.sql", "alter table t alter column v type varchar(20);")
    before = "create table t (v varchar(10));"
    outcomes = rehearsal.rehearse(
        choose.Choice((), (script,)), rehearsal.Options(majors=(18,), schema_sql=before, rows=100)
    )
    linted = [lint.examine([script], lint.Options(version=(18, None)))]
    view = present.View(Selection(), lambda rule: None, lambda rule, own: own or rule.severity)
    report = present.report(outcomes, linted, view)
    told = [f for f in report.active if f.rule == "migrate.lint-disagrees"]
    assert [f.severity for f in told] == [Severity.WARN]
    assert "the server did none" in told[0].message


def test_a_database_without_rows_denies_nothing():
    report = rehearse("-- before\ncreate schema s;\n-- migration\nreindex schema s;\n")
    assert not any(f.rule == "migrate.lint-disagrees" for f in report.active)
