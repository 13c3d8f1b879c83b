"""Every format renders any report, hostile names included; JSON, SARIF and JUnit are read back by others."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator, validate
from junitparser import JUnitXml

from dbkit.errors import UsageError
from dbkit.exhibits import Bar, Bars, Lane, Span, Stack, Table, Text, Timeline
from dbkit.model import Evidence, Finding, Fix, Location, Passed, Report, Severity, Skipped, Suppression, TargetInfo
from dbkit.report import FORMATS, format_for, render
from dbkit.report.schema import REPORT

SARIF = Draft4Validator(
    json.loads((Path(__file__).resolve().parents[1] / "data" / "sarif-2.1.0.json").read_text(encoding="utf-8"))
)
HOSTILE = 'x"><script>alert(1)</script>\n::error::forged | `tick` \u202e 🐘 %'


def sample(name=HOSTILE, findings=1):
    finding = Finding(
        "pg.index-invalid", Severity.ERROR, Evidence.OBSERVED, f"broken {name}", "prod", name, fix=Fix("sql", name)
    )
    placed = Finding("pg.index-missing", Severity.WARN, Evidence.TEXT, "gone", "prod", "i", Location("a b,c:d.sql", 3))
    return Report(
        command="audit",
        targets=(TargetInfo("prod", "postgres", "18.6"),),
        findings=(*[finding] * findings, placed, placed.suppressed_by(Suppression("policy", name))),
        passed=(Passed("pg.index-duplicate", "prod", name),),
        skipped=(Skipped("pg.index-building", "prod", name),),
        exhibits=(
            Table(name, ("a", "b"), ((name, "1"),), numeric=frozenset({"b"})),
            Bars(name, "ms", (Bar(name, 3.0, name, "bad"),), limit=2.0),
            Stack(name, "GB", (Bar(name, 0.0),), capacity=4.0),
            Timeline(name, (Lane(name, (Span(0, 1, name),)),)),
            Text(name, name, code=True),
        ),
    )


@pytest.mark.parametrize("fmt", FORMATS)
def test_an_empty_report_is_said_to_be_healthy(fmt):
    shown = render(Report("audit"), fmt)
    assert "Traceback" not in shown


@given(st.text())
def test_any_name_survives_every_format(name):
    report = sample(name)
    for fmt in FORMATS:
        assert isinstance(render(report, fmt, verbose=True), str)


def test_json_is_what_its_schema_says():
    data = json.loads(render(sample(), "json"))
    validate(data, REPORT)
    assert data["summary"] == {"error": 1, "warn": 1, "info": 0, "suppressed": 1, "passed": 1, "skipped": 1}
    assert data["findings"][0]["object"] == HOSTILE


@given(st.text())
def test_sarif_is_what_the_official_schema_says(name):
    SARIF.validate(json.loads(render(sample(name), "sarif")))


def test_the_official_schema_refuses_what_is_wrong():
    log = json.loads(render(sample(), "sarif"))
    log["runs"][0]["results"][0]["level"] = "fatal"
    assert not SARIF.is_valid(log)
    del log["runs"][0]["results"][0]["message"], log["runs"][0]["results"][0]["level"]
    assert [error.message for error in SARIF.iter_errors(log)] == ["'message' is a required property"]


def test_sarif_gives_every_result_a_place():
    run = json.loads(render(sample(), "sarif"))["runs"][0]
    for result in run["results"]:
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert sum("suppressions" in r for r in run["results"]) == 1


def test_junit_counts_what_it_holds():
    (suite,) = JUnitXml.fromstring(render(sample(), "junit").encode())
    assert (suite.tests, suite.failures, suite.skipped, suite.errors) == (4, 2, 1, 0)


def test_junit_is_read_by_a_parser():
    (suite,) = ET.fromstring(render(sample(), "junit")).iter("testsuite")
    kinds = [child.tag for case in suite.iter("testcase") for child in case]
    assert sorted(kinds) == ["failure", "failure", "skipped"]


@given(st.text())
def test_github_never_forges_an_annotation(name):
    lines = render(sample(name), "github").split("\n")
    assert len([line for line in lines if line]) == 2
    assert all(line.startswith("::") for line in lines if line)


def test_github_says_how_many_are_left():
    assert "::error::3 more error findings" in render(sample(findings=13), "github")


def test_html_escapes_and_asks_nobody():
    page = render(sample(), "html")
    assert "<script" not in page
    assert 'http-equiv="Content-Security-Policy"' in page
    assert "src=" not in page.replace("default-src", "").replace("style-src", "")


def test_text_keeps_a_finding_on_its_line():
    lines = render(sample(), "text").splitlines()
    assert sum(line.startswith(("error ", "warn ")) for line in lines) == 2
    assert lines[-1].startswith("audit: 1 error, 1 warn, 0 info; 1 passed, 1 skipped, 1 suppressed")


@pytest.mark.parametrize(
    ("name", "fmt"),
    [("a.html", "html"), ("a.sarif.json", "sarif"), ("a.json", "json"), ("a.github.txt", "github"), ("a.XML", "junit")],
)
def test_format_by_suffix(name, fmt):
    assert format_for(Path(name)) == fmt


def test_unknown_formats_are_refused():
    with pytest.raises(UsageError, match=r"a\.pdf"):
        format_for(Path("a.pdf"))
    with pytest.raises(UsageError, match="pdf"):
        render(Report("audit"), "pdf")


def test_many_rules_skipped_for_one_reason_are_counted_and_named_on_request():
    skipped = tuple(Skipped(f"pg.rule-{n}", "prod", "switched off") for n in range(20))
    report = Report(command="audit", targets=(TargetInfo("prod", "postgres", "18.6"),), skipped=skipped)
    assert "skipped 20 rules (-v names them): switched off" in render(report, "text")
    assert "pg.rule-19" in render(report, "text", verbose=True)
