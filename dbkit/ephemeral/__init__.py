"""Throw-away servers for the demo, for rehearsals and for tests: one interface, one module an engine.

Every server runs in its own directory below :func:`dbkit.ephemeral.lease.root`, on a free loopback port, as an
unprivileged user, and is gone with its directory when the last process that holds it ends, however it ends.
POSIX systems only (file locks, signals).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, Self

from dbkit.errors import Unreachable

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

Mode = Literal["fast", "immediate"]


class Unavailable(Unreachable):
    """A throw-away server cannot be had; ``reason`` says what was tried and why each way failed. Exit 3."""

    def __init__(self, reason: str, *, what: str = "no throw-away server", hint: str | None = None) -> None:
        super().__init__(what, why=reason, hint=hint)
        self.reason = reason


class Server(Protocol):
    """What every throw-away server offers, whatever the engine."""

    @property
    def engine(self) -> str:
        """``postgres``, ``pgbouncer``, ``mongo`` or ``elasticsearch``."""
        ...

    @property
    def version(self) -> int:
        """Version as one comparable number, in the engine's own form (PostgreSQL 18.6 is 180006)."""
        ...

    @property
    def version_text(self) -> str:
        """Version as people write it, such as ``18.6``."""
        ...

    @property
    def dsn(self) -> str:
        """Address for an administrator, password included: never print it. ``repr`` of a server leaves it out."""
        ...

    @property
    def directory(self) -> Path | None:
        """Data directory, or None when the server is not ours to look into (a given address, a container)."""
        ...

    @property
    def pid(self) -> int | None:
        """Process id of the running server, or None when it is not ours or not running."""
        ...

    @property
    def log_file(self) -> Path | None:
        """The server's log, or None when it is not ours to read."""
        ...

    def stop(self) -> None:
        """Give the server up; the last holder ends it and removes its directory. Safe to call twice."""
        ...

    def restart(self, mode: Mode = "fast") -> None:
        """Stop (``fast`` ends sessions in order, ``immediate`` is a crash) and start again on the same port."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
