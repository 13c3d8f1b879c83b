"""The entry: versions, sizes, selection, coverage, identity of findings; and any text at all."""

import cProfile
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbkit.cli import migrations
from dbkit.errors import UsageError
from dbkit.model import Severity
from dbkit.postgres.migrate import lint, rewrite, source, stats
from dbkit.postgres.migrate.names import Name
from dbkit.postgres.migrate.source import decode, make, read_paths
from dbkit.rules import Selection
from tests.fixtures.migrations import report, rules


@pytest.mark.parametrize("text", ["9.6", "10", "19", "x", "", "15.x", "-1"])
def test_an_unknown_version_is_refused(text):
    with pytest.raises(UsageError) as caught:
        lint.parse_version(text)
    assert "11 to 18" in caught.value.hint


def test_versions_decide():
    assert lint.parse_version("14.2") == (14, 2)
    assert "concurrent-build-corrupts" in rules("create index concurrently i on t (a)", version=(14, 3))
    assert "concurrent-build-corrupts" not in rules("create index concurrently i on t (a)", version=(14, None))
    assert "needs-newer-server" in rules("reindex table concurrently t", version=(11, None))


def test_syntax_errors_have_place_and_do_not_hide_the_rest():
    found = report(
        "create index concurrently i on t (a);\nalter table t\n  ad column x int;\ncreate index j on t (b);\n"
    )
    (broken,) = [f for f in found.active if f.rule == "migrate.syntax-error"]
    assert broken.location.line == 3
    *_, shown, caret = broken.data["detail"].splitlines()
    assert shown.index("ad column") == caret.index("^")
    (index,) = [f for f in found.active if f.rule == "migrate.index-not-concurrent"]
    assert index.location.line == 4
    assert found.extra["coverage"] == {
        "statements": 3, "analysed": 2, "not_analysed": 1, "in_bodies": 0, "share": 0.6667,
    }  # fmt: skip


def test_placeholders_and_psql_commands_are_read_over():
    text = "\\set ON_ERROR_STOP on\ncreate index i on ${schema}.t (a);\n\\connect x\ncreate index j on {{ table }} (a);"
    found = [f for f in report(text).active if f.rule == "migrate.index-not-concurrent"]
    assert [f.location.line for f in found] == [2, 4]
    assert not [f for f in report(text).active if f.rule == "migrate.syntax-error"]


def test_what_cannot_be_read_is_told_whatever_is_selected():
    found = report("create indx;", selection=Selection(select=("migrate.char-column",)))
    assert [f.rule for f in found.active] == ["migrate.syntax-error"]
    both = Selection(select=("migrate.char-column",), ignore=("migrate.syntax-error",))
    assert not report("create indx;", selection=both).active


def test_what_psql_would_run_from_elsewhere_is_not_passed(tmp_path):
    text = """\\i a.sql
select format('create index on %I (x)', t) from pg_tables \\gexec
select format('drop index %I', i) from pg_indexes
\\gexec
create index i on :"schema".t (a) where b = :'word' and c > :limit and d[1:2] is null;
insert into t values ('an end \\g');
"""
    (tmp_path / "main.sql").write_text(text)
    (tmp_path / "a.sql").write_text("select 1;")

    def found(*names):
        scripts = source.read_paths([tmp_path / n for n in names])
        return [(f.rule.removeprefix("migrate."), f.location.line, f.object) for f in lint.lint(scripts).active]

    unread = [("not-analysed", 2, ""), ("not-analysed", 4, "")]
    assert [f for f in found("main.sql") if f[0] == "not-analysed"] == [("not-analysed", 1, ""), *unread]
    assert [f for f in found("main.sql", "a.sql") if f[0] == "not-analysed"] == unread
    assert ("index-not-concurrent", 5, "xschema.t") in found("main.sql")
    assert not [f for f in found("main.sql") if f[0] == "syntax-error"]
    flyway = report("select :x;", name="V1__a.sql").active  # nobody fills that in
    assert [f.rule for f in flyway] == ["migrate.syntax-error"]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("alter table t validate constraint t_a_not_null", False),  # made where we cannot see; its name says what it is
        ("alter table t validate constraint t_a_null", False),  # strong_migrations' name
        ("alter table t validate constraint a_not_null", True),
        ("alter table t validate constraint t_b_not_null", True),
        ("alter table u validate constraint t_a_not_null", True),
        ("alter table t validate constraint t_a_not_null; alter table t drop constraint t_a_not_null", True),
        ("create table t (a int); begin; alter table t validate constraint t_a_not_null", False),  # new, in any case
    ],
)
def test_a_check_of_an_earlier_file_proves_by_its_name(before, expected):
    sql = f"{before}; alter table t alter a set not null"
    assert ("not-null-scans" in rules(sql)) is expected
    assert ("not-null-scans" in rules(sql, version=(11, None))) is (expected or "create" not in before)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("create table t (a int)", False),  # one statement is done wholly or not at all
        ("drop index concurrently i", True),
        ("begin; drop index i; drop table t; commit", False),
        ("create type m as enum ('a'); select 1", True),
        ("alter table t add constraint c check (a > 0); select 1", True),
        ("alter table t drop constraint if exists c; alter table t add constraint c check (a > 0)", False),
        (("alter table t drop constraint if exists c; alter table t add constraint c check (a > 0);"
         " alter table t add constraint c check (a > 0)"), True),
        ("create or replace view v as select 1; create or replace function f() returns int language sql as 'select 1'",
         False),
    ],
)  # fmt: skip
def test_what_can_be_run_again(sql, expected):
    every = Selection(select=("migrate.not-repeatable",))
    assert bool(report(sql, selection=every).active) is expected


