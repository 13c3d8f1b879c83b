"""The rule of `dbkit index advise` finds its bad example, nothing in its good one, and its fix mends."""

import re

from dbkit import policy
from dbkit.cli.engines import load_rules
from dbkit.postgres.advise import report
from dbkit.postgres.advise.advise import Question, advise
from dbkit.postgres.advise.rules import advised
from dbkit.settings import from_address
from tests.rules import example


def look(db, text):
    load_rules()
    workload = ";\n".join(re.findall(r"^-- workload: (.*)$", text, re.MULTILINE))
    answer = advise(from_address(db.dsn), Question(sql=(workload, "example")))
    return report.report(answer, policy.load("default"))


def prepare(db, text):
    with db.connect() as connection:
        example.execute(connection, example.read(text).sessions[0])


def test_the_bad_example_is_found_and_its_fix_mends(db):
    prepare(db, advised.bad)
    (finding,) = look(db, advised.bad).findings
    assert finding.rule == advised.id
    assert finding.object == "public.job_company_id_posted_at_idx"
    assert finding.fix
    assert finding.fix.safe
    db.psql(finding.fix.text)
    db.execute("analyze job")
    mended = look(db, advised.bad)
    assert mended.findings == ()
    assert mended.passed


def test_the_good_example_passes(db):
    prepare(db, advised.good)
    found = look(db, advised.good)
    assert found.findings == ()
    (passed,) = found.passed
    assert passed.sentence.startswith(advised.ok)
    assert not found.skipped
