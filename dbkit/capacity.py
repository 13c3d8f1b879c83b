"""What a PostgreSQL server offers to those who connect, as plain facts that every engine may judge.

The PostgreSQL engine fills them from a server or a file; the PgBouncer engine holds its pools against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SessionUse:
    """One session feature that the application was seen to use, such as LISTEN, with an example."""

    feature: str
    example: str
    calls: int
    database: str = ""
    """The database it ran in, by the server's name; empty when that is not known."""
    setting: str = ""
    """With SET: which setting, in lower case."""
    roles: tuple[str, ...] = ()
    """Who ran it; empty when that is not known."""


@dataclass(frozen=True, slots=True)
class OwnTimeout:
    """A timeout set by ALTER ROLE or ALTER DATABASE."""

    of: str
    """The role, the database, or `role in database`."""
    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One PostgreSQL server as its clients meet it."""

    name: str
    """Its target's name, or what it was read from."""
    addresses: tuple[tuple[str, int], ...]
    """Host and port by which poolers may call it; empty stands for any."""
    max_connections: int
    reserved: int
    """superuser_reserved_connections and reserved_connections together."""
    timeouts: Mapping[str, float] = field(default_factory=dict[str, float])
    """statement_timeout and its kin in seconds, 0 for none."""
    hidden_timeouts: frozenset[str] = frozenset()
    """Those of the server that cannot be seen, since the auditor has its own."""
    own_timeouts: tuple[OwnTimeout, ...] = ()
    """Those that a role or a database has of its own, which go before the server's."""
    in_use: int | None = None
    """Client connections at the moment of looking; None when nobody looked."""
    session_uses: tuple[SessionUse, ...] | None = None
    """What pg_stat_statements holds; None when it could not be asked."""
    blind: str = ""
    """Why it could not be asked."""
    major: int = 0
    """PostgreSQL's major version; 0 when that is not known."""

    def answers(self, host: str, port: int) -> bool:
        """Whether a pooler that calls host and port calls this server."""
        return not self.addresses or (host, port) in self.addresses


@dataclass(frozen=True, slots=True)
class PoolShare:
    """How many connections the pools of the same run may open on one server."""

    connections: int
    words: str
    """Which pools, and of which file."""
