"""What crosses the network in the clear, and holes that are known."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Severity
from dbkit.pgbouncer.ini.parameters import Version
from dbkit.pgbouncer.rules.declare import Blind, Verdict, pooler_rule
from dbkit.pgbouncer.scene import Config, Scene

_LOCAL = ("", "localhost", "127.0.0.1", "::1")


@pooler_rule(
    "client-plaintext",
    "access",
    Severity.WARN,
    ok="What clients send is encrypted, or stays on the machine",
    bad="""
    [pgbouncer]
    listen_addr = *
    """,
    good="""
    [pgbouncer]
    listen_addr = *
    client_tls_sslmode = require
    client_tls_key_file = /etc/pgbouncer/server.key
    client_tls_cert_file = /etc/pgbouncer/server.crt
    """,
)
def client_plaintext(scene: Scene) -> Iterator[Verdict]:
    """Queries and results travel in the clear between clients and the pooler.

    Why: client_tls_sslmode is `disable` unless it is set, on every version; S4 3.2 asks for TLS everywhere.

    Fix: a certificate and client_tls_sslmode = require. With allow or prefer a client may still go without.

    Not reported when: PgBouncer listens on this machine only.

    See: pgbouncer.server-unverified for the other side.
    """
    config = scene.config
    mode = config.text("client_tls_sslmode")
    outside = [a for a in config.words("listen_addr") if a not in _LOCAL]
    if not outside or mode in ("require", "verify-ca", "verify-full"):
        return
    said = "goes in the clear" if mode in ("", "disable") else "may go in the clear: the client decides"
    clients = [row for row in scene.live.rows("clients") if row.get("database") != "pgbouncer"] if scene.live else []
    plain = sum(1 for row in clients if not row.get("tls"))
    seen = f"; {plain} of {len(clients)} clients at this moment use no TLS" if clients else ""
    yield Verdict(
        f"listen_addr = {config.text('listen_addr')} with client_tls_sslmode = {mode or 'disable'}: traffic {said}"
        f"{seen}",
        "client_tls_sslmode",
        hint="client_tls_sslmode = require, client_tls_key_file = ... and client_tls_cert_file = ...",
        location=config.location("client_tls_sslmode"),
    )


@pooler_rule(
    "server-unverified",
    "access",
    Severity.WARN,
    ok="The way to every remote server is encrypted, and the server is verified",
    bad="""
    [databases]
    jobs = host=jobs-db
    [pgbouncer]
    server_tls_sslmode = prefer
    """,
    good="""
    [databases]
    jobs = host=jobs-db
    [pgbouncer]
    server_tls_sslmode = verify-full
    server_tls_ca_file = /etc/pgbouncer/ca.crt
    """,
)
def server_unverified(scene: Scene) -> Iterator[Verdict]:
    """The pooler talks to remote servers in the clear, or to whoever answers.

    Why: server_tls_sslmode is disable up to 1.19, which fails where the server demands TLS, and prefer from 1.20, which
    falls back to plain text and verifies nobody. S4 3.2 asks for TLS everywhere.

    Fix: server_tls_sslmode = verify-full with the authority's file in server_tls_ca_file. A RELOAD applies it; from
    1.24 on it reconnects servers only if TLS settings changed, before that always.

    Not reported when: every server is on this machine or behind a Unix socket.

    See: pgbouncer.client-plaintext.
    """
    config = scene.config
    mode = config.text("server_tls_sslmode")
    remote = _remote(config)
    if not remote or mode == "verify-full":
        return
    if mode == "verify-ca":
        said, severity = "accepts any host that this authority certified", Severity.INFO
    elif mode == "require":
        said, severity = "encrypts, but to whoever answers", Severity.WARN
    else:
        said, severity = "may go in the clear, to whoever answers", Severity.WARN
    by_default = "" if "server_tls_sslmode" in config.where else f", the default of {config.version}"
    yield Verdict(
        f"server_tls_sslmode = {mode or 'disable'}{by_default}: the way to {', '.join(remote[:3])} {said}",
        "server_tls_sslmode",
        severity=severity,
        hint="server_tls_sslmode = verify-full and server_tls_ca_file = /etc/pgbouncer/ca.crt",
        location=config.location("server_tls_sslmode"),
    )


def _remote(config: Config) -> list[str]:
    hosts = {host for d in config.databases for host, _ in d.servers}
    return sorted(h for h in hosts if h not in _LOCAL and not h.startswith(("/", "@")))


@pooler_rule(
    "version-vulnerable",
    "access",
    Severity.INFO,
    ok="No published hole is known in this version",
    bad="""
    ;; version 1.25.1
    [pgbouncer]
    """,
    good="""
    ;; version 1.26.1
    [pgbouncer]
    """,
)
def version_vulnerable(scene: Scene) -> Iterator[Verdict | Blind]:
    """Security holes are published for this version.

    Why: before 1.25.2 a malformed SCRAM packet crashes the daemon without a login (CVE-2026-6664 and 6666), and before
    1.26.0 so does one without a nonce (CVE-2026-19888); before 1.26.1 a user of auth_file can become another
    (CVE-2026-107350).

    Fix: upgrade, or make sure that your distribution carries the cures back: Debian's 1.18 and 1.24 have some of them
    under the old number, which the version alone does not show.

    Not reported when: the version is 1.26.1 or newer.

    See: https://www.pgbouncer.org/changelog.html
    """
    version = scene.config.version
    if version.patch < 0:
        yield Blind(f"the patch level is not known: give it whole, as in --pgbouncer-version {version}.0")
        return
    if version >= Version(1, 26, 1):
        return
    worst = (
        "CVE-2026-6664"
        if version < Version(1, 25, 2)
        else "CVE-2026-19888"
        if version.minor < 26
        else "CVE-2026-107350"
    )
    yield Verdict(
        f"PgBouncer {version} is older than 1.26.1: {worst} and others are open unless the package mends them",
        str(version),
        severity=Severity.WARN if scene.live else Severity.INFO,
    )
