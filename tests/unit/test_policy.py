"""Policies: merging, limits, suppressions, and every typo named with file, line and the nearest key."""

from datetime import date

import pytest
from pydantic import BaseModel

from dbkit import policy
from dbkit.cli.engines import load_rules
from dbkit.errors import UsageError
from dbkit.model import Evidence, Finding, Severity
from dbkit.postgres.migrate.rules import MIGRATION_RULES
from dbkit.rules import REGISTRY, Selection, rule
from dbkit.shipped import AsShipped


class Limits(BaseModel):
    max_scans: int = 50
    min_bytes: int = 0


@pytest.fixture
def sample(monkeypatch):
    monkeypatch.setattr("dbkit.rules.REGISTRY", held := dict(REGISTRY))
    monkeypatch.setattr("dbkit.policy.REGISTRY", held)

    @rule(
        "pg.sample-unused",
        engine="postgres",
        category="index",
        severity=Severity.WARN,
        evidence=Evidence.OBSERVED,
        ok="All used",
        bad="select 1",
        good="select 2",
        aliases=("pg.sample-old",),
        limits=Limits,
    )
    def check():
        """Something is unused."""

    return check


def write(tmp_path, text, name="p.yaml"):
    file = tmp_path / name
    file.write_text(text)
    return file


def test_limits_and_severity_are_taken_over(tmp_path, sample):
    held = policy.load(write(tmp_path, "rules:\n  pg.sample-unused: {severity: info, max_scans: 7}\n"))
    assert held.severity(sample) is Severity.INFO
    assert held.limits(sample, Limits) == Limits(max_scans=7)


@pytest.mark.parametrize(("word", "expected"), [("off", False), ("on", True), ("{enabled: false}", False)])
def test_switches(tmp_path, sample, word, expected):
    held = policy.load(write(tmp_path, f"rules:\n  pg.sample-unused: {word}\n"))
    assert held.switched_on(sample) is expected
    assert Selection().wants(sample, switched_on=held.switched_on(sample)) is expected


def test_former_names_still_work(tmp_path, sample):
    held = policy.load(write(tmp_path, "rules:\n  pg.sample-old: error\n"))
    assert held.severity(sample) is Severity.ERROR


def test_extends_merges_entry_by_entry(tmp_path, sample):
    write(tmp_path, "rules:\n  pg.sample-unused: {max_scans: 7, min_bytes: 3}\n", "base.yaml")
    held = policy.load(write(tmp_path, "extends: base\nrules:\n  pg.sample-unused: {max_scans: 9}\n"))
    assert held.limits(sample, Limits) == Limits(max_scans=9, min_bytes=3)


def test_a_circle_is_refused(tmp_path, sample):
    write(tmp_path, "extends: b\n", "a.yaml")
    write(tmp_path, "extends: a\n", "b.yaml")
    with pytest.raises(UsageError, match="circle"):
        policy.load(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("rules:\n  pg.sample-unsed: off\n", 2, "pg.sample-unused"),
        ("version: 1\nrulse: {}\n", 2, "'rules'"),
        ("rules:\n  pg.sample-unused:\n    max_scan: 3\n", 3, "'max_scans'"),
        ("rules:\n  pg.sample-unused:\n    max_scans: many\n", 3, "max_scans"),
        ("rules:\n  pg.sample-unused: loud\n", 2, "severity"),
        ("ignore:\n  - rule: pg.nothing\n    reason: because\n", 2, "pg.nothing"),
        ("ignore:\n  - rule: pg.sample-unused\n    resaon: because\n", 3, "'reason'"),
        ("ignore:\n  - rule: pg.sample-unused\n", 2, "reason"),
        ("rules:\n  pg.sample-unused: off\n  pg.sample-unused: on\n", 3, "twice"),
        ("rules: [\n", 2, "YAML"),
        ("version: 2\n", 1, "version"),
    ],
)
def test_every_mistake_is_named_at_its_line(tmp_path, sample, text, line, word):
    with pytest.raises(UsageError) as caught:
        policy.load(write(tmp_path, text))
    told = "\n".join(caught.value.lines())
    assert f"p.yaml:{line}:" in told
    assert word in told


def test_ignore_covers_by_glob_until_its_date(tmp_path, sample):
    held = policy.load(
        write(
            tmp_path, "ignore:\n  - {rule: pg.sample-unused, object: 'public.r_*', reason: theirs, until: 2027-01-31}\n"
        )
    )
    finding = Finding("pg.sample-unused", Severity.WARN, Evidence.OBSERVED, "m", "prod", "public.r_1")
    assert held.suppression(finding, date(2027, 1, 31)).reason == "theirs"
    assert held.suppression(finding, date(2027, 2, 1)) is None
    assert [e.object for e in held.expired(date(2027, 2, 1))] == ["public.r_*"]
    other = Finding("pg.sample-unused", Severity.WARN, Evidence.OBSERVED, "m", "prod", "public.x")
    assert held.suppression(other, date(2027, 1, 1)) is None


def test_missing_policy_lists_the_shipped_ones(tmp_path):
    with pytest.raises(UsageError) as caught:
        policy.load("nonesuch")
    assert "default" in caught.value.hint


def test_selection_by_prefix_and_the_unknown(sample):
    assert Selection(select=("pg",)).wants(sample)
    assert not Selection(ignore=("pg.sample-unused",)).wants(sample)
    assert not Selection(select=("mongo",)).wants(sample)
    with pytest.raises(UsageError, match=r"no rule is called 'pg\.sampel-unused'") as caught:
        Selection(select=("pg.sampel-unused",)).validate()
    assert "pg.sample-unused" in caught.value.hint


def test_the_shipped_policy_says_nothing_of_migrations():
    load_rules()
    shipped, stand_in = policy.load(), AsShipped()
    assert MIGRATION_RULES
    assert not shipped.ignore
    for found in MIGRATION_RULES:
        assert shipped.switched_on(found) is stand_in.switched_on(found) is None
        for own in (None, *Severity):
            assert shipped.severity(found, own) == stand_in.severity(found, own)
