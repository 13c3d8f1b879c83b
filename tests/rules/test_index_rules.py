"""Every index rule finds its bad example on a real server, finds nothing in its good one, and then says it passed."""

import psycopg
import pytest

from dbkit.postgres.indexes.rules import INDEX_RULES
from tests.rules import example

RULES = pytest.mark.parametrize("rule", INDEX_RULES, ids=lambda r: r.id)


@RULES
def test_the_bad_example_is_found(rule, db):
    report = example.run(db, rule, rule.bad)
    assert report.findings, (report.passed, report.skipped)
    assert {f.rule for f in report.findings} == {rule.id}
    assert not report.passed
    for finding in report.findings:
        assert finding.object
        assert finding.message[0] == finding.message[0].strip()


@RULES
def test_the_good_example_passes(rule, db):
    report = example.run(db, rule, rule.good)
    assert not report.findings
    assert [p.sentence for p in report.passed] == [rule.ok]
    assert not report.skipped


MENDED = (
    "pg.index-invalid", "pg.index-duplicate", "pg.index-redundant-prefix", "pg.index-unused",
    "pg.index-foreign-key-unindexed", "pg.index-bloated",
)  # fmt: skip


@pytest.mark.parametrize("rule", [r for r in INDEX_RULES if r.id in MENDED], ids=lambda r: r.id)
def test_every_safe_fix_runs_and_mends(rule, db):
    """A fix is copied into psql by somebody in a hurry: it must run as it stands and make the finding go away."""
    first = example.run(db, rule, rule.bad)
    for finding in first.findings:
        assert finding.fix
        assert finding.fix.safe
        db.psql(finding.fix.text)
        assert example.look(db, rule, example.read(rule.bad)).findings == ()
        undo = [line for line in finding.fix.text.splitlines() if line.startswith("-- to undo: ")]
        if undo and rule.id != "pg.index-invalid":  # an INVALID unique index cannot be built over its duplicates
            db.psql(undo[0].removeprefix("-- to undo: "))
            assert example.look(db, rule, example.read(rule.bad)).findings
        elif undo:
            with pytest.raises(psycopg.errors.UniqueViolation):
                db.connect().execute(undo[0].removeprefix("-- to undo: ").encode())
