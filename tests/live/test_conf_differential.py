"""Our reader beside the real servers on generated files and values: the same entries, the same refusals, one meaning.

`LONG_TESTS=1` runs ten thousand cases of each instead of a few hundred.
"""

import os
from random import Random

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbkit.ephemeral import Unavailable
from dbkit.ephemeral.postgres import start_postgres
from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.checks import shown
from dbkit.postgres.conf.reader import read_file
from dbkit.postgres.conf.values import InvalidValue
from tests.fixtures import conf_values
from tests.fixtures.parts import missing

CASES = 10_000 if os.environ.get("LONG_TESTS") else 150
MANY = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
# Whether these are taken depends on the machine, the build, or the session that asks.
MACHINE = {
    "lc_messages", "lc_monetary", "lc_numeric", "lc_time", "max_stack_depth", "jit_provider", "ssl", "wal_compression",
    "default_toast_compression", "io_method", "xmlbinary", "default_tablespace", "temp_tablespaces",
    "default_text_search_config", "default_table_access_method", "session_preload_libraries", "local_preload_libraries",
    "transaction_isolation", "transaction_read_only", "transaction_deferrable", "temp_buffers", "archive_command",
    "tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout", "statement_timeout",
    "transaction_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "output_plugin_libraries",
    "log_statement_stats", "log_parser_stats", "log_planner_stats", "log_executor_stats", "client_encoding",
    "recovery_target_time", "exit_on_error", "role", "session_authorization",
}  # fmt: skip
# What a draw cannot tell: locales, the stack, libraries, names of a database's objects; what ends the session itself.
ELSEWHERE = {
    "lc_messages", "lc_monetary", "lc_numeric", "lc_time", "max_stack_depth", "ssl", "wal_compression", "io_method",
    "default_toast_compression", "default_text_search_config", "default_table_access_method", "default_tablespace",
    "temp_tablespaces", "transaction_isolation", "transaction_deferrable", "output_plugin_libraries", "config_file",
    "recovery_target_time",
}  # fmt: skip


@pytest.fixture(scope="module")
def own(pg_major):
    try:
        made = start_postgres(pg_major, sources=("embedded", "local"))
    except Unavailable as error:
        missing(f"postgres{pg_major}", " ".join(error.reason.split()))
    with made as server:
        with (server.directory / "postgresql.conf").open("a") as stream:
            stream.write("include 'probe.conf'\n")
        probe = server.directory / "probe.conf"
        probe.write_bytes(b"")
        probe.chmod(0o644)
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            yield server, probe, connection


def usable(major):
    return sorted(
        p.name
        for p in parameters.load(major).values()
        if p.context in ("user", "superuser", "sighup") and p.name.lower() not in MACHINE
    )


NUMBERS = st.one_of(
    st.integers(-10, 5000).map(str),
    st.sampled_from(
        ["0x10", "010", "0", "-1", "1.5", ".5", "-.5", " .5", "5.", "1e3", "+8", "0.1", "99999999999", "2147483647"]
    ),
    st.tuples(
        st.sampled_from(["1", "8", "128", "1.5", "0.3", "30.1", "-1", "010", "0x10", "+2", " 4 "]),
        st.sampled_from(["kB", "MB", "GB", "TB", "B", "mb", "KB", "ms", "s", "min", "h", "d", "us", "sec", "m", " MB"]),
    ).map("".join),
)
WORDS = st.sampled_from(
    "on off true false yes no t f y n o of ye tru ON Off none all ddl mod log notice warning debug error info "
    "replica minimal logical hot_standby archive local remote_write scram-sha-256 md5 auto force_custom_plan hex escape "
    "iso ISO,MDY sql postgres content document origin always base64 raw".split()
)
QUOTED = st.text(st.sampled_from("abzAZ09 _.,%'\\\t#-=/\"é"), max_size=8).map(lambda t: f"'{t}'")
VALUES = st.one_of(NUMBERS, WORDS, QUOTED, st.builds("'{}'".format, NUMBERS), st.builds("'{}'".format, WORDS))


@st.composite
def files(draw, names):
    lines = []
    for _ in range(draw(st.integers(1, 6))):
        name = draw(
            st.sampled_from(names) | st.sampled_from(["nonsense", "a.b", "a.b.c", "1x", "work_mem", "sort_mem", "_x"])
        )
        if draw(st.integers(0, 4)) == 0:
            name = name.upper()
        between = draw(st.sampled_from([" = ", "=", " ", " =", "  ", " == ", ""]))
        tail = draw(st.sampled_from(["", "", "", " # c", "#c", " -- c", ";", " x", "\t", "\r", "'"]))
        lines.append(f"{draw(st.sampled_from(['', '', ' ', chr(9)]))}{name}{between}{draw(VALUES)}{tail}")
    # A last line that ends too early and has no line feed is counted one too low by the server; we name the line itself.
    return "\n".join(lines) + "\n"


