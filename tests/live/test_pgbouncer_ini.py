"""The reader of pgbouncer.ini against real daemons: same verdict, same words, same values, on written and random files."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbkit.pgbouncer.ini import parameters, userlist
from dbkit.pgbouncer.ini.reader import read
from dbkit.pgbouncer.live import USER_SIZES_SINCE
from dbkit.pgbouncer.rules.starting import refusals
from dbkit.pgbouncer.scene import of_file

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


def compare(daemon, text, files=None, settled=NOT_OURS):
    seen = daemon.look(text, files)
    # Includes stand beside the file there; here they are read from where the daemon ran.
    folder = daemon.folder / str(daemon.number)
    held = read(text.replace(b"@PORT@", b"1"), parameters.version(daemon.version), folder=folder)
    if "TLS setup failed" in seen.log:  # ciphers, curves and files are for its own OpenSSL and machine to judge
        assert held.loads
        assert any("_tls" in name for name in held.effective)
        return
    refused = [name for name, _ in refusals(of_file(held))] if held.loads else []
    assert (held.loads and not refused) == seen.up, (seen.log[-600:], held.problems, refused)
    if refused:
        assert "cannot listen" in seen.log
        return
    if not seen.up:
        # The daemon cuts a long log line off, and its place with it; a password, and what is behind it, is ours to hide.
        # A quoted name may span lines, and so does the message about it.
        ours = [
            (p.message.partition("\n")[0].partition("password")[0][:400], None if "\n" in p.message else p.named)
            for p in held.problems
        ]
        theirs = [(said.partition("password")[0][:400], line) for said, line in seen.errors]
        assert [message for message, _ in ours] == [message for message, _ in theirs]
        assert [line for message, line in ours if len(message) < 400] == [n for said, n in theirs if len(said) < 400]
        return
    for name, parameter in parameters.load(held.version).items():
        if parameter.kind in ("text", "auth_dbname") and name not in held.effective:
            continue  # defaults of paths and queries are the builder's
        if name not in settled:
            assert held.value(name) == (seen.config[name] or ""), name
    assert set(seen.config) == set(parameters.load(held.version))
    ours = {d.name: d for d in held.databases if d.name != "*"}
    assert set(ours) == set(seen.databases)
    for name, row in seen.databases.items():
        mine = held.shown(ours[name])
        reserve = row.get("reserve_pool_size", row.get("reserve_pool"))
        assert {k: mine[k] for k in SHOWN} == {k: row[k] or "" for k in SHOWN}
        assert mine["reserve_pool_size"] == reserve
    assert {str(p.id) for p in held.peers} == set(seen.peers)
    for user in held.users:
        row = seen.users[user.name]
        assert (user.pool_mode or None) == row["pool_mode"]
        if "max_user_connections" in row:  # from 1.24 on
            mine = held.shown_user(user)
            sizes = () if held.version.minor >= USER_SIZES_SINCE else ("pool_size", "reserve_pool_size")
            assert {k: v for k, v in mine.items() if k not in sizes} == {
                k: row[k].strip() for k in mine if k not in sizes
            }


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
    b"[pgbouncer]\ntcp_keepidle = -1",
    b"[pgbouncer]\ntcp_keepidle = 32768\ntcp_keepalive = 0",
    b"[pgbouncer]\ntcp_keepintvl = 32767\ntcp_keepcnt = -1\ntcp_user_timeout = 2147483647",
    b"[pgbouncer]\ntcp_keepcnt = 128",
    b"[pgbouncer]\ntcp_user_timeout = -1",
    b"[pgbouncer]\nmin_pool_size = 3\n\n\n  ; c\n# d\n\tquery_timeout=4",
]


@pytest.mark.parametrize("text", WRITTEN, ids=range(len(WRITTEN)))
def test_a_written_file_is_read_as_the_daemon_reads_it(daemon, text):
    compare(daemon, text + ENVIRONMENT)


LISTS = [
    b'"a" "x" "b" "y"\n"c" "z"', b'"a""q" "x"\n', b'"" "x"\n"b" "y"', b'"a"\n"b" "y"', b"; c\n", b"# c\n", b'a "x"\n',
    b'"a" "' + b"p" * 2047 + b'"\n"b" "x"', b'"a" "' + b"p" * 2048 + b'"\n"b" "x"', b'"' + b"n" * 127 + b'" "x"',
    b'"' + b"n" * 128 + b'" "x"\n"b" "y"', b'"a" "x', b'"a" x\n"b" "y"', b'\r\n"a" "x"\r\n"b" ""\r\n',
    b'"a" "x"\0\n"b" "y"', b'"a\nc" "x"\n"d" "y"', b'"a" "x""y"\n"b" "z"', b'"e""" "x"\n"f" "y"', b'\xef\xbb\xbf"a" "x"',
    b'"a" "x""', b'"a" "x" ""\n"b" " ""\n"c" "y"', b'"a"" "x"\n"b" "y"',
]  # fmt: skip


