"""pgbouncer.ini offline: the corpus, includes, versions, re-opened sections, and that no bytes break the reader."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbkit.errors import UsageError
from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.ini.reader import read, read_file

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpora" / "confs"
V18, V24, V25, V26 = (parameters.version(v) for v in ("1.18.0", "1.24.1", "1.25.2", "1.26.1"))
INDEX = CORPUS / "index.jsonl"
CASES = [json.loads(line) for line in INDEX.read_text().splitlines()] if INDEX.exists() else []
INI = [(c, v) for c in CASES if c["kind"] == "pgbouncer.ini" for v in c["expect"]]


@pytest.mark.parametrize(("case", "version"), INI, ids=[f"{c['file']}-{v}" for c, v in INI])
def test_the_corpus_is_read_as_the_daemons_read_it(case, version):
    expected = case["expect"][version]
    held = read_file(CORPUS / case["file"], parameters.version(version))
    assert held.loads == expected["loads"]
    said = [(e["message"].removeprefix("ERROR "), e["line"]) for e in expected["errors"] if "FATAL" not in e["message"]]
    assert [(p.message, p.line) for p in held.problems] == [(m, n or held.problems[0].line) for m, n in said]
    assert {k: held.value(k) for k in expected["keys"]} == expected["keys"]
    ours = {d.name: held.shown(d) for d in held.databases}
    assert {k: ours[k] for k in expected["databases"]} == expected["databases"]


@settings(max_examples=int(os.environ.get("DBKIT_TEST_EXAMPLES", "500")), deadline=None)
@given(st.binary(max_size=400), st.sampled_from([V18, V24, V26]))
def test_no_bytes_break_it(content, version):
    held = read(content, version)
    assert held.loads == (not held.problems)


_lines = st.lists(
    st.one_of(
        st.sampled_from([b"[pgbouncer]", b"[databases]", b"[users]", b"[peers]", b"%include x", b"; c", b"--", b"\0"]),
        st.tuples(
            st.sampled_from([b"pool_mode", b"query_timeout", b"a", b"*", b"1", b"'q'"]),
            st.sampled_from([b"=", b" = ", b""]),
            st.one_of(
                st.binary(max_size=12), st.sampled_from([b"host=x port=1", b"0x1p999", b"9" * 5000, b"host='", b"nan"])
            ),
        ).map(b"".join),
    ),
    max_size=12,
).map(b"\n".join)


@settings(max_examples=int(os.environ.get("DBKIT_TEST_EXAMPLES", "500")), deadline=None)
@given(_lines, st.sampled_from([V18, V25, V26]))
def test_no_lines_break_it(content, version):
    held = read(content, version)
    for setting in held.settings:
        assert (setting.value is None) == (setting.error is not None)


def test_includes_are_read_in_place_and_keep_the_section_they_end_in(tmp_path):
    (tmp_path / "more.ini").write_text("default_pool_size = 7\n[databases]\n")
    (tmp_path / "pgbouncer.ini").write_text("[pgbouncer]\n%include more.ini\na = host=x\n")
    held = read_file(tmp_path / "pgbouncer.ini", V18)
    assert held.loads, held.problems
    assert held.value("default_pool_size") == "7"
    assert [d.name for d in held.databases] == ["a"]


def test_a_mistake_in_an_include_names_both_places(tmp_path):
    (tmp_path / "more.ini").write_text("\n\nverbose = on\n")
    (tmp_path / "pgbouncer.ini").write_text("[pgbouncer]\n%include more.ini\n")
    held = read_file(tmp_path / "pgbouncer.ini", V18)
    assert [(Path(p.file).name, p.line) for p in held.problems] == [("more.ini", 3), ("pgbouncer.ini", 2)]


def test_files_that_include_each_other_end(tmp_path):
    (tmp_path / "pgbouncer.ini").write_text("[pgbouncer]\n%include pgbouncer.ini\n")
    held = read_file(tmp_path / "pgbouncer.ini", V18)
    assert "nesting level too deep" in held.problems[0].message
    (tmp_path / "pgbouncer.ini").write_text("[pgbouncer]\n" + "%include pgbouncer.ini\n" * 9)
    with pytest.raises(UsageError, match="includes more than"):
        read_file(tmp_path / "pgbouncer.ini", V18)


def test_a_section_opened_again_undoes_what_stood_before():
    held = read(b"[pgbouncer]\ndefault_pool_size = 5\npool_mode = transaction\n[pgbouncer]\npool_mode = session\n", V18)
    assert held.value("default_pool_size") == "20"
    assert held.value("pool_mode") == "session"
    assert [(s.name, s.dead, s.undone) for s in held.settings] == [
        ("default_pool_size", True, True),
        ("pool_mode", True, False),
        ("pool_mode", False, False),
    ]


def test_all_mistakes_are_found_though_the_daemon_stops_at_the_first():
    held = read(b"[pgbouncer]\nlog_connections = on\n-- what\nquery_timeout = 5s\n", V18)
    assert [p.line for p in held.problems] == [2]
    assert [p.line for p in held.further] == [3, 4]


def test_no_password_is_kept_in_a_message():
    held = read(b"[databases]\na = host=x password=canary-7 nope=1\n[pgbouncer]\n-- password=canary-7\n", V18)
    assert "canary-7" not in repr(held)
    for secret in ("'it''s canary-7'", "'canary-7", "'a b canary-7' nope", "x,canary-7"):
        for line in (f"a = host=x password={secret} nope=1", f"a = password = {secret}", f"a password={secret}"):
            held = read(f"[databases]\n{line}\n[pgbouncer]\n".encode(), V18)
            assert "canary-7" not in repr((held.problems, held.further, held.databases)), line


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("server_tls_sslmode", (19, "disable"), (20, "prefer")),
        ("max_prepared_statements", (21, "0"), (24, "200")),
        ("server_check_query", (24, "select 1"), (25, "<empty>")),
        ("track_extra_parameters", (20, "IntervalStyle"), (26, "")),
    ],
)
def test_defaults_follow_the_version(name, old, new):
    for minor, value in (old, new):
        assert parameters.load(parameters.Version(1, minor))[name].default == value


@pytest.mark.parametrize("text", ["1.17", "2.0", "x", "1.27"])
def test_an_unknown_version_is_refused(text):
    with pytest.raises(UsageError):
        parameters.version(text)


def test_a_folder_or_a_missing_file_is_one_error(tmp_path):
    for path in (tmp_path, tmp_path / "none.ini"):
        with pytest.raises(UsageError):
            read_file(path, V18)
