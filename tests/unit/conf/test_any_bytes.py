"""Whatever the bytes, a file is read, judged and mended without an error. `LONG_TESTS=1` runs ten thousand cases."""

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dbkit.policy import Policy
from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.reader import read_file
from dbkit.postgres.settings import audit, documents, fixes, offline, patch, repair
from dbkit.postgres.settings.scene import Size
from dbkit.report import render
from dbkit.rules import Selection

CASES = 10_000 if os.environ.get("LONG_TESTS") else 60
FILE = Path("postgresql.conf")
WANTED = documents.load()
NAMES = [p.name for p in parameters.load(18).values()]
LINES = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(NAMES) | st.sampled_from(["nonsense", "a.b", "connection_pooling", "--", "sort_mem"]),
    st.sampled_from([" = ", "=", " ", ""]),
    st.text(max_size=8) | st.sampled_from(["4GB", "'x'", "on", "1.5GB", "256mb", "-1", "9999999999999", "0x1f"]),
    st.sampled_from(["", " -- c", " # c", ";", "\r"]),
)
TEXTS = st.binary(max_size=300) | st.lists(LINES, max_size=8).map(lambda held: "\n".join(held).encode())


@settings(max_examples=CASES, deadline=None)
@given(TEXTS, st.sampled_from(parameters.VERSIONS))
def test_any_bytes_are_judged_and_mended(content, major):
    scene = offline.scene_of(FILE, major, Size(2**34, 4), WANTED, overlay={str(FILE): content})
    answer = offline.audit(scene, Policy(), Selection())
    shown = render(answer.report, "json")
    shown.encode()
    mend = fixes.collect(answer.report.findings, answer.judged.mends)
    text = patch.unified(scene, mend.edits, mend.changes)
    assert not text or text.startswith("--- postgresql.conf\n+++ postgresql.conf\n@@")


@settings(max_examples=CASES, deadline=None)
@given(TEXTS, st.sampled_from(parameters.VERSIONS))
def test_edits_keep_every_line_where_it_is(content, major):
    conf = read_file(FILE, major, overlay={str(FILE): content}, auto_conf=Path("none.conf"))
    rounds = repair.repaired(conf, WANTED.not_settings)
    for held in rounds:
        after = held.contents[str(FILE)]
        assert after.count(b"\n") == content.count(b"\n")
    if rounds:
        assert len(rounds[-1].problems) <= len(conf.problems) + len(conf.further)


def test_audit_is_a_pure_function_of_its_scene():
    scene = offline.scene_of(FILE, 18, Size(2**34, 4), WANTED, overlay={str(FILE): b"work_mem = 1GB\n"})
    one, two = (audit.judge(scene, Policy(), Selection()).report for _ in range(2))
    assert one == two