def test_auth_file_is_read_as_the_daemon_reads_it(daemon):
    place = ENVIRONMENT.replace(b"= any", b"= trust\nauth_file = users")
    for rest in LISTS:
        text = b'"boss" "x"\n' + rest
        seen = daemon.look(b"[pgbouncer]" + place, {"users": text})
        held = userlist.read(text, version=parameters.version(daemon.version))
        assert {u.name for u in held.users} == set(seen.users) - {"pgbouncer"}, rest
        assert (held.broken_line is not None) == bool(seen.errors), rest


_quoted = st.one_of(
    st.sampled_from(
        ['"a"', '"b"', '""', '"c"', '"d e"', '"f""g"', '"', '"h', "'i'", "j", '"\u00e9"', '"k;l"', '"m\tn"']
    ),
    st.integers(120, 140).map(lambda n: f'"{"n" * n}"'),
    st.integers(2040, 2055).map(lambda n: f'"{"p" * n}"'),
    st.text(st.characters(codec="utf-8", exclude_characters='\0"'), max_size=5).map(lambda t: f'"{t}"'),
)
_user_lines = st.tuples(
    st.sampled_from(["", "", " ", "\t", ";", "#", "x"]),
    _quoted,
    st.sampled_from([" ", " ", "\t", "", "  x ", ", ", "\n"]),
    _quoted,
    st.sampled_from(["", "", " ", ' ""', " ; c", " junk", "\r", '"']),
).map("".join)
USERLISTS = st.tuples(
    st.lists(st.one_of(_user_lines, _user_lines, st.sampled_from(["", " ", "; c", "#"])), max_size=4),
    st.sampled_from(["\n", "\n", "\r\n", "\n\n"]),
).map(lambda part: part[1].join(part[0]).encode())


