"""Our reader of pg_hba.conf beside the real servers: the same lines, the same names, the same words of refusal."""

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbkit.ephemeral import Unavailable
from dbkit.ephemeral.postgres import start_postgres
from dbkit.postgres.hba.ident import read_file as read_maps
from dbkit.postgres.hba.reader import read_file
from tests.fixtures.parts import missing
from tests.rules.live_example import until

# What a build without TLS, GSSAPI, LDAP or PAM refuses, and lines of which the server does not say what is wrong.
OF_THE_BUILD = "not supported by this build"
MUTE = ("clientcert=1", "clientname=XX", "radiusservers=a")
LINES = r"""
local all all trust
local all all
local all
local
host all all 127.0.0.1/32 md5
host all all 127.0.0.1 255.255.255.255 md5
host all all 127.0.0.1 md5
host all all 127.0.0.1
host all all 127.0.0.1/33 md5
host all all 127.0.0.1/ md5
host all all 127.0.0.1/x md5
host all all 127.0.0.1/-1 md5
host all all ::1/128 scram-sha-256
host all all ::1/129 scram-sha-256
host all all ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff trust
host all all ::1 255.255.255.0 trust
host all all fe80::1%lo/64 trust
host all all ::ffff:1.2.3.4/96 trust
host all all 10.1/8 trust
host all all 010.0.0.1/8 trust
host all all 0x7f.1/8 trust
host all all 300.1.1.1/8 trust
host all all 1.2.3/24 trust
host all all 1/8 trust
host all all example.com md5
host all all .example.com md5
host all all example.com/24 md5
host all all samenet md5
host all all samehost md5
host all all "samenet" md5
host all all all md5
host all all "all" md5
hostssl all all 0.0.0.0/0 cert
hostssl all all 0.0.0.0/0 cert clientcert=verify-full
hostssl all all 0.0.0.0/0 cert clientcert=verify-ca
hostssl all all 0.0.0.0/0 cert clientcert=1
hostssl all all 0.0.0.0/0 md5 clientcert=verify-ca clientname=DN
hostssl all all 0.0.0.0/0 md5 clientname=XX
host all all 0.0.0.0/0 md5 clientcert=verify-ca
host all all 0.0.0.0/0 md5 clientname=CN
hostnossl all all 0.0.0.0/0 reject
hostgssenc all all 0.0.0.0/0 trust
hostnogssenc all all 0.0.0.0/0 trust
host all all 0.0.0.0/0 gss include_realm=1
host all all 0.0.0.0/0 sspi
host all all 0.0.0.0/0 bsd
local all all gss
host all all 0.0.0.0/0 peer
local all all ident
local all all ident map=x
local all all peer map=x
local all all trust map=x
host all all 0.0.0.0/0 cert
host all all 0.0.0.0/0 pam pamservice=x
host all all 0.0.0.0/0 md5 pamservice=x
host all all 0.0.0.0/0 ldap
host all all 0.0.0.0/0 ldap ldapserver=x
host all all 0.0.0.0/0 ldap ldapserver=x ldapprefix=a
host all all 0.0.0.0/0 ldap ldapserver=x ldapprefix=a ldapbasedn=b
host all all 0.0.0.0/0 ldap ldapserver=x ldapbasedn=b ldapsearchattribute=q ldapsearchfilter=w
host all all 0.0.0.0/0 ldap ldapserver=x ldapport=abc ldapbasedn=b
host all all 0.0.0.0/0 ldap ldapurl="ldap://h/dc=x?uid?sub"
host all all 0.0.0.0/0 radius
host all all 0.0.0.0/0 radius radiusservers=a
host all all 0.0.0.0/0 radius radiusservers="127.0.0.1" radiussecrets="x"
host all all 0.0.0.0/0 oauth
host all all 0.0.0.0/0 oauth issuer=a
host all all 0.0.0.0/0 oauth issuer=a scope=b
host all all 0.0.0.0/0 krb5
host all all 0.0.0.0/0 crypt
host all all 0.0.0.0/0 md5 foo=bar
host all all 0.0.0.0/0 md5 foo
host all all 0.0.0.0/0 md5,trust
host a,b all 0.0.0.0/0 md5
host a, b all 0.0.0.0/0 md5
host a ,b all 0.0.0.0/0 md5
host "a b" "c,d" 0.0.0.0/0 md5
host "a""b" all 0.0.0.0/0 md5
host a"b c"d all 0.0.0.0/0 md5
host "all" "all" 0.0.0.0/0 md5
host sameuser,samerole,replication +grp 0.0.0.0/0 md5
host /^db\d+$ /^u 0.0.0.0/0 md5
host /( /^u 0.0.0.0/0 md5
host /[a all 0.0.0.0/0 md5
host all /*x 0.0.0.0/0 md5
host all "/(" 0.0.0.0/0 md5
hosts all all 0.0.0.0/0 md5
HOST all all 0.0.0.0/0 md5
host,local all all 0.0.0.0/0 md5
host all all 1.2.3.4/8,5.6.7.8/8 md5
host all all 1.2.3.4 255.0.0.0,255.0.0.0 md5
host all all 1.2.3.4 foo md5
"host" all all 0.0.0.0/0 md5
host all all 0.0.0.0/0 "md5"
host all all 0.0.0.0/0 MD5
host all all 0.0.0.0/0 md5 # comment
host all all 0.0.0.0/0 md5#comment
host all "#a" 0.0.0.0/0 md5
host @names all 0.0.0.0/0 md5
host "@names" all 0.0.0.0/0 md5
host @nofile all 0.0.0.0/0 md5
host x@names all 0.0.0.0/0 md5
host @ all 0.0.0.0/0 md5
host all @nest 0.0.0.0/0 md5
host all, 0.0.0.0/0 md5
host ,all all 0.0.0.0/0 md5
host "" all 0.0.0.0/0 md5
host all "" 0.0.0.0/0 md5
host all all "" md5
host all all 0.0.0.0/0 ""
host "unterminated all 0.0.0.0/0 md5
host all all\
 0.0.0.0/0 md5
host all \
  all \
  0.0.0.0/0 md5
include inc.conf
include noinc.conf
include_if_exists noinc.conf
include_dir d
include_dir nod
include a b
include
include "inc.conf"
host all all 0.0.0.0/0 md5 map=x
host all all 127.0.0.1/032 md5
host all all 127.0.0.1/+8 md5
host all all 127.0.0.1/8x md5
host all all 1:2/16 md5
host all all localhost md5
host all all 127.0.0.1/0 md5
é all all md5
local é ü trust
local all all trust trailing=
local all all password clientcert=verify-ca
""".strip()
BESIDE = {
    "names": 'a, b\nc # x\n"d e"\n',
    "nest": "u1 @names\n",
    "inc.conf": "local inc all trust\nbroken line here\n",
    "d/b.conf": "local b all trust\n",
    "d/a.conf": "local a all trust\n",
    "d/.c.conf": "local c all trust\n",
}


