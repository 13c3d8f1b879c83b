"""Every index rule: its page is whole, and its examples behave as they say on a real server."""

import pytest

from dbkit import policy
from dbkit.cli.engines import load_rules
from dbkit.pages import rule_page
from dbkit.policy import Policy
from dbkit.postgres.connect import connect
from dbkit.postgres.indexes import desired
from dbkit.postgres.indexes.audit import audit
from dbkit.postgres.indexes.rules import INDEX_RULES
from dbkit.rules import REGISTRY, Selection
from dbkit.settings import Target

load_rules()
WISH = "create index idx_users_email on users (email);"
USERS = "create table users (email text, full_name text);"
RUNS = [r for r in INDEX_RULES if not r.bad.startswith("--") and r.id != "pg.index-unused"]


def judge(db, wishes=""):
    target = Target(name="test", address=db.dsn)
    with connect(target) as connection:
        wanted = desired.read(wishes, "wish.sql") if wishes else ()
        return audit(connection, "test", wanted, Policy(), Selection())


def found(db, rule, script):
    about_users = "users" in script or rule.id in ("pg.index-missing", "pg.index-name-taken")
    if about_users and "create table users" not in script:
        db.psql(USERS)
    db.psql(script)
    wishes = WISH if about_users else "create index t_b on t (b);"
    if rule.id == "pg.index-cannot-build":
        wishes = "create index i on users using gin (email gin_trgm_ops);"
    return [f for f in judge(db, wishes).findings if f.rule == rule.id]


@pytest.mark.pg(18)
@pytest.mark.parametrize("rule", RUNS, ids=lambda r: r.id)
def test_bad_example_is_found(db, rule):
    assert found(db, rule, rule.bad)


@pytest.mark.pg(18)
@pytest.mark.parametrize("rule", RUNS, ids=lambda r: r.id)
def test_good_example_is_not(db, rule):
    assert not found(db, rule, rule.good)


def test_unused_counts_scans_and_size(db):
    db.psql(
        "create table t (id bigint primary key, b int); insert into t select n, n from generate_series(1, 100000) n"
    )
    db.psql("create index t_b on t (b); create index t_id_b on t (id, b)")
    rules = {f.object for f in judge(db).findings if f.rule == "pg.index-unused"}
    assert rules == {"public.t_b", "public.t_id_b"}


def test_an_index_that_cannot_be_built_says_what_is_missing(db):
    db.psql(USERS)
    report = judge(db, "create index i on users using gin (email gin_trgm_ops);")
    (finding,) = [f for f in report.findings if f.rule == "pg.index-cannot-build"]
    assert "pg_trgm" in finding.fix.text if finding.fix else "pg_trgm" in finding.data["hint"]


def test_a_healthy_database_passes_with_evidence(db):
    db.psql(f"{USERS} {WISH}")
    report = judge(db, WISH)
    assert not report.findings
    assert {p.rule for p in report.passed} == {r.id for r in INDEX_RULES}


@pytest.mark.parametrize("rule", INDEX_RULES, ids=lambda r: r.id)
def test_every_rule_is_whole(rule):
    assert rule.title.endswith(".")
    assert rule.ok
    assert rule.bad
    assert rule.good
    for part in ("Why:", "Fix:", "Not reported when:", "See:"):
        assert part in rule.body
    assert rule.title in rule_page(rule)


def test_the_default_policy_names_every_rule():
    assert set(policy.load("default").rules) == {r.id for r in INDEX_RULES}


def test_registered_rules_are_listed():
    assert {r.id for r in INDEX_RULES} == {r for r in REGISTRY if r.startswith("pg.index")}
