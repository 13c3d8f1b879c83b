"""What holds for every rule of every engine: a page, a healthy sentence, examples, one id, and a place in the policy."""

import re
from pathlib import Path

import pytest

from dbkit import pages, policy
from dbkit.cli.engines import load_rules
from dbkit.postgres.advise.rules import ADVICE_RULES
from dbkit.postgres.indexes.rules import INDEX_RULES
from dbkit.rules import REGISTRY, listing

ROOT = Path(__file__).resolve().parents[2]
load_rules()
RULES = pytest.mark.parametrize("rule", REGISTRY.values(), ids=lambda r: r.id)
AUDITED = [r for r in REGISTRY.values() if not r.id.startswith("migrate.")]
STAND_ALONE = {"indexes", "demo", "state"}  # the documented set, the demo's seed, and what is made: whole folders


@RULES
def test_a_rule_is_whole(rule):
    assert re.fullmatch(r"[a-z]+(\.[a-z0-9]+(-[a-z0-9]+)*)+", rule.id)
    assert rule.title.endswith(".")
    assert "\n" not in rule.title
    assert rule.ok
    assert not rule.ok.endswith(".")
    assert rule.bad.strip()
    assert rule.good.strip()
    assert rule.bad != rule.good
    for part in ("Why:", "Fix:"):
        assert part in rule.body, f"{rule.id} has no {part}"


@pytest.mark.parametrize("rule", AUDITED, ids=lambda r: r.id)
def test_a_rule_on_a_server_says_when_it_is_silent(rule):
    assert "Not reported when:" in rule.body
    assert "See:" in rule.body


@RULES
def test_explain_prints_the_page(rule):
    page = pages.page(rule.id)
    assert page.startswith(rule.id)
    for part in (rule.title, rule.bad.splitlines()[-1].strip(), rule.good.splitlines()[-1].strip()):
        assert part in page
    for names in rule.equivalents.values():
        assert all(name in page for name in names)


def test_ids_and_aliases_are_unique():
    names = [name for rule in REGISTRY.values() for name in (rule.id, *rule.aliases)]
    assert len(names) == len(set(names))
    assert {r["id"] for r in listing(REGISTRY.values())} == set(REGISTRY)


def test_every_index_rule_is_listed_in_the_package():
    assert {r.id for r in (*INDEX_RULES, *ADVICE_RULES)} == {r for r in REGISTRY if r.startswith("pg.index-")}


@pytest.mark.parametrize("rule", AUDITED, ids=lambda r: r.id)
def test_the_default_policy_lists_the_rule_with_all_limits_at_their_defaults(rule):
    shipped = policy.load("default")
    assert rule.id in shipped.rules
    if rule.limits is not None:
        entry = shipped.rules[rule.id]
        assert set(entry.model_extra or {}) == set(rule.limits.model_fields)
        assert shipped.limits(rule, rule.limits) == rule.limits()
    assert shipped.severity(rule) is rule.severity


def test_every_query_is_used():
    code = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "dbkit").rglob("*.py"))
    for file in sorted((ROOT / "sql").rglob("*.sql")):
        name = file.relative_to(ROOT / "sql").with_suffix("").as_posix()
        if name.split("/")[0] not in STAND_ALONE:
            assert f'"{name}"' in code, f"sql/{name}.sql is not used"


@pytest.mark.parametrize("file", sorted((ROOT / "sql" / "postgres").glob("*.sql")), ids=lambda f: f.stem)
def test_a_query_says_what_it_reads_and_which_rights_that_takes(file):
    head = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("--")]
    assert len(head) >= 2
    assert any(line.startswith("-- Rights:") for line in head)