def test_set_config_is_a_set():
    assert "no-lock-timeout" not in rules("select set_config('lock_timeout', '2s', false); drop table t")
    assert "no-lock-timeout" in rules("begin; select set_config('lock_timeout', '2s', true); commit; drop table t")
    assert "no-lock-timeout" in rules("select set_config('lock_timeout', v, false) from c; drop table t")


def test_sizes_set_the_severity(tmp_path):
    file = tmp_path / "stats.json"
    tables = [{"name": "public.small", "bytes": 8192, "rows": 10}, {"name": "big", "bytes": 5 * 1024**3, "rows": 9**9}]
    file.write_text(json.dumps({"tables": tables}))
    held = stats.load(file)
    assert held.of(Name("", "big")).large
    text = "create index a on small (x); create index b on big (x); create index c on other (x);"
    found = [f for f in report(text, stats=held).active if f.rule == "migrate.index-not-concurrent"]
    assert {f.object: f.severity for f in found} == {
        "small": Severity.INFO, "big": Severity.ERROR, "other": Severity.ERROR,
    }  # fmt: skip
    assert any("5.0 GB, 387 M rows" in f.message for f in found)


@pytest.mark.parametrize("text", ["[]", "{", '{"tables": [{"name": "t"}]}', '{"tables": 3}'])
def test_wrong_statistics_are_refused(tmp_path, text):
    file = tmp_path / "stats.json"
    file.write_text(text)
    with pytest.raises(UsageError):
        stats.load(file)


def test_findings_keep_their_identity_when_lines_move():
    text = "create index i on t (a);"
    first, second = (report(prefix + text).active for prefix in ("", "select 1;\n\n"))
    assert {f.fingerprint for f in first} == {f.fingerprint for f in second}
    twice = [f.fingerprint for f in report("drop table t; drop table t;").findings]
    assert len(set(twice)) == len(twice)


def test_selection_and_passes():
    only = report("create index i on t (a); drop table u;", selection=Selection(select=("migrate.drop-table",)))
    assert {f.rule for f in only.active} == {"migrate.drop-table"}
    everything = report("create index i on t (a)")
    assert "migrate.index-not-concurrent" not in {p.rule for p in everything.passed}
    assert "migrate.drop-table" in {p.rule for p in everything.passed}
    assert all(p.sentence for p in everything.passed)


def test_order_of_files(tmp_path):
    for name in ("V10__c.sql", "V2__b.sql", "V1__a.sql", "R__views.sql", "U2__undo.sql", "3_x.down.sql"):
        (tmp_path / name).write_text("select 1;")
    assert [s.path.name for s in source.read_paths([tmp_path])] == [
        "V1__a.sql", "V2__b.sql", "V10__c.sql", "R__views.sql",
    ]  # fmt: skip


