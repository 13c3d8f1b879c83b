"""How many connections a pooler may open on each physical server, as a sum that a person can follow.

Entries are put together by host and port, not by file: three hosts with 100 each are not 300 on one server.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dbkit.capacity import ServerFacts
from dbkit.pgbouncer.documents import Bands
from dbkit.pgbouncer.scene import Pooled, Scene


@dataclass(frozen=True, slots=True)
class Part:
    """What one database of the pooler may take, all its processes together."""

    database: str
    connections: int
    how: str
    """The multiplication in words: `25 + 5 reserve, x 2 users, at most 100`."""
    bounded: bool
    """False when more users would take more."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One physical server: what it offers, and what may be asked of it."""

    host: str
    port: int
    facts: ServerFacts | None
    """None when the server was not looked at; the documents' figures hold then."""
    max_connections: int
    reserved: int
    parts: tuple[Part, ...]
    direct: tuple[Part, ...]

    @property
    def place(self) -> str:
        """host:port, or the socket."""
        return f"{self.host or 'local socket'}:{self.port}"

    @property
    def pooled(self) -> int:
        """All pools together."""
        return sum(p.connections for p in self.parts)

    @property
    def total(self) -> int:
        """Pools and direct clients."""
        return self.pooled + sum(p.connections for p in self.direct)

    @property
    def usable(self) -> int:
        """What ordinary roles may have."""
        return max(self.max_connections - self.reserved, 0)

    @property
    def percent(self) -> float:
        """The total as a share of max_connections, as the documents count it."""
        return 100 * self.total / self.max_connections if self.max_connections else float("inf")

    @property
    def bounded(self) -> bool:
        """Whether every part has a limit."""
        return all(p.bounded for p in self.parts)

    def band(self, bands: Bands) -> str:
        """Where it stands: `refused`, `over`, `scale`, `high` or `good`."""
        if self.total > self.usable:
            return "refused"
        if self.percent > bands.maximum:
            return "over"
        if self.percent > bands.scale:
            return "scale"
        return "high" if self.percent > bands.target[1] else "good"


def demands(scene: Scene) -> list[Demand]:
    """Every physical server behind the pooler, the fullest first."""
    found: dict[tuple[str, int], list[Pooled]] = {}
    for database in scene.config.databases:
        for server in dict.fromkeys(database.servers):
            found.setdefault(server, []).append(database)
    made = [_demand(scene, host, port, held) for (host, port), held in found.items()]
    return sorted(made, key=lambda d: (-d.percent, d.place))


def processes(scene: Scene) -> int:
    """PgBouncer processes with this configuration; each has its own pools."""
    return scene.processes or scene.connections.poolers.processes


def users(scene: Scene, database: Pooled) -> int | None:
    """Roles that get a pool of their own for a database; None when nobody can tell."""
    if database.forced_user:
        return 1
    if scene.connections.poolers.users is not None:
        return scene.connections.poolers.users
    if scene.userlist is not None:
        own = {scene.config.text("auth_user"), database.auth_user, *scene.config.words("admin_users")}
        own |= set(scene.config.words("stats_users"))
        return max(len([u for u in scene.userlist.users if u.name not in own]), 1)
    return None


def _demand(scene: Scene, host: str, port: int, held: list[Pooled]) -> Demand:
    facts = next((s for s in scene.servers if s.answers(host, port)), None)
    figures = scene.connections.servers
    provider = scene.connections.poolers.provider
    kept = figures.provider_reserved.get(provider, 0) if provider else 0
    direct = tuple(
        Part(d.name, d.connections, f"{d.pool} x {d.instances} instances", True)
        for d in scene.connections.drivers
        if d.calls(host, port)
    )
    return Demand(
        host=host,
        port=port,
        facts=facts,
        max_connections=facts.max_connections if facts else figures.max_connections,
        reserved=(facts.reserved if facts else figures.reserved) + kept,
        parts=tuple(_limited_by_user(scene, [_part(scene, d) for d in held])),
        direct=direct,
    )


def _part(scene: Scene, database: Pooled) -> Part:
    """users x (pool + reserve), at most max_db_connections, times the processes. Unknown users may reach any limit."""
    count = users(scene, database)
    each = database.pool_size + database.reserve
    limit = database.max_connections
    unlimited = database.pool_size == 0 and scene.config.version.minor >= 24
    how = f"{database.pool_size} + {database.reserve} reserve" if database.reserve else f"{database.pool_size}"
    if limit > 0 and (count is None or count * each >= limit or unlimited):
        taken, bounded = limit, True
        how = f"max_db_connections {limit}"
    else:
        taken, bounded = (count or 1) * each, count is not None and not unlimited
        how += f", x {count} user{'s' * (count != 1)}" if count else ", for each user"
    several = processes(scene)
    if several > 1:
        taken *= several
        how += f", x {several} processes"
    if database.name == "*" and limit == 0:
        bounded = False
        how += ", for each database"
    return Part(database.name, taken, how, bounded)


def _limited_by_user(scene: Scene, parts: list[Part]) -> Iterator[Part]:
    """max_user_connections holds over all databases: a single one can never take more than users x that."""
    limit = scene.config.number("max_user_connections")
    count = scene.connections.poolers.users
    if limit <= 0 or count is None:
        yield from parts
        return
    most = limit * count * processes(scene)
    for part in parts:
        if part.connections > most:
            yield Part(part.database, most, f"max_user_connections {limit}, x {count} users", True)
        else:
            yield part
