"""The reader of pgbouncer.ini against real daemons: same verdict, same words, same values, on written and random files."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.ini.connstring import without_password
from dbkit.pgbouncer.ini.reader import read

ENVIRONMENT = b"""
listen_addr = 127.0.0.1
listen_port = @PORT@
unix_socket_dir =
auth_type = any
admin_users = boss
"""
NOT_OURS = {
    *("listen_addr", "listen_port", "unix_socket_dir", "auth_type", "admin_users", "logfile", "pidfile", "user"),
    *("resolv_conf", "conffile", "syslog", "pkt_buf", "sbuf_loopcnt", "max_packet_size", "stats_users", "so_reuseport"),
    *("client_tls_sslmode", "server_tls_sslmode", "max_client_conn", "client_login_timeout", "client_idle_timeout"),
    *("listen_backlog", "auth_ldap_options", "disable_pqexec", "log_pooler_errors", "unix_socket_group"),
    *("tcp_socket_buffer", "auth_user", "auth_dbname", "login_notify_message", "verbose"),
}
"""Keys that decide whether the daemon can be asked at all."""
SHOWN = ("host", "port", "database", "force_user", "pool_size", "min_pool_size", "pool_mode", "max_connections")


def compare(daemon, text):
    seen = daemon.look(text)
    held = read(text.replace(b"@PORT@", b"1"), parameters.version(daemon.version))
    assert held.loads == seen.up, (seen.log[-600:], held.problems)
    if not seen.up:
        assert [without_password(p.message) for p in held.problems if not p.message.startswith("syntax error")] == [
            without_password(e) for e in seen.errors if not e.startswith("syntax error")
        ]
        return
    for name, parameter in parameters.load(held.version).items():
        if parameter.kind in ("text", "auth_dbname") and name not in held.effective:
            continue  # defaults of paths and queries are the builder's
        if name not in NOT_OURS:
            assert held.value(name) == (seen.config[name] or ""), name
    assert set(seen.config) == set(parameters.load(held.version))
    ours = {d.name: d for d in held.databases if d.name != "*"}
    assert set(ours) == set(seen.databases)
    for name, row in seen.databases.items():
        mine = held.shown(ours[name])
        reserve = row.get("reserve_pool_size", row.get("reserve_pool"))
        assert {k: mine[k] for k in SHOWN} == {k: row[k] or "" for k in SHOWN}
        assert mine["reserve_pool_size"] == reserve


WRITTEN = [
    b"[databases]\n'a b' = host=x\n[pgbouncer]",
    b"[databases]\n = host=x\n[pgbouncer]",
    b"[databases]\na = host='x y' port=5\n[pgbouncer]",
    b"[databases]\na = host='it''s' port = 5 dbname= z\n[pgbouncer]",
    b"[databases]\na = host='' port=5\n[pgbouncer]",
    b"[databases]\na = host='x y'port=5\n[pgbouncer]",
    b"[databases]\na = host=x\tport=5\n[pgbouncer]",
    b"[databases]\na =\n[pgbouncer]",
    b"[databases]\na = pool_size=abc min_pool_size=-3 reserve_pool=99999999999 max_db_connections=12x\n[pgbouncer]",
    b"[databases]\na = host=x user=u\na = host=y\n[pgbouncer]",
    b"[databases]\na = port=0x10\n[pgbouncer]",
    b"[databases]\n* = foo=bar\n[pgbouncer]",
    b"[databases]\npgbouncer = host=x\n[pgbouncer]",
    b"[databases]\n" + b"n" * 64 + b" = host=x\n[pgbouncer]",
    b"[databases]\na = HOST=x\n[pgbouncer]",
    b"[databases]\na = pool_mode=SESSION load_balance_hosts=Disable\n[pgbouncer]",
    b"[users]\nu = pool_mode=nope\n[pgbouncer]",
    b"[users]\nu = pool_size=1 query_timeout=3\n[pgbouncer]",
    b"[peers]\n1 = host=x\n[pgbouncer]",
    b"[peers]\n01 = host=x port=7\n[pgbouncer]",
    b"[peers]\n1.5 = host=x\n[pgbouncer]",
    b"[peers]\n1 = port=5\n[pgbouncer]",
    b"[pgbouncer]\ndefault_pool_size = 5\n[databases]\n[pgbouncer]",
    b"[pgbouncer] default_pool_size = 7",
    b"[pgbouncer] ; comment",
    b"[PgBouncer]\n[pgbouncer]",
    b"default_pool_size = 1\n[pgbouncer]",
    b"\xef\xbb\xbf[pgbouncer]",
    b"[pgbouncer]\ndefault_pool_size = 5 ; five",
    b"[pgbouncer]\nserver_reset_query =   ; nothing",
    b'[pgbouncer]\nignore_startup_parameters = "a"',
    b"[pgbouncer]\npool_mode = 'transaction'",
    b"[pgbouncer]\nlog_connections = on",
    b"[pgbouncer]\ndefault_pool_size = 010",
    b"[pgbouncer]\ndefault_pool_size = 08",
    b"[pgbouncer]\ndefault_pool_size = 0x",
    b"[pgbouncer]\ndefault_pool_size = 4294967297",
    b"[pgbouncer]\ndefault_pool_size = 99999999999999999999",
    b"[pgbouncer]\nquery_timeout = 1.5",
    b"[pgbouncer]\nquery_timeout = 600s",
    b"[pgbouncer]\nquery_timeout = 0x1.8p3",
    b"[pgbouncer]\nquery_timeout = nan",
    b"[pgbouncer]\nquery_timeout = 1e-400",
    b"[pgbouncer]\nquery_timeout = -1",
    b"[pgbouncer]\nquery_timeout = 1234567.5",
    b"[pgbouncer]\nmax_db_connections = -5\r\nmin_pool_size = 2\r",
    b"[pgbouncer]\n-- comment",
    b"[pgbouncer]\nmin_pool_size\x0b= 2",
    b"[pgbouncer]\nmin_pool_size = \x0b2",
    b"[pgbouncer]\nmin_pool_size = 2\xc2\xa0",
    b"[pgbouncer]\n%include /nonexistent/file",
    b"[pgbouncer]\n%include",
    b"[pgbouncer]\nlog_pool_errors = 1",
    b"[pgbouncer]\ntransaction_timeout = 3",
    b"[pgbouncer]\nmin_pool_size = 3\n\n\n  ; c\n# d\n\tquery_timeout=4",
]


@pytest.mark.parametrize("text", WRITTEN, ids=range(len(WRITTEN)))
def test_a_written_file_is_read_as_the_daemon_reads_it(daemon, text):
    compare(daemon, text + ENVIRONMENT)


@pytest.mark.parametrize("text", [b"", b"[databases]\na = host=x\n", b"[pgbouncer", b"[pgbouncer]\nx"])
def test_a_file_without_its_main_section_is_refused(daemon, text):
    compare(daemon, text)


_numbers = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(0, 300).map(str),
    st.sampled_from(["0", "00", "0x1F", "0X", "1e3", ".5", "5.", "1_0", "+7", "- 7", "", "abc", "12abc", "1.5", "1 2"]),
    st.floats(allow_nan=False).map(repr),
)
_words = st.sampled_from(
    ["session", "Transaction", "STATEMENT", "disable", "on", "off", "x ; y", "'q'", '"q"', "a=b", "\u00e9", "\t", "#"]
)
_keys = st.one_of(
    st.sampled_from(
        sorted({p.name for v in (18, 26) for p in parameters.load(parameters.Version(1, v)).values()} - NOT_OURS)
    ),
    st.sampled_from(["Pool_Mode", "nope", "", "pool mode", "-", "*", "'min_pool_size'"]),
)
_pairs = st.tuples(
    st.sampled_from([*parameters.DATABASE_KEYS, *parameters.USER_KEYS, "sslmode", "HOST", ""]),
    st.sampled_from(["=", " = ", "= ", "  ", "=="]),
    st.one_of(
        _numbers, st.sampled_from(["x", "'x y'", "'it''s'", "'", "''", "127.0.0.1,::1", "session", "round-robin"])
    ),
    st.sampled_from([" ", "  ", "\t", "", ";"]),
).map("".join)
_names = st.sampled_from(["a", "b", "*", "a.b-c_d", "'q r'", '"d"', "pgbouncer", "1", "2", "d\u00e9", "", "a b"])
_entries = st.tuples(
    _names, st.sampled_from(["=", " = ", "\t=\t", " "]), st.lists(_pairs, max_size=3).map("".join)
).map("".join)
_settings = st.tuples(_keys, st.sampled_from(["=", " = ", "\t=  "]), st.one_of(_numbers, _words)).map("".join)
_noise = st.sampled_from(["", "  ; c", "# c", "\r", " \t", "%include", "[x]", "[users", "-- c", "\x0c"])
_others = st.tuples(
    st.sampled_from(["[databases]", "[users]", "[peers]", "[databases] ; c", "[Databases]"]),
    st.lists(st.one_of(_entries, _entries, _entries, _noise), max_size=3),
).map(lambda part: "\n".join([part[0], *part[1]]))
_main = st.lists(st.one_of(_settings, _settings, _settings, _noise), max_size=4).map(
    lambda s: "\n".join(["[pgbouncer]", *s])
)
FILES = st.tuples(st.lists(st.one_of(_others, _main), max_size=2), _main).map(
    lambda part: "\n".join([*part[0], part[1]]).encode()
)


@settings(
    max_examples=int(os.environ.get("DBKIT_TEST_EXAMPLES", "60")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(FILES)
def test_a_random_file_is_read_as_the_daemon_reads_it(daemon, text):
    compare(daemon, text + ENVIRONMENT)