def test_sqitch_follows_its_plan(tmp_path):
    (tmp_path / "sqitch.plan").write_text(
        "%syntax-version=1.0.0\n%project=x\n\nb 2026-01-01T00:00:00Z me <a@b>\na [b] 2026\n"
    )
    for folder, name in (("deploy", "a"), ("deploy", "b"), ("revert", "a"), ("verify", "a")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.sql").write_text("select 1;")
    assert [s.path.name for s in source.read_paths([tmp_path])] == ["b.sql", "a.sql"]


def test_one_bad_file_does_not_hide_the_others(tmp_path):
    (tmp_path / "1.sql").write_bytes(b"\x00\x01binary")
    (tmp_path / "2.sql").write_bytes("create index i on t (a); -- é".encode("latin-1"))
    (tmp_path / "3.sql").write_text("create index i on t (a);", encoding="utf-16")
    found = lint.lint(source.read_paths([tmp_path])).active
    assert [f.location.file[-5:] for f in found if f.rule == "migrate.unreadable"] == ["1.sql", "2.sql"]
    assert [f.location.file[-5:] for f in found if f.rule == "migrate.index-not-concurrent"] == ["3.sql"]
    with pytest.raises(UsageError, match="not a text file"):
        source.read_paths([tmp_path / "1.sql"])


def test_ten_megabytes_are_read_to_the_end():
    row = "INSERT INTO t (id, name) VALUES\n" + "(1, 'a row of some length, so that it adds up'),\n" * 210_000
    text = row + "(2, 'x');\ncreate index i on t (a);"
    assert len(text) > 10_000_000
    assert "index-not-concurrent" in rules(text)


WORDS = st.sampled_from(
    "begin; commit; rollback; alter table t add column c int ; alter t drop column create index concurrently i on t (a);"
    " do $$ end $$; ' \" -- /* */ \\connect copy t from stdin; \\. set lock_timeout = 0; ( ) , ${x} -- dbkit: ignore"
    " squawk-ignore create domain d as int check (value > 0); partition of default validate constraint k;"
    " rename to language sql as select f() type varchar(5) using c::text \n é 名".split(" ")
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join), st.lists(WORDS).map("\n".join)))
def test_any_text_gives_a_report(text):
    found = lint.lint([make("m.sql", text)])
    coverage = found.extra["coverage"]
    assert coverage["analysed"] + coverage["not_analysed"] == coverage["statements"]
    lines = text.count("\n") + text.count("\r") + 1
    assert all(f.location.line is None or 1 <= f.location.line <= lines for f in found.findings)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([
    "create table t (a int, b varchar(5) check (b <> ''));", "create table t2 (a int references t (a));",
    "alter table t add column c int;", "alter table t drop column a cascade;", "alter table t rename to u;",
    "alter table u rename column a to z;", "drop table t cascade;", "begin;", "rollback;", "commit;",
    "create index i on t (a);", "drop index i;", "alter index i rename to j;", "create view v as select a from t;",
    "alter table t alter a type bigint;", "alter table t add constraint k check (a > 0) not valid;",
    "alter table t validate constraint k;", "alter table t set schema s;", "create table p partition of t default;",
    "alter table t attach partition p for values in (1);", "alter domain d set not null;", "create domain d as int;",
]), max_size=14).map("\n".join))  # fmt: skip
def test_any_order_of_statements_gives_a_report(text):
    lint.lint([make("m.sql", text)])


def test_what_lies_in_a_folder_and_cannot_be_read_is_a_finding(tmp_path):
    (tmp_path / "0001.sql").write_text("create index i on t (a);\n")
    (tmp_path / "0002.sql").symlink_to("0002.sql")
    (tmp_path / "0003.sql").symlink_to("nowhere.sql")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "0004.sql").mkdir()
    found = lint.lint(source.read_paths([tmp_path])).active
    unread = {f.location.file.rpartition("/")[2] for f in found if f.rule == "migrate.unreadable"}
    assert unread == {"0002.sql", "0003.sql"}
    assert "migrate.index-not-concurrent" in {f.rule for f in found}


@pytest.mark.parametrize(
    "text",
    [
        "create index i on t (a);\r\n-- dbkit: ignore migrate.index-not-concurrent reason='x y z'\r\ncreate index j on u (a);\r\n",
        "\ufeffcreate index i on t (a);",
    ],
)
def test_foreign_line_ends_and_marks_are_read(tmp_path, text):
    (tmp_path / "m.sql").write_bytes(text.encode())
    found = lint.lint(source.read_paths([tmp_path])).active
    assert [f.location.line for f in found if f.rule == "migrate.index-not-concurrent"] == [1]


def test_many_statements_of_one_file_take_time_in_proportion():
    # Twice the statements, about twice the steps: nothing looks back over all that came before.
    def steps(count):
        text = "".join(f"alter table t{n % 50} add column c{n} int;\n" for n in range(count))
        profile = cProfile.Profile()
        profile.runcall(lint.lint, [make("m.sql", text)])
        return sum(entry.callcount for entry in profile.getstats())

    assert steps(2000) < 2.5 * steps(1000)