def test_every_line_is_read_as_the_server_reads_it(pg_major):
    try:
        made = start_postgres(pg_major, sources=("embedded", "local"))
    except Unavailable as error:
        missing(f"postgres{pg_major}", " ".join(error.reason.split()))
    with made as server, psycopg.connect(server.dsn, autocommit=True) as connection:
        for name, text in BESIDE.items():
            file = server.directory / name
            file.parent.mkdir(exist_ok=True, mode=0o755)
            file.write_text(text)
            file.chmod(0o644)
        (server.directory / "pg_hba.conf").write_text(LINES + "\n")
        rows = connection.execute(
            "select line_number, type, database, user_name, address, netmask, auth_method, error from pg_hba_file_rules"
        ).fetchall()
        ssl = connection.execute("show ssl").fetchone()[0] == "on"
        held = read_file(server.directory / "pg_hba.conf", pg_major, ssl=ssl)
    ours = [
        (r.line, r.kind, [*r.databases] or None, [*r.users] or None, r.address, r.netmask, r.method, r.error)
        for r in held.rules
    ]
    assert len(ours) == len(rows)
    text = LINES.splitlines()
    judged = [
        (mine, tuple(theirs))
        for mine, theirs in zip(ours, rows, strict=True)
        if OF_THE_BUILD not in (theirs[-1] or "") and not any(word in text[theirs[0] - 1] for word in MUTE)
    ]
    assert [mine for mine, _ in judged] == [theirs for _, theirs in judged]
    assert len(judged) > 100
    assert not held.loads


