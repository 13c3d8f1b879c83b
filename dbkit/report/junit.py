"""JUnit XML: one suite per target, one case per rule that passed, failed or was skipped."""

from __future__ import annotations

import re
from typing import cast

from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from dbkit.model import Report


def render(report: Report) -> str:
    """The report as JUnit XML."""
    xml = JUnitXml("dbkit")
    names = {t.name for t in report.targets} | {f.target for f in report.active} | {s.target for s in report.skipped}
    for target in sorted(names):
        suite = TestSuite(_clean(target))
        for finding in (f for f in report.active if f.target == target):
            case = TestCase(_clean(f"{finding.rule} {finding.object}"), classname=report.command)
            failure = Failure(_clean(finding.message), finding.severity.value)
            failure.text = _clean(finding.fix.text if finding.fix else finding.message)
            case.result = [failure]
            suite.add_testcase(case)
        for passed in (p for p in report.passed if p.target == target):
            suite.add_testcase(TestCase(passed.rule, classname=report.command))
        for skipped in (s for s in report.skipped if s.target == target):
            case = TestCase(skipped.rule, classname=report.command)
            case.result = [Skipped(_clean(skipped.reason))]
            suite.add_testcase(case)
        xml.add_testsuite(suite)
    xml.update_statistics()
    body = re.sub(r"^<\?xml[^>]*\?>", "", cast(bytes, xml.tostring()).decode("utf-8")).strip()
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def _clean(value: str) -> str:
    """Without the characters XML 1.0 forbids."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in value if not "\ud800" <= c <= "\udfff")
