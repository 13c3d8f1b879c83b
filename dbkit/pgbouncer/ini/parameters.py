"""Every key of PgBouncer 1.18 to 1.26: type, default, and whether RELOAD applies it, by version.

Keys and defaults were read from SHOW CONFIG of running 1.18.0, 1.24.1 and 1.26.1 and completed from the changelog for
the versions between. `[databases]`, `[users]` and `[peers]` take other keys, listed at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, TypeAlias

from dbkit.errors import UsageError

Kind: TypeAlias = Literal["text", "int", "uint", "time", "pool_mode", "auth_type", "sslmode", "auth_dbname"]

VERSIONS: Final = tuple((1, minor) for minor in range(18, 27))
OLDEST: Final = VERSIONS[0]
NEWEST: Final = VERSIONS[-1]


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A release such as 1.18 or 1.25.2; `patch` is -1 when only the minor version is known."""

    major: int
    minor: int
    patch: int = -1

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}" + (f".{self.patch}" if self.patch >= 0 else "")

    @property
    def line(self) -> tuple[int, int]:
        """The minor version, which decides about keys and defaults: (1, 18)."""
        return self.major, self.minor


def version(text: str) -> Version:
    """The version in a text such as `1.18`, `1.25.2` or `PgBouncer 1.18.0`. Raises UsageError outside 1.18 to 1.26."""
    match = re.search(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", text)
    if match is None:
        raise UsageError(f"{text!r} is not a PgBouncer version", hint="write it as 1.18 or 1.25.2")
    found = Version(int(match[1]), int(match[2]), int(match[3]) if match[3] else -1)
    if found.line not in VERSIONS:
        raise UsageError(
            f"PgBouncer {found} is not known", hint=f"dbkit knows {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
        )
    return found


@dataclass(frozen=True, slots=True)
class Parameter:
    """One key of `[pgbouncer]`. `default` is None where the daemon has none: such a key keeps its value on RELOAD."""

    name: str
    kind: Kind
    default: str | None
    reloads: bool = True
    since: int = 18
    until: int = 99
    """First and last minor version that know the key."""

    @property
    def unit(self) -> str | None:
        """Seconds for times, else None."""
        return "s" if self.kind == "time" else None


# name, type, default (`-`: none), `restart` if RELOAD ignores it, `1.x+` if it came, `..1.x` if it went.
_TABLE: Final = """
admin_users text ''
application_name_add_host int 0
auth_dbname auth_dbname - 1.19+
auth_file text -
auth_hba_file text ''
auth_ident_file text - 1.23+
auth_ldap_options text - 1.25+
auth_query text *
auth_type auth_type md5
auth_user text -
autodb_idle_timeout time 3600
cancel_wait_timeout time 10 1.19+
client_idle_timeout time 0
client_login_timeout time 60
client_tls13_ciphers text - 1.25+
client_tls_ca_file text ''
client_tls_cert_file text ''
client_tls_ciphers text default
client_tls_dheparams text auto
client_tls_ecdhcurve text auto
client_tls_key_file text ''
client_tls_protocols text secure
client_tls_sslmode sslmode disable
conffile text -
default_pool_size int 20
disable_pqexec int 0 restart
dns_max_ttl time 15
dns_nxdomain_ttl time 15
dns_zone_check_period time 0
idle_transaction_timeout time 0
ignore_startup_parameters text ''
job_name text pgbouncer restart
listen_addr text '' restart
listen_backlog int 128 restart
listen_port int 6432 restart
log_connections int 1
log_disconnections int 1
log_pooler_errors int 1
log_stats int 1
logfile text ''
login_notify_message text '' 1.26+
max_client_conn int 100
max_db_client_connections int 0 1.24+
max_db_connections int 0
max_packet_size uint 2147483647
max_prepared_statements int 200 1.21+
max_user_client_connections int 0 1.24+
max_user_connections int 0
min_pool_size int 0
peer_id int 0 1.19+
pidfile text '' restart
pkt_buf int 4096 restart
pool_idle_timeout time 0 1.26+
pool_mode pool_mode session
query_timeout time 0
query_wait_notify int 5 1.25+
query_wait_timeout time 120
reserve_pool_size int 0
reserve_pool_timeout time 5
resolv_conf text '' restart
sbuf_loopcnt int 5
scram_iterations int 4096 1.25+
server_check_delay time 30
server_check_query text <empty>
server_connect_timeout time 15
server_fast_close int 0
server_idle_timeout time 600
server_lifetime time 3600
server_login_retry time 15
server_reset_query text 'DISCARD ALL'
server_reset_query_always int 0
server_round_robin int 0
server_tls13_ciphers text - 1.25+
server_tls_ca_file text ''
server_tls_cert_file text ''
server_tls_ciphers text default
server_tls_key_file text ''
server_tls_protocols text secure
server_tls_sslmode sslmode prefer
so_reuseport int 0 restart
stats_period int 60
stats_users text ''
suspend_timeout time 10 ..1.25
syslog int 0
syslog_facility text daemon
syslog_ident text pgbouncer
tcp_defer_accept int 1
tcp_keepalive int 1
tcp_keepcnt int 0
tcp_keepidle int 0
tcp_keepintvl int 0
tcp_socket_buffer int 0
tcp_user_timeout int 0
track_extra_parameters text '' restart 1.20+
transaction_timeout time 0 1.25+
unix_socket_dir text /tmp restart
unix_socket_group text '' restart
unix_socket_mode int 0777 restart
user text - restart
verbose int -
"""

# Defaults that were others before: the value, and the last minor version that had it.
_EARLIER: Final[dict[str, tuple[tuple[int, str], ...]]] = {
    "client_tls_ciphers": ((20, "fast"),),
    "server_tls_ciphers": ((20, "fast"),),
    "server_tls_sslmode": ((19, "disable"),),
    "server_check_query": ((24, "select 1"),),
    "max_prepared_statements": ((23, "0"),),
    "track_extra_parameters": ((25, "IntervalStyle"),),
}

AUTH_QUERY_OLD: Final = "SELECT usename, passwd FROM pg_shadow WHERE usename=$1"
"""The default before 1.24.1: it lets a password in whose VALID UNTIL has passed (CVE-2025-2291)."""
AUTH_QUERY_NEW: Final = (
    "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END "
    "FROM pg_authid WHERE rolname=$1 AND rolcanlogin"
)
_FIXED_AUTH_QUERY: Final = Version(1, 24, 1)

CHOICES: Final[dict[str, tuple[tuple[str, int], ...]]] = {
    "pool_mode": (("session", 18), ("transaction", 18), ("statement", 18)),
    "sslmode": tuple((m, 18) for m in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")),
    # pam and ldap are taken by builds that have them, as every distribution's do.
    "auth_type": (
        *((t, 18) for t in ("any", "trust", "plain", "md5", "cert", "hba", "pam", "scram-sha-256")),
        ("ldap", 25),
    ),
    "load_balance_hosts": (("disable", 24), ("round-robin", 24)),
}

DATABASE_KEYS: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        (
            *("dbname", "host", "port", "user", "password", "auth_user", "client_encoding", "datestyle", "timezone"),
            *("pool_size", "min_pool_size", "reserve_pool", "max_db_connections", "pool_mode", "connect_query"),
            "application_name",
        ),
        18,
    ),
    "auth_dbname": 19,
    "auth_query": 22,
    "server_lifetime": 23,
    "reserve_pool_size": 24,
    "max_db_client_connections": 24,
    "load_balance_hosts": 24,
    "query_wait_timeout": 26,
}
"""Keys of a database's connection string, with the minor version that brought each."""