MAPS = r"""
admins alice postgres
admins alice
admins
"my map" "a b" "c""d"
a,b alice postgres
a alice,bob postgres
a alice postgres,app
a alice all
a alice +staff
a alice /^app
a alice /(
a /^(.*)@example\.com$ \1
a "/^(.*)$" "\1"
a /( postgres
a /*x postgres
a /[a postgres
a "/(" postgres
a alice postgres more fields here
a @names postgres
a @nofile postgres
a alice @names
@names alice postgres
a alice postgres # comment
a alice#b postgres
a "" postgres
a \
  alice \
  postgres
, alice postgres
a "unterminated postgres
include ident.conf
include noident.conf
include_if_exists noident.conf
include_dir i
é ü ö
a / postgres
""".strip()
MAPS_BESIDE = {
    "names": 'x, y\n"d e"\n',
    "ident.conf": "inc alice postgres\nbroken\n",
    "i/b.conf": "b alice postgres\n",
    "i/a.conf": "a alice postgres\n",
}


def test_every_map_is_read_as_the_server_reads_it(pg_major):
    try:
        made = start_postgres(pg_major, sources=("embedded", "local"))
    except Unavailable as error:
        missing(f"postgres{pg_major}", " ".join(error.reason.split()))
    with made as server, psycopg.connect(server.dsn, autocommit=True) as connection:
        for name, text in {**MAPS_BESIDE, "pg_ident.conf": MAPS + "\n"}.items():
            file = server.directory / name
            file.parent.mkdir(exist_ok=True, mode=0o755)
            file.write_text(text)
            file.chmod(0o644)
        rows = connection.execute(
            "select line_number, map_name, sys_name, pg_username, error from pg_ident_file_mappings"
        ).fetchall()
        held = read_maps(server.directory / "pg_ident.conf", pg_major)
    ours = [(m.line, m.name, m.system, m.role, m.error) for m in held.maps]
    assert ours == rows
    assert len(ours) > 25
    assert not held.loads


OAUTH = r"""
host all all 0.0.0.0/0 oauth issuer=https://a scope=b
host all all 0.0.0.0/0 oauth issuer=https://a scope=b validator=one
host all all 0.0.0.0/0 oauth issuer=https://a scope=b validator=three
host all all 0.0.0.0/0 oauth issuer=https://a scope=b validator=one map=x
host all all 0.0.0.0/0 oauth issuer=https://a scope=b validator=one map=x delegate_ident_mapping=1
host all all 0.0.0.0/0 oauth issuer=https://a scope=b validator=one delegate_ident_mapping=1
""".strip()


def test_libraries_that_prove_a_token_must_be_named():
    try:
        made = start_postgres(18, sources=("embedded", "local"))
    except Unavailable as error:
        missing("postgres18", " ".join(error.reason.split()))
    with made as server, psycopg.connect(server.dsn, autocommit=True) as connection:
        hba, conf = server.directory / "pg_hba.conf", server.directory / "postgresql.conf"
        way_in = hba.read_text()
        for libraries in ("", "one", "one, two", "one,,two"):
            hba.write_text(way_in)
            with conf.open("a") as stream:
                stream.write(f"oauth_validator_libraries = '{libraries}'\n")
            connection.execute("select pg_reload_conf()")
            shown = f"select setting = '{libraries}' from pg_settings where name = 'oauth_validator_libraries'"
            until(server, shown, database="postgres")
            hba.write_text(OAUTH + "\n")
            with psycopg.connect(server.dsn) as anew:
                rows = anew.execute("select line_number, error from pg_hba_file_rules").fetchall()
            held = read_file(hba, 18, validators=libraries)
            assert [(r.line, r.error) for r in held.rules] == rows


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n\n"])
def test_a_file_without_a_line_does_not_load(text, tmp_path):
    (tmp_path / "pg_hba.conf").write_text(text)
    assert not read_file(tmp_path / "pg_hba.conf", 18).loads


WORDS = st.sampled_from(
    ["host", "local", "all", "10.0.0.0/8", '"a', "@x", "/(", "md5", ",", "#", "\\", "::1/300", "a=b", "\n", "include"]
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200) | st.lists(WORDS, max_size=20).map(lambda held: " ".join(held).encode()))
def test_any_bytes_are_read(tmp_path, content):
    file = tmp_path / "pg_hba.conf"
    file.write_bytes(content)
    for rule in read_file(file, 18).rules:
        assert rule.error or rule.method
        assert 1 <= rule.line <= content.count(b"\n") + 1
