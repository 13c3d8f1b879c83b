"""postgresql.conf offline: the grammar facts of research 2.1, includes, and that no bytes break the reader."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbkit.errors import UsageError
from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.lexer import read
from dbkit.postgres.conf.reader import read_file
from dbkit.postgres.conf.values import InvalidValue, canonical


def conf(tmp_path, text, major=18):
    (tmp_path / "postgresql.conf").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_file(tmp_path / "postgresql.conf", major)


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("shared_buffers = 4GB", "shared_buffers", "524288"),
        ("shared_buffers 4GB", "shared_buffers", "524288"),
        ("SHARED_BUFFERS=4GB", "shared_buffers", "524288"),
        ("work_mem = 4096", "work_mem", "4096"),
        ("work_mem = '1.5GB'", "work_mem", "1572864"),
        ("work_mem = '8 MB'", "work_mem", "8192"),
        ("work_mem = +8MB", "work_mem", "8192"),
        ("work_mem = 0x2000", "work_mem", "8192"),
        ("work_mem = 0144", "work_mem", "100"),
        ("work_mem = 100.5", "work_mem", "100"),
        ("work_mem = 101.5", "work_mem", "102"),
        ("work_mem = 3MB# c", "work_mem", "3072"),
        ("work_mem = '1e3'", "work_mem", "1000"),
        ("sort_mem = 2MB", "sort_mem", "2048"),
        ("log_statement = ALL", "log_statement", "all"),
        ("wal_level = hot_standby", "wal_level", "replica"),
        ("wal_level = archive", "wal_level", "replica"),
        ("synchronous_commit = true", "synchronous_commit", "on"),
        ("fsync = t", "fsync", "on"),
        ("fsync = ye", "fsync", "on"),
        ("fsync = of", "fsync", "off"),
        ("fsync = 0", "fsync", "off"),
        ("checkpoint_timeout = 5min", "checkpoint_timeout", "300"),
        ("checkpoint_completion_target = .5", "checkpoint_completion_target", "0.5"),
        ("autovacuum_vacuum_cost_delay = 1500us", "autovacuum_vacuum_cost_delay", "1.5"),
        ("cluster_name = 'a#b'", "cluster_name", "a#b"),
        ("cluster_name = 'it''s'", "cluster_name", "it's"),
        (r"cluster_name = '\101\''", "cluster_name", "A'"),
        (r"cluster_name = 'a\000b'", "cluster_name", "a"),
        (r"event_source = '\101\t\''", "event_source", "A\t'"),
        ("work_mem = 2MB\r", "work_mem", "2048"),
        ("datestyle = 'iso, dmy'", "datestyle", "ISO, DMY"),
        ("timezone = 'utc'", "timezone", "UTC"),
        ("timezone = 'est5edt4:00:01'", "timezone", "EST5EDT4:00:01"),
        ("timezone = 'x5:00:01y5,M11.1.0/-1,M2.5.6'", "timezone", "X5:00:01Y5,M11.1.0/-1,M2.5.6"),
        ("timezone = 'a5b;j60,j1/2,300'", "timezone", "A5B;J60,J1/2,300"),
        ("connection_pooling.mode = 'x'", "connection_pooling.mode", "x"),
        ("shared_preload_libraries = 'pg_stat_statements'", "shared_preload_libraries", "pg_stat_statements"),
    ],
)
def test_what_the_server_takes(tmp_path, line, name, expected):
    held = conf(tmp_path, line)
    assert held.loads, held.problems
    assert held.effective[name].value == expected


@pytest.mark.parametrize(
    "line",
    [
        "work_mem = 1.5GB",
        "work_mem = 8 MB",
        "work_mem = 1e2",
        "work_mem = 4MB -- comment",
        "-- comment",
        "work_mem = 4MB;",
        'cluster_name = "x"',
        "listen_addresses = *",
        "archive_command = /bin/true",
        "log_line_prefix = %m",
        "work_mem =",
        "= 4MB",
        "work_mem = 'open",
        "search_path = a, b",
        "shared_preload_libraries = a.b",
    ],
)
def test_what_is_a_syntax_error(tmp_path, line):
    held = conf(tmp_path, f"# one\n{line}\nfsync = on\n")
    assert [p.line for p in held.problems] == [2]
    assert held.problems[0].message.startswith("syntax error")
    assert held.effective["fsync"].value == "on"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("work_mem = 8mb", 'Valid units for this parameter are "B"'),
        ("work_mem = 8192KB", "Valid units"),
        ("checkpoint_timeout = 5m", 'Valid units for this parameter are "us"'),
        ("checkpoint_timeout = '5 sec'", "Valid units"),
        ("work_mem = 1kB", "outside the valid range"),
        ("work_mem = 99999999999", "exceeds integer range"),
        ("max_connections = 10MB", "invalid value"),
        ("fsync = o", "requires a Boolean value"),
        ("fsync = ''", "requires a Boolean value"),
        ("log_statement = everything", "Available values: none, ddl, mod, all"),
        ("work_memory = 4MB", 'unrecognized configuration parameter "work_memory"'),
        ("connection_pooling = 'PgBouncer'", "unrecognized"),
        ("server_version = '18'", "cannot be changed"),
        ("timezone = 'Mars/Olympus'", "invalid value"),
        ("timezone = ':  (99'", "invalid value"),  # a colon asks for a file
        ("timezone = 'U_C-03EDT;M11.1.0,J365/2:30'", "invalid value"),  # EDT;M is the summer's name
        ("timezone = 'EST5<>'", "invalid value"),
        ("timezone = 'EST5:00:01'", "invalid value"),
        ("timezone = 'EST5EDT4:00:01,J300,J60'", "invalid value"),  # its odd seconds are in force when 2000 begins
        ("log_destination = 'stdout'", "Unrecognized key word"),
        ("password_encryption = on", "invalid value"),
        ("work_mem = \xa04MB", ""),
    ],
)
def test_what_the_server_refuses(tmp_path, line, word):
    held = conf(tmp_path, f"{line}\n")
    assert not held.loads
    assert word in held.problems[0].message


def test_a_bom_becomes_part_of_the_first_name(tmp_path):
    held = conf(tmp_path, b"\xef\xbb\xbfwork_mem = 4MB\n")
    assert "unrecognized" in held.problems[0].message


def test_an_earlier_duplicate_is_never_looked_at(tmp_path):
    held = conf(tmp_path, "work_mem = banana\nwork_mem = 2MB\n")
    assert held.loads
    assert [s.dead for s in held.settings] == [True, False]
    assert held.occurrences()["work_mem"] == 2


def test_an_earlier_duplicate_in_another_case_is_looked_at(tmp_path):
    """Names are compared byte by byte when duplicates are skipped, though not when they are looked up."""
    held = conf(tmp_path, "work_mem = banana\nWORK_MEM = 2MB\n")
    assert not held.loads
    assert [s.dead for s in held.settings] == [True, False]
    assert held.value("work_mem") == "2048"


def test_auto_conf_is_read_last(tmp_path):
    (tmp_path / "postgresql.auto.conf").write_text("work_mem = '9MB'\n")
    held = conf(tmp_path, "work_mem = 4MB\n")
    assert held.effective["work_mem"].file.endswith("postgresql.auto.conf")
    assert held.value("work_mem") == "9216"
    assert held.value("max_connections") == "100"


def test_includes_are_relative_and_sorted_by_bytes(tmp_path):
    folder = tmp_path / "conf.d"
    folder.mkdir()
    for name, value in (
        ("10-a.conf", 1),
        ("9-b.conf", 2),
        ("B.conf", 3),
        ("a.conf", 4),
        (".hidden.conf", 5),
        ("x.txt", 6),
    ):
        (folder / name).write_text(f"geqo_seed = 0.{value}\ninclude_if_exists 'nothing.conf'\n")
    held = conf(tmp_path, "include_dir = 'conf.d'\n")
    assert [s.raw for s in held.settings] == ["0.1", "0.2", "0.3", "0.4"]
    assert held.loads
    assert len(held.notes) == 4


def test_missing_includes_stop_the_server_before_it_looks_at_values(tmp_path):
    held = conf(tmp_path, "nonsense = 1\ninclude 'gone.conf'\ninclude_dir 'gone'\n")
    assert [p.line for p in held.problems] == [2, 3]
    assert [p.line for p in held.further] == [1]


def test_a_circle_of_includes_ends(tmp_path):
    (tmp_path / "a.conf").write_text("include 'b.conf'\n")
    (tmp_path / "b.conf").write_text("include 'a.conf'\nfsync = off\n")
    held = conf(tmp_path, "include 'a.conf'\n")
    assert any("nesting depth" in p.message for p in held.problems)
    assert any("recursion" in p.message for p in conf(tmp_path, "include 'postgresql.conf'\n").problems)


def test_per_version(tmp_path):
    assert conf(tmp_path, "log_connections = 'receipt'\n", 18).loads
    assert not conf(tmp_path, "log_connections = 'receipt'\n", 17).loads
    assert conf(tmp_path, "force_parallel_mode = on\n", 15).loads
    assert conf(tmp_path, "force_parallel_mode = on\n", 16).loads
    assert not conf(tmp_path, "force_parallel_mode = on\n", 18).loads
    with pytest.raises(UsageError, match="PostgreSQL 13 is not known"):
        conf(tmp_path, "", 13)


def test_the_server_gives_up_after_a_hundred_errors(tmp_path):
    assert len(conf(tmp_path, "%\n" * 300).problems) == 100


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="folder"):
        read_file(tmp_path, 18)
    with pytest.raises(UsageError, match="cannot read"):
        read_file(tmp_path / "none.conf", 18)


@settings(max_examples=2000, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(content):
    entries, problems = read(content)
    assert all(1 <= x.line <= content.count(b"\n") + 1 for x in (*entries, *problems))


@settings(max_examples=1000, deadline=None)
@given(
    st.sampled_from(sorted(parameters.load(18))),
    st.text(max_size=20) | st.from_regex(r"-?[0-9.]{1,6}[a-zA-Z]{0,3}", fullmatch=True),
)
def test_any_value_has_a_canonical_form_or_a_reason(name, value):
    parameter = parameters.load(18)[name]
    try:
        shown = canonical(parameter, value)
    except InvalidValue:
        return
    if parameter.kind in ("bool", "enum"):
        assert canonical(parameter, shown) == shown
    if parameter.kind == "integer":
        assert parameter.minimum <= int(shown) <= parameter.maximum


@pytest.mark.parametrize("value", ["-.0", "+.5", " .5", "-", "e3", ""])
def test_a_point_without_digits_before_it_is_a_number_only_at_the_very_start(value):
    """strtol finds no number, and parse_int turns to strtod only where strtol stopped at a point."""
    assert canonical(parameters.load(18)["extra_float_digits"], ".5") == "0"
    with pytest.raises(InvalidValue):
        canonical(parameters.load(18)["extra_float_digits"], value)


@pytest.mark.parametrize("major", parameters.VERSIONS)
def test_every_default_is_a_value_the_version_takes(major):
    for parameter in parameters.load(major).values():
        if parameter.boot is None or parameter.kind == "string":
            continue
        assert canonical(parameter, parameter.boot) == (
            parameter.boot if parameter.kind != "real" else f"{float(parameter.boot):g}"
        )