@settings(
    max_examples=int(os.environ.get("DBKIT_TEST_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(USERLISTS)
def test_a_random_auth_file_is_read_as_the_daemon_reads_it(daemon, rest):
    text = b'"boss" "x"\n' + rest
    seen = daemon.look(b"[pgbouncer]" + ENVIRONMENT.replace(b"= any", b"= trust\nauth_file = users"), {"users": text})
    held = userlist.read(text, version=parameters.version(daemon.version))
    assert {u.name for u in held.users} == set(seen.users) - {"pgbouncer"}, seen.log
    assert (held.broken_line is not None) == bool(seen.errors), seen.log


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
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(FILES)
def test_a_random_file_is_read_as_the_daemon_reads_it(daemon, text):
    compare(daemon, text + ENVIRONMENT)


SETTLED = {
    "auth_type": "any", "auth_user": "", "auth_dbname": "postgres", "client_login_timeout": "60",
    "client_idle_timeout": "0", "client_tls_sslmode": "disable", "server_tls_sslmode": "disable",
    "max_client_conn": "100", "max_packet_size": "2147483647", "disable_pqexec": "0", "logfile": "", "pidfile": "",
    "job_name": "pgbouncer", "resolv_conf": "", "pkt_buf": "4096", "sbuf_loopcnt": "5", "so_reuseport": "0",
    "listen_backlog": "128", "stats_users": "", "syslog": "0", "syslog_facility": "daemon", "syslog_ident": "pgbouncer",
    "tcp_defer_accept": "0", "tcp_socket_buffer": "0", "tcp_keepalive": "1", "tcp_keepcnt": "0", "tcp_keepidle": "0",
    "tcp_keepintvl": "0", "tcp_user_timeout": "0", "unix_socket_group": "", "user": "", "verbose": "0",
    "log_pooler_errors": "1", "stats_period": "60", "max_user_client_connections": "0", "auth_hba_file": "",
    "auth_ident_file": "", "auth_ldap_options": "", "track_extra_parameters": "", "peer_id": "0",
    "query_wait_notify": "5", "max_db_client_connections": "0",
}  # fmt: skip
"""What the daemon needs to come up and be asked: any value before it must be read, and none must count."""
_every = sorted(
    {p.name for minor in range(18, 27) for p in parameters.load(parameters.Version(1, minor)).values()}
    - {"listen_addr", "listen_port", "unix_socket_dir", "admin_users", "auth_file", "conffile"}
)
_values = st.one_of(
    _numbers,
    _words,
    st.floats().map(repr),
    st.sampled_from(
        [
            "",
            "0x",
            "0X1f",
            "-0",
            "+5",
            "1_0",
            "1e3",
            ".5",
            "5.",
            "1 2",
            "5s",
            "5ms",
            "0b11",
            "1,5",
            "'5'",
            "TRUE",
            "yes",
        ]
    ),
    st.sampled_from(["scram-sha-256", "ldap", "pam", "hba", "peer", "verify-full", "verify_ca", "prefer", "default"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=8),
    st.integers(200, 9000).map("x".__mul__),
)
_wide_settings = st.tuples(
    st.one_of(st.sampled_from(_every), st.sampled_from(_every), _keys), st.sampled_from(["=", " = ", "\t=\v"]), _values
).map("".join)
_wide_pairs = st.tuples(
    st.sampled_from([*parameters.DATABASE_KEYS, *parameters.USER_KEYS, *parameters.PEER_KEYS, "fallback_application"]),
    st.sampled_from(["=", "=", " = "]),
    st.one_of(
        _numbers,
        st.sampled_from(["x", "'a b'", "'it''s'", "''", "'x", "/tmp", "@x", "a,b", "[::1]", "session", "STATEMENT"]),
        st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=6),
        st.integers(60, 110).map("y".__mul__),
    ),
    st.sampled_from([" ", " ", "  ", "\t"]),
).map("".join)
_wide_names = st.one_of(
    st.sampled_from(["a", "b", "*", "u", "1", "2", "65536", "0", "+3", "'q r'", "''", "'", "pgbouncer", "Pgbouncer"]),
    st.integers(60, 110).map("n".__mul__),
)
_wide_entries = st.tuples(
    _wide_names, st.sampled_from(["=", " = "]), st.lists(_wide_pairs, max_size=4).map("".join)
).map("".join)
_includes = st.sampled_from(
    ["%include one", "%include two", "%include one ", "%include\ttwo", "%include /nonexistent", "%include .", "%includeone",
     "%include 'one'", "%INCLUDE one", " %include two", "%include self", "%include "]
)  # fmt: skip
_heads = st.sampled_from(
    ["[pgbouncer]", "[databases]", "[users]", "[peers]", "[pgbouncer]", "[databases]x", "[ users ]", "[]"]
)
_wide_lines = st.lists(
    st.one_of(_wide_settings, _wide_settings, _wide_entries, _wide_entries, _includes, _heads, _noise), max_size=4
)
_part = st.one_of(
    st.lists(st.one_of(_wide_settings, _noise), max_size=5).map(lambda s: ["[pgbouncer]", *s]),
    st.lists(_wide_entries, max_size=4).map(lambda s: ["[databases]", *s]),
    st.lists(_wide_entries, max_size=3).map(lambda s: ["[users]", *s]),
    st.lists(_wide_entries, max_size=2).map(lambda s: ["[peers]", *s]),
    _wide_lines,
)
_wide = st.lists(_part, max_size=4).map(lambda parts: [line for part in parts for line in part])
_ends = st.sampled_from(["\n", "\n", "\n", "\r\n", " \n", "\n\n \n", "\r"])


@settings(
    max_examples=int(os.environ.get("DBKIT_TEST_EXAMPLES", "80")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    _wide, _wide_lines, _wide_lines, _ends, st.binary(max_size=30), st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf"])
)
def test_any_key_value_include_and_line_end_is_read_as_the_daemon_reads_it(daemon, text, one, two, end, tail, head):
    known = parameters.load(parameters.version(daemon.version))
    settled = "".join(f"{name} = {value}\n" for name, value in SETTLED.items() if name in known)
    files = {"one": end.join(one).encode(), "two": end.join(two).encode()}
    files["self"] = b"%include self\n"
    main = head + end.join([*text, "[pgbouncer]"]).encode() + ENVIRONMENT + settled.encode()
    compare(daemon, main + b"\0" + tail, files, {*SETTLED, *NOT_OURS})
