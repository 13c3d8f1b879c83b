"""Every migration rule has its page, and finds its bad example and nothing in its good one."""

import pytest

from dbkit.postgres.migrate import lint
from dbkit.postgres.migrate.examples import split
from dbkit.postgres.migrate.rules import MIGRATION_RULES
from dbkit.postgres.migrate.source import make
from dbkit.rules import Selection

RULES = pytest.mark.parametrize("rule", MIGRATION_RULES, ids=lambda r: r.id)
TOOLS = {
    "squawk", "strong_migrations", "eugene", "postgres-language-server", "pgsafe",
    "django-pg-zero-downtime-migrations",
}  # fmt: skip


def findings(rule, text):
    example = split(text)
    selection = Selection(select=(rule.id, "migrate.index-not-concurrent"))  # a suppression needs something to silence
    options = lint.Options(
        version=example.version, assume=example.assume, schema_sql=example.before, selection=selection
    )
    report = lint.lint([make("example.sql", example.migration)], options)
    return tuple(f for f in report.active if f.rule == rule.id)


@RULES
def test_the_bad_example_is_found(rule):
    found = findings(rule, rule.bad)
    assert found
    assert {f.rule for f in found} == {rule.id}
    assert all(f.location and f.location.line for f in found)


@RULES
def test_the_good_example_is_not(rule):
    assert findings(rule, rule.good) == ()


@RULES
def test_the_page_is_complete(rule):
    assert rule.title.endswith(".")
    assert "Why:" in rule.body
    assert "Fix:" in rule.body
    assert rule.category in {"lock", "transaction", "compatibility", "policy", "style"}
    assert set(rule.equivalents) <= TOOLS
    assert rule.ok
    if rule.category == "lock":
        assert rule.facts.get("lock") or rule.facts.get("versions")


def test_style_is_opt_in_and_nothing_that_locks_is():
    for rule in MIGRATION_RULES:
        assert (rule.category == "style") <= rule.opt_in
        assert not (rule.opt_in and rule.category in ("lock", "transaction"))