def test_a_folder_is_read_through_links_once_and_no_pipe_is_waited_for(tmp_path):
    folder, elsewhere = tmp_path / "m", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "1.sql").write_text("select 1;")
    (elsewhere / "2.sql").write_text("select 2;")
    (folder / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    (folder / "gone.sql").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.sql")
    found = {Path(s.file).name: s.problems for s in read_paths([folder])}
    assert set(found) == {"1.sql", "2.sql", "gone.sql", "pipe.sql"}
    assert "No such file" in found["gone.sql"][0][1]
    assert "is not a file" in found["pipe.sql"][0][1]


def test_a_file_named_twice_runs_once(tmp_path, monkeypatch):
    (tmp_path / "1.sql").write_text("create table t (a int);")
    (tmp_path / "2.sql").write_text("create index i on t (a);")
    monkeypatch.chdir(tmp_path)
    given = migrations.read([".", "2.sql", str(tmp_path / "1.sql"), "."], "stdin.sql")
    assert [s.file for s in given] == ["1.sql", "2.sql"]


@pytest.mark.parametrize(
    ("raw", "what", "hint"),
    [
        (b"select 1;\0", "not a text file", "give SQL files"),
        ("select 1;".encode("utf-16-le"), "not a text file", "utf-16le"),
        (b"\xff\xfea", "begins as UTF-16", None),
        ("-- \xe9".encode("latin-1"), "not UTF-8", "iconv"),
    ],
)
def test_what_is_no_text_is_said_with_what_to_do(raw, what, hint):
    with pytest.raises(UsageError) as caught:
        decode(raw, "m.sql")
    assert what in caught.value.what
    assert (hint or "") in (caught.value.hint or "")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"])
def test_a_fix_keeps_the_encoding(tmp_path, encoding):
    mark = {"utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}.get(encoding, "")
    file = tmp_path / "m.sql"
    file.write_bytes(f"{mark}-- é\r\ncreate index i on t (a);\r\n".encode(encoding))
    scripts = read_paths([file])
    rewrite.write(rewrite.plan(scripts, lint.examine(scripts, lint.Options()).found)[0])
    fixed = f"{mark}{rewrite.MARK}\r\n-- é\r\ncreate index concurrently i on t (a);\r\n"
    assert file.read_bytes().decode(encoding) == fixed
    if encoding == "utf-8-sig":
        assert file.read_bytes().startswith(b"\xef\xbb\xbf--")


HAZARDOUS = (
    "create index {i} on t (a);",
    "alter table t alter a set not null;",
    "alter table t{i} add check (a > 0);",
    "drop table t;",
    "update t set a = 1;",
    "alter table t alter a type bigint",
)
GAPS = st.sampled_from(
    ["", "\n", "\n\n", "-- noted\n", "/* noted\n */", "\r\n\t", "select 1;\n", "comment on table o is 'x';\n"]
)


@settings(max_examples=40)
@given(
    chosen=st.lists(st.tuples(st.sampled_from(HAZARDOUS), st.integers(0, 2)), min_size=1, max_size=6),
    gaps=st.lists(GAPS, min_size=7, max_size=7),
    others=st.lists(st.sampled_from(["create index x on u (a);", "drop table w;"]), max_size=2),
)
def test_findings_are_known_again_after_lines_move_and_files_come(chosen, gaps, others):
    statements = [s.format(i=i).rstrip(";") + ";" for s, i in chosen]
    before = "\n".join(statements)
    after = "".join(
        f"{gap}{' ' * n}{s.replace(' ', '  ' if n % 2 else chr(10))}\n"
        for n, (gap, s) in enumerate(zip(gaps, statements, strict=False))
    )
    first = _identities([make("m.sql", before)])
    moved = _identities([make("0.sql", "\n".join(others)), make("m.sql", after)])
    assert len(set(first)) == len(first)
    assert len(set(moved)) == len(moved)
    assert set(first) == {f for f in moved if f in set(first)}


def _identities(scripts):
    found = lint.lint(scripts, lint.Options(assume=False)).findings
    return [f.fingerprint for f in found if f.location.file == "m.sql" and f.rule in _BY_THEMSELVES] + [
        f.fingerprint for f in found if f.location.file != "m.sql"
    ]


_BY_THEMSELVES = {
    "migrate.index-not-concurrent",
    "migrate.not-null-scans",
    "migrate.check-scans",
    "migrate.drop-table",
    "migrate.update-without-where",
}
"""Rules that judge a statement whatever stands around it."""