def test_generated_files_are_read_as_the_server_reads_them(own):
    server, probe, connection = own
    names = usable(server.major)

    @MANY
    @given(files(names))
    def check(text):
        probe.write_bytes(text.encode())
        theirs = connection.execute(
            "select sourceline, name, setting, error, applied from pg_file_settings"
            " where sourcefile like '%probe.conf' order by seqno"
        ).fetchall()
        mine = read_file(probe, server.major, auto_conf=probe.with_name("none"))
        entries = [(line, name, raw) for line, name, raw, _, _ in theirs if name is not None]
        syntax = [line for line, name, _, error, _ in theirs if name is None and error]
        ours = [p.line for p in mine.problems if p.name is None]
        assert ours[:1] == syntax  # the view gives a file up at its first syntax error, a start does not
        end = syntax[0] if syntax else 10**9
        assert [(s.line, s.name, s.raw) for s in mine.settings if s.line < end] == entries
        if syntax:
            return
        refused = {line for line, name, _, error, _ in theirs if name and error}
        judged = {p.line for p in mine.problems if p.name and not checked_elsewhere(p.name)}
        assert judged == {n for n in refused if not checked_elsewhere(name_at(mine, n))}

    check()


def name_at(conf, line):
    return next(s.name for s in conf.settings if s.line == line)


def checked_elsewhere(name):
    return name.lower() in MACHINE


def test_drawn_values_mean_what_the_server_takes_them_for(own):
    """Every parameter with a drawn value, all of them in one file and one query: who is refused, and what is shown."""
    server, probe, connection = own
    known = [p for p in parameters.load(server.major).values() if p.name not in ELSEWHERE]
    drawn = Random(None if os.environ.get("DBKIT_TEST_RANDOM") else server.major)
    connection.execute(TRY)
    said = []
    connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    wrong = []
    for _ in range(1000 if os.environ.get("LONG_TESTS") else 12):
        values = {p.name: conf_values.draw(drawn, p) for p in known}
        probe.write_text("".join(f"{name} = {conf_values.quoted(value)}\n" for name, value in values.items()))
        read = read_file(probe, server.major, auto_conf=probe.with_name("none")).settings
        ours = {s.name for s in read if s.error and not any(words in s.error for words in TOGETHER)}
        theirs = refused(connection, said)
        wrong += [(name, values[name], "refused", name in theirs) for name in ours ^ theirs]
        asked = [p for p in known if p.context in ("user", "superuser") and p.name.lower() not in MACHINE]
        rows = connection.execute(
            "select n, pg_temp.taken(n, v) from unnest(%s::text[], %s::text[]) as given (n, v)",
            [[p.name for p in asked], [values[p.name] for p in asked]],
        ).fetchall()
        wrong += [
            (parameter.name, values[parameter.name], mine, taken)
            for parameter, (_, taken) in zip(asked, rows, strict=True)
            if not alike(parameter, mine := ours_shown(parameter, values[parameter.name], server.major), taken)
        ]
    assert not wrong


# What one line makes of another a start refuses, the view does not: tests/live/test_conf_starts.py.
TOGETHER = ("Cannot enable", "multiple recovery targets")
TRY = """
    create or replace function pg_temp.taken(n text, v text) returns text language plpgsql as $$
    declare held text;
    begin
      perform set_config(n, v, true);
      select setting into held from pg_settings where name = n;
      raise exception 'taken' using errcode = 'ZZ001';
    exception
      when sqlstate 'ZZ001' then return held;
      when others then return null;
    end $$
"""


def refused(connection, said):
    """What pg_file_settings refuses, and not only because it takes a restart."""
    said.clear()
    connection.execute("set client_min_messages = debug3")
    rows = connection.execute("select name, error from pg_file_settings where sourcefile like '%probe.conf'").fetchall()
    connection.execute("reset client_min_messages")
    restart = {m.split('"')[1] for m in said if "cannot be changed without restarting" in m}
    return {name for name, error in rows if error and name not in restart} - {"config_file"}


def ours_shown(parameter, value, major):
    try:
        return shown(parameter, value, major)
    except InvalidValue:
        return None


def alike(parameter, mine, theirs):
    if parameter.kind != "real" or mine is None or theirs is None:
        return mine == theirs
    return abs(float(theirs) - float(mine)) <= 1e-5 * max(1.0, abs(float(theirs)))
