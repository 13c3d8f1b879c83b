"""Every rule about PgBouncer finds its bad example, finds nothing in its good one, and its edits mend what it found."""

import shutil
import subprocess

import pytest

from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.patch import apply_edits, patch
from dbkit.pgbouncer.rules import POOLER_RULES
from dbkit.rules import REGISTRY
from tests.rules import pooler_example

RULES = pytest.mark.parametrize("rule", POOLER_RULES, ids=lambda r: r.id)


@RULES
def test_the_bad_example_is_found(rule, tmp_path):
    report = pooler_example.run(tmp_path, rule, rule.bad).report
    assert report.findings, (report.passed, report.skipped)
    assert {f.rule for f in report.findings} == {rule.id}
    assert not report.passed
    keys = [(f.rule, f.object, f.key) for f in report.findings]
    assert len(keys) == len(set(keys))
    assert all(f.object and f.message.strip() == f.message for f in report.findings)


@RULES
def test_the_good_example_passes(rule, tmp_path):
    report = pooler_example.run(tmp_path, rule, rule.good).report
    assert not report.findings
    assert [p.sentence for p in report.passed] == [rule.ok], report.skipped


@RULES
def test_its_edits_mend_the_file(rule, tmp_path):
    """Applied by `patch` and by us alike, the file still loads and the rule finds less."""
    answer = pooler_example.run(tmp_path, rule, rule.bad)
    edits = answer.edits_for(answer.report.findings)
    if not edits or rule.id == "pgbouncer.config-drift":
        return
    path = tmp_path / "pgbouncer.ini"
    ours = apply_edits(answer.scene.ini, edits)[str(path)]
    if shutil.which("patch"):
        diff = patch(answer.scene.ini, edits)
        subprocess.run(["patch", "-s", str(path)], input=diff, text=True, check=True, cwd=tmp_path)
        assert path.read_text() == ours
    after = pooler_example.run(tmp_path, rule, ours)
    assert after.scene.ini.loads
    assert len(after.report.findings) < len(answer.report.findings)


def test_every_rule_is_listed():
    assert {r.id for r in POOLER_RULES} == {r for r in REGISTRY if r.startswith("pgbouncer.")}


def test_the_documented_settings_are_known_and_accept_themselves():
    from dbkit.pgbouncer import documents

    known = parameters.load(parameters.version("1.26"))
    for name, wanted in documents.settings().settings.items():
        assert name in known
        assert wanted.want is None or wanted.accepts(str(wanted.want))
