"""One report in every format, byte for byte: what users, pipelines and GitHub read does not change unnoticed."""

import pytest

from dbkit.exhibits import Bar, Bars, Lane, Span, Stack, Table, Text, Timeline
from dbkit.model import Evidence, Finding, Fix, Location, Passed, Report, Severity, Skipped, Suppression, TargetInfo
from dbkit.postgres.indexes import rules as index_rules
from dbkit.report import FORMATS, render
from tests.fixtures.snapshots import as_file

SUFFIX = {
    "text": "txt", "json": "json", "sarif": "sarif", "junit": "xml", "github": "github", "gitlab": "gitlab",
    "markdown": "md", "html": "html",
}  # fmt: skip


def sample():
    missing = Finding(
        "pg.index-missing", Severity.ERROR, Evidence.OBSERVED, "it is wanted on public.users, but not there", "prod",
        "public.idx_users_email", Location("sql/indexes/users.sql", 7), {"state": "missing"},
        Fix("sql", "create index concurrently idx_users_email\n  on users (email);", safe=True),
    )  # fmt: skip
    unused = Finding(
        "pg.index-unused", Severity.WARN, Evidence.OBSERVED, "12 MB, no scan in 40 days", "prod", "public.idx_old"
    )
    known = Finding("pg.index-duplicate", Severity.WARN, Evidence.OBSERVED, "the same as idx_a", "prod", "public.idx_b")
    return Report(
        command="audit",
        version="0",
        targets=(TargetInfo("prod", "postgres", "18.6"), TargetInfo("replica", "postgres", "15.18")),
        findings=(missing, unused, known.suppressed_by(Suppression("policy", "goes with the next release"))),
        passed=(Passed("pg.index-invalid", "prod", "Every index is valid"),),
        skipped=(Skipped("pg.index-bloated", "replica", "statistics are hidden from this role"),),
        exhibits=(
            Table("Largest indexes", ("index", "size"), (("idx_a", "12 MB"), ("idx_b", "9 MB")), "2 in all", {"size"}),
            Bars("Longest wait", "ms", (Bar("plain", 3000, "3.0 s", "bad"), Bar("dbkit", 54, "54 ms", "good")), 250),
            Stack("Memory", "GB", (Bar("shared_buffers", 4), Bar("sessions", 2)), 16),
            Timeline("Statements", (Lane("public.users", (Span(0, 1.5, "create-index idx_users_email"),)),)),
            Text("What was done", "All documented indexes were built."),
        ),
    )


@pytest.mark.parametrize("fmt", FORMATS)
def test_report_in_every_format(fmt, snapshot):
    assert index_rules.HEALTH_RULES  # registered: SARIF shows their pages
    assert render(sample(), fmt, verbose=True) == snapshot(extension_class=as_file(SUFFIX[fmt]))


def test_text_on_a_terminal(snapshot):
    assert render(sample(), "text", colour=True) == snapshot(extension_class=as_file("txt"))
