"""Whatever the bytes, a file is read, judged and mended without an error. `LONG_TESTS=1` runs ten thousand cases."""

import contextlib
import itertools
import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dbkit.policy import Policy
from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.checks import shown
from dbkit.postgres.conf.reader import read_file
from dbkit.postgres.conf.values import InvalidValue
from dbkit.postgres.hba import reader as hba_reader
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
@example(b"ssl_passphrase_command\x0b\x00", 14)  # a line that holds a secret is named above the diff
@given(TEXTS, st.sampled_from(parameters.VERSIONS))
def test_any_bytes_are_judged_and_mended(content, major):
    scene = offline.scene_of(FILE, major, Size(2**34, 4), WANTED, overlay={str(FILE): content})
    answer = offline.audit(scene, Policy(), Selection())
    shown = render(answer.report, "json")
    shown.encode()
    mend = fixes.collect(answer.report.findings, answer.judged.mends)
    text = patch.unified(scene, mend.edits, mend.changes)
    lines = text.splitlines(keepends=True)
    diff = "".join(itertools.dropwhile(lambda line: line.startswith("# not changed here, "), lines))
    assert not diff or diff.startswith("--- postgresql.conf\n+++ postgresql.conf\n@@")


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


MANY = "9" * 5000
LONG = [
    MANY, f"-{MANY}", f"0x{'f' * 5000}", f"0{'7' * 5000}", f"{MANY}.5", f"1e{MANY}", f"1e-{MANY}", f"0x1p{MANY}",
    f"A{MANY}", f"A3:{MANY}", f"EST5EDT,M{MANY}.1.1,J{MANY}", f"interval '{MANY}'", f"interval '1{MANY} hours'",
    f"interval '{MANY}:00'", f"interval 'PT{MANY}H'", f"interval 'PT{MANY}:1'", f"ANY {MANY} (a)", f"{MANY}-01-01",
    f"2020-01-01 10:00:00.{MANY}", f"2020-01-01 10:00:00+{MANY}", f"1/{MANY}", f"{MANY}kB", "1e308TB", "0x1p1023min",
]  # fmt: skip


@pytest.mark.parametrize("value", LONG, ids=lambda value: value[:24])
def test_numbers_of_any_length_are_judged(value):
    """Python's int() gives texts of more than 4,300 digits up; a server reads them."""
    for parameter in parameters.load(18).values():
        with contextlib.suppress(InvalidValue):
            assert isinstance(shown(parameter, value, 18), str)


@pytest.mark.parametrize(
    "line",
    [f"1.2.3.4/{MANY} md5", f"{MANY} md5", f"0{MANY}/8 md5", f"::1/{MANY} md5", f"0.0.0.0/0 ldap ldapport={MANY}",
     "1.2.3.4/\u0663 md5", "\u0661.2.3.4/8 md5"],
    ids=lambda line: line[:12],
)  # fmt: skip
def test_numbers_of_any_length_in_pg_hba_are_judged(line, tmp_path):
    (tmp_path / "pg_hba.conf").write_text(f"host all all {line}\n")
    assert hba_reader.read_file(tmp_path / "pg_hba.conf", 18).rules