USER_KEYS: Final[Mapping[str, int]] = {
    "pool_mode": 18,
    "max_user_connections": 18,
    "pool_size": 23,
    "reserve_pool_size": 24,
    "query_timeout": 24,
    "idle_transaction_timeout": 24,
    "client_idle_timeout": 24,
    "max_user_client_connections": 24,
    "transaction_timeout": 25,
    "query_wait_timeout": 26,
}
PEER_KEYS: Final[Mapping[str, int]] = {"host": 19, "port": 19, "pool_size": 19}
SECTIONS: Final[Mapping[str, int]] = {"pgbouncer": 18, "databases": 18, "users": 18, "peers": 19}
QUOTED_NAMES_SINCE: Final = 25


@cache
def load(held: Version) -> Mapping[str, Parameter]:
    """The keys of `[pgbouncer]` in a version, each with its default there."""
    found = {p.name: p for p in _every() if p.since <= held.minor <= p.until}
    return {name: _of_version(p, held) for name, p in found.items()}


@cache
def since(name: str) -> int | None:
    """The minor version that brought a key of `[pgbouncer]`; None for a name that no version knows."""
    return next((p.since for p in _every() if p.name == name), None)


def _of_version(parameter: Parameter, held: Version) -> Parameter:
    default = parameter.default
    if parameter.name == "auth_query":
        # A patch level that is not known counts as the newest of its line.
        patched = held.patch < 0 and held.line == _FIXED_AUTH_QUERY.line
        default = AUTH_QUERY_NEW if patched or held >= _FIXED_AUTH_QUERY else AUTH_QUERY_OLD
    for last, value in _EARLIER.get(parameter.name, ()):
        if held.minor <= last:
            default = value
            break
    return Parameter(parameter.name, parameter.kind, default, parameter.reloads, parameter.since, parameter.until)


@cache
def _every() -> tuple[Parameter, ...]:
    return tuple(_row(line) for line in _TABLE.strip().splitlines())


_ROW: Final = re.compile(r"(\S+) (\S+) ('[^']*'|\S+)(.*)")


def _row(line: str) -> Parameter:
    match = _ROW.fullmatch(line)
    if match is None:
        raise ValueError(line)
    name, kind, raw, flags = match.groups()
    began = re.search(r"1\.(\d+)\+", flags)
    ended = re.search(r"\.\.1\.(\d+)", flags)
    return Parameter(
        name,
        kind,  # pyright: ignore[reportArgumentType]
        None if raw == "-" else raw.strip("'"),
        "restart" not in flags,
        int(began[1]) if began else 18,
        int(ended[1]) if ended else 99,
    )
