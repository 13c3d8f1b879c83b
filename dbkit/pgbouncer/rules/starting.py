"""Values that are read without complaint, and with which the daemon does not come up or lets nobody in."""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.model import Severity
from dbkit.pgbouncer.rules.declare import Verdict, pooler_rule
from dbkit.pgbouncer.scene import Config, Scene

_TCP = {"tcp_keepidle": 32767, "tcp_keepintvl": 32767, "tcp_keepcnt": 127}
"""The largest that Linux takes; 0 leaves the system's own."""
_LEAST_PACKET = 64
"""Observed on 1.18 and 1.26: with less, a login packet of psql does not fit."""


def refusals(config: Config) -> Iterator[tuple[str, str]]:
    """Each such key, and what happens: the start ends, or clients hang or are turned away."""
    ends = "the system refuses it, PgBouncer cannot listen on any address, and does not start"
    for name, most in _TCP.items():
        value = config.number(name)
        too_small = value < 0 and name != "tcp_keepcnt"
        if config.number("tcp_keepalive") and (too_small or value > most):
            yield name, f"is not from 1 to {most}: {ends}"
    if config.number("tcp_user_timeout") < 0:
        yield "tcp_user_timeout", f"is negative: {ends}"
    port = config.number("listen_port")
    if port < 0 or port > 65535:
        yield "listen_port", "is not from 1 to 65535: PgBouncer does not start, or listens on another port"
    for name in ("pkt_buf", "max_packet_size"):
        if config.number(name) < _LEAST_PACKET:
            yield name, f"is less than {_LEAST_PACKET} bytes, which no login packet fits: nobody gets in"


@pooler_rule(
    "start-refused",
    "file",
    Severity.ERROR,
    ok="Every value that is read lets the daemon listen",
    bad="""
    [pgbouncer]
    tcp_keepidle = -1
    """,
    good="""
    [pgbouncer]
    tcp_keepidle = 60
    """,
)
def start_refused(scene: Scene) -> Iterator[Verdict]:
    """The file loads, and the daemon cannot listen with it, or nobody can log in.

    Why: PgBouncer takes any whole number, and the operating system does not: a keepalive time that is negative or over
    32767 ends the start with "failed to listen on any address". A RELOAD takes it too, and then every new connection
    fails. Buffers smaller than a login packet make clients hang.

    Fix: write the number that was meant; 0 leaves the system's own keepalive times.

    Not reported when: tcp_keepalive is 0, for the keepalive times.

    See: observed on 1.18, 1.24 and 1.26 on Linux; other systems have other limits.
    """
    config = scene.config
    for name, words in refusals(config):
        yield Verdict(f"{name} = {config.text(name)} {words}", name, location=config.location(name))
