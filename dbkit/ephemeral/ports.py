"""Free loopback ports, and what to do when somebody else is quicker."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from dbkit.ephemeral import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

TRIES = 5


class PortTaken(Unavailable):
    """Somebody took the port between our look and the server's start."""


def free_port() -> int:
    """A loopback port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def on_free_port(start: Callable[[int], int], port: int | None = None) -> int:
    """Call ``start`` with the given port, or with free ones until it does not raise :class:`PortTaken`; its result."""
    if port:
        return start(port)
    for _ in range(TRIES - 1):
        try:
            return start(free_port())
        except PortTaken:
            continue
    return start(free_port())
