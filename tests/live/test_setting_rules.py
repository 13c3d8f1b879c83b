"""Every setting rule that needs a server finds its bad example on a real one, and nothing in its good one."""

import psycopg
import pytest

from dbkit.ephemeral import Unavailable
from dbkit.ephemeral.postgres import start_postgres
from dbkit.postgres.settings import dialects, fixes
from dbkit.postgres.settings.rules import SETTING_RULES
from tests.fixtures.parts import missing
from tests.rules import live_example
from tests.rules.test_setting_rules import answered

# Their bad state is not made by statements: see test_settings_audit.py.
ELSEWHERE = {
    "pg.checksums-off", "pg.standby-behind", "pg.setting-differs-between-nodes", "pg.tablespace-inside",
    "pg.setting-changed", "pg.file-not-in-force", "pg.standby-below-primary",
}  # fmt: skip
RESTART = "setting could not be applied"
ON_SERVERS = [r for r in SETTING_RULES if r.bad.startswith("--") and r.id not in ELSEWHERE]


@pytest.fixture(scope="module")
def own(pg_major):
    try:
        made = start_postgres(pg_major, sources=("embedded", "local"))
    except Unavailable as error:
        missing(f"postgres{pg_major}", " ".join(error.reason.split()))
    with made as server:
        yield server


@pytest.mark.parametrize("rule", ON_SERVERS, ids=lambda r: r.id)
def test_the_bad_server_is_found_and_the_good_one_passes(rule, own):
    report = live_example.run(own, rule, rule.bad)
    assert report.findings, (report.skipped, report.passed)
    assert {f.rule for f in report.findings} == {rule.id}
    assert all(f.object and f.message == f.message.strip() for f in report.findings)
    report = live_example.run(own, rule, rule.good)
    assert not [f.message for f in report.findings]
    assert [p.sentence for p in report.passed] == [rule.ok], report.skipped


def test_the_server_takes_what_mends_the_files(own, tmp_path):
    """ALTER SYSTEM with the change of every rule's example of a file."""
    with psycopg.connect(own.dsn, autocommit=True) as connection:
        for rule in (r for r in SETTING_RULES if not r.bad.startswith("--") and "--pg-version" not in r.bad):
            answer = answered(rule, rule.bad + "\n", tmp_path, own.major)
            for change in fixes.collect(answer.report.findings, answer.judged.mends).changes:
                connection.execute(dialects.statement(own.major, change))
        rows = connection.execute("select name, error from pg_file_settings where error is not null").fetchall()
        assert not [(name, error) for name, error in rows if error != RESTART]
        connection.execute("alter system reset all")


def test_every_rule_is_tried():
    assert {r.id for r in SETTING_RULES if r.bad.startswith("--")} == ELSEWHERE | {r.id for r in ON_SERVERS}
