"""Every setting rule on files finds its bad example and nothing in its good one; on servers: tests/live/test_setting_rules.py."""

import re
import shlex

import pytest

from dbkit.policy import Policy
from dbkit.postgres.settings import audit, documents, offline
from dbkit.postgres.settings.rules import SETTING_RULES
from dbkit.postgres.settings.scene import Size
from dbkit.rules import Selection
from dbkit.sizes import parse_bytes

IN_FILES = pytest.mark.parametrize("rule", [r for r in SETTING_RULES if not r.bad.startswith("--")], ids=lambda r: r.id)


def flags(text):
    """The flags an example is audited with."""
    words = [shlex.split(line) for line in re.findall(r"^# audit: (.*)$", text, re.MULTILINE)]
    given = [word for line in words for word in line]
    return dict(zip(given[::2], given[1::2], strict=True))


def judged(rule, text, folder, major=18):
    (folder / "postgresql.conf").write_text(text + "\n")
    given = flags(text)
    memory = given.get("--memory")
    size = Size(
        parse_bytes(memory) if memory else None,
        int(given["--cpus"]) if "--cpus" in given else None,
        given.get("--storage", "ssd"),
    )
    scene = offline.scene_of(
        folder / "postgresql.conf",
        int(given.get("--pg-version", major)),
        size,
        documents.load(),
        upgrade_to=int(given["--upgrade-to"]) if "--upgrade-to" in given else None,
    )
    return audit.judge(scene, Policy(), Selection(select=(rule.id,))).report


@IN_FILES
@pytest.mark.parametrize("major", [15, 18])
def test_the_bad_file_is_found(rule, major, tmp_path):
    report = judged(rule, rule.bad, tmp_path, major)
    assert report.findings, report.skipped
    assert {f.rule for f in report.findings} == {rule.id}
    assert all(f.object and f.message == f.message.strip() for f in report.findings)


@IN_FILES
@pytest.mark.parametrize("major", [15, 18])
def test_the_good_file_passes(rule, major, tmp_path):
    report = judged(rule, rule.good, tmp_path, major)
    assert not report.findings, [f.message for f in report.findings]
    assert [p.sentence for p in report.passed] == [rule.ok], report.skipped
