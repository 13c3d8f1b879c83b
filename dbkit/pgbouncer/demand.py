"""How many connections a pooler may open on each physical server, as a sum that a person can follow.

Entries are put together by host and port, not by file: three hosts with 100 each are not 300 on one server.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    by_user: Part | None = None
    """What max_user_connections leaves of all databases together, where that is less than their sum."""

    @property
    def place(self) -> str:
        """host:port, or the socket."""
        return f"{self.host or 'local socket'}:{self.port}"

    @property
    def shares(self) -> tuple[Part, ...]:
        """The summands of `pooled`."""
        return (self.by_user,) if self.by_user else self.parts

    @property
    def pooled(self) -> int:
        """All pools together."""
        return sum(p.connections for p in self.shares)

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
        return all(p.bounded for p in self.shares)

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


def in_use(scene: Scene) -> list[Demand]:
    """The same with the roles alone that have a pool at this moment (SHOW POOLS), each filled to its limit."""
    if scene.live is None:
        return demands(scene)
    users: defaultdict[str, list[str]] = defaultdict(list)
    for pool in scene.live.pools:
        users[pool.database].append(pool.user)
    return demands(replace(scene, pool_users={database: tuple(names) for database, names in users.items()}))


@dataclass(frozen=True, slots=True)
class Together:
    """One physical server that several poolers call."""

    poolers: tuple[str, ...]
    sum: Demand


def together(scenes: Sequence[tuple[str, Scene]]) -> list[Together]:
    """Every server that more than one pooler of the run calls, with the pools of all of them, the fullest first."""
    found: dict[str, list[tuple[str, Demand]]] = {}
    for name, scene in scenes:
        for held in demands(scene):
            # Poolers may call one server by several addresses; one that is known by them has a name of its own.
            known = held.facts is not None and bool(held.facts.addresses)
            found.setdefault(held.facts.name if held.facts and known else held.place, []).append((name, held))
    made: list[Together] = []
    for held in found.values():
        poolers = tuple(dict.fromkeys(name for name, _ in held))
        if len(poolers) < 2:
            continue
        first = held[0][1]
        parts = tuple(replace(p, database=f"{name}: {p.database}") for name, d in held for p in d.shares)
        direct = tuple({p.database: p for _, d in held for p in d.direct}.values())
        made.append(Together(poolers, replace(first, parts=parts, direct=direct, by_user=None)))
    return sorted(made, key=lambda t: (-t.sum.percent, t.sum.place))


def processes(scene: Scene) -> int:
    """PgBouncer processes with this configuration; each has its own pools."""
    return scene.processes or scene.connections.poolers.processes


def users(scene: Scene, database: Pooled) -> int | None:
    """Roles that get a pool of their own for a database; None when nobody can tell."""
    if scene.pool_users is not None:
        return len(scene.pool_users.get(database.name, ()))
    if database.forced_user:
        return 1
    if scene.connections.poolers.users is not None:
        return scene.connections.poolers.users
    named = _names(scene, database)
    return None if named is None else max(len(named), 1)


def _names(scene: Scene, database: Pooled) -> tuple[str, ...] | None:
    """The roles by name, where auth_file is all there is; whom auth_query lets in, nobody can tell."""
    if scene.pool_users is not None:
        return scene.pool_users.get(database.name, ())
    if database.forced_user:
        return (database.forced_user,)
    config = scene.config
    asked = config.text("auth_user") or database.auth_user
    if scene.connections.poolers.users is not None or scene.userlist is None or asked:
        return None
    own = {*config.words("admin_users"), *config.words("stats_users")}
    return tuple(u.name for u in scene.userlist.users if u.name not in own)


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
    parts = tuple(_part(scene, d) for d in held)
    return Demand(
        host=host,
        port=port,
        facts=facts,
        max_connections=facts.max_connections if facts else figures.max_connections,
        reserved=(facts.reserved if facts else figures.reserved) + kept,
        parts=parts,
        direct=direct,
        by_user=_by_user(scene, held, parts),
    )


def _pools(scene: Scene, database: Pooled) -> list[tuple[str, int | None]]:
    """The pools of a database as (user, most connections); None is a pool without a limit (pool_size 0, from 1.24)."""
    named = _names(scene, database)
    count = users(scene, database)
    # Users of whom only the number is known are told apart by it: each may have pools in every database.
    known = named if named or scene.pool_users is not None else None
    listed = known if known is not None else tuple(f"user {n + 1}" for n in range(count or 1))
    made: list[tuple[str, int | None]] = []
    for name in listed:
        own = scene.config.user(name)
        size = own.pool_size if own and own.pool_size is not None else database.pool_size
        reserve = own.reserve if own and own.reserve is not None else database.reserve
        made.append((name, None if size == 0 and scene.config.version.minor >= 24 else size + reserve))
    return made


def _part(scene: Scene, database: Pooled) -> Part:
    """users x (pool + reserve), at most max_db_connections, times the processes. Unknown users may reach any limit."""
    count = users(scene, database)
    pools = _pools(scene, database)
    sizes = [size for _, size in pools if size is not None]
    unlimited = len(sizes) < len(pools)
    limit = database.max_connections
    if limit > 0 and (count is None or sum(sizes) >= limit or unlimited):
        taken, bounded = limit, True
        how = f"max_db_connections {limit}"
    else:
        taken, bounded = sum(sizes), count is not None and not unlimited
        how = _spelled(database, count, pools)
    several = processes(scene)
    if several > 1:
        taken *= several
        how += f", x {several} processes"
    if database.name == "*" and limit == 0:
        bounded = False
        how += ", for each database"
    return Part(database.name, taken, how, bounded)


def _spelled(database: Pooled, count: int | None, pools: list[tuple[str, int | None]]) -> str:
    each = database.pool_size + database.reserve
    if any(size not in (each, None) for _, size in pools):
        return " + ".join(f"{'no limit' if size is None else size} for {name}" for name, size in pools)
    how = f"{database.pool_size} + {database.reserve} reserve" if database.reserve else f"{database.pool_size}"
    return how + (f", x {count} user{'s' * (count != 1)}" if count else ", for each user")


def _by_user(scene: Scene, held: list[Pooled], parts: tuple[Part, ...]) -> Part | None:
    """max_user_connections holds for a user over all databases together: the second way to count, if it gives less."""
    if any(users(scene, d) is None or d.name == "*" for d in held):
        return None
    asked: defaultdict[str, int] = defaultdict(int)
    endless: set[str] = set()
    for database in held:
        for name, size in _pools(scene, database):
            asked[name] += size or 0
            endless |= {name} if size is None else set()
    overall = scene.config.number("max_user_connections")
    taken: list[int] = []
    words: list[str] = []
    for name, wanted in asked.items():
        own = scene.config.user(name)
        limit = (own.max_connections if own else None) or overall
        if name in endless and limit <= 0:
            return None
        cut = limit > 0 and (limit < wanted or name in endless)
        taken.append(limit if cut else wanted)
        words.append(f"{taken[-1]} for {name}")
    several = processes(scene)
    total = sum(taken) * several
    if total >= sum(p.connections for p in parts) and all(p.bounded for p in parts):
        return None
    alike = len(set(taken)) == 1 and len(taken) > 1
    how = f"{taken[0]}, x {len(taken)} users" if alike else " + ".join(words)
    return Part("max_user_connections", total, how + (f", x {several} processes" if several > 1 else ""), True)
