"""Every setting rule on files finds its bad example and nothing in its good one; on servers: tests/live/test_setting_rules.py."""

import re
import shlex
import shutil
import subprocess

import pytest

from dbkit.policy import Policy
from dbkit.postgres.settings import documents, offline
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
    return answered(rule, text, folder, major).report


def answered(rule, text, folder, major):
    (folder / "postgresql.conf").write_text(text)
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
    return offline.audit(scene, Policy(), Selection(select=(rule.id,)))


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


@IN_FILES
@pytest.mark.parametrize("major", [15, 18])
@pytest.mark.skipif(not shutil.which("patch"), reason="needs patch")
def test_its_patch_applies_and_leaves_nothing_to_find(rule, major, tmp_path):
    answer = answered(rule, rule.bad + "\n", tmp_path, major)
    patch = answer.patch(answer.report.findings)
    if not patch:
        assert not answer.judged.mends
        return
    done = subprocess.run(["patch", "-s", "-p0"], input=patch, text=True, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout
    after = answered(rule, (tmp_path / "postgresql.conf").read_text(), tmp_path, major)
    assert not [f.message for f in after.report.findings]
    assert after.scene.conf.loads


@pytest.mark.parametrize(
    ("major", "words"),
    [(15, "wanted is on (S0"), (18, "wanted is receipt,authentication,authorization; on or all will do (S0")],
)
def test_what_else_will_do_is_what_the_version_takes(major, words, tmp_path):
    rule = next(r for r in SETTING_RULES if r.id == "pg.setting-off-policy")
    said = [f.message for f in judged(rule, "log_connections = off\n", tmp_path, major).findings]
    assert any(words in message for message in said), said
