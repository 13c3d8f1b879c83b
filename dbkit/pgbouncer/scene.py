"""What the rules judge: a pooler's configuration (from its file or its console), its console, and its servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dbkit.capacity import ServerFacts
from dbkit.model import Location
from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.ini.parameters import Version

if TYPE_CHECKING:
    from dbkit.pgbouncer.documents import Connections, Documents
    from dbkit.pgbouncer.ini.file import IniFile
    from dbkit.pgbouncer.ini.userlist import Userlist
    from dbkit.pgbouncer.live import Live
    from dbkit.pgbouncer.reload import Outcome


LENDING: Final = ("transaction", "statement")
"""Pool modes in which a server connection serves one client after the other within their sessions."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """One database of the pooler with the numbers that hold for it. `reserve` and limits of 0 are none."""

    name: str
    host: str
    port: int
    pool_size: int
    min_pool_size: int
    reserve: int
    max_connections: int
    pool_mode: str
    dbname: str = ""
    """Its name on the server."""
    forced_user: str = ""
    auth_user: str = ""
    given: frozenset[str] = frozenset()
    """Keys that stand in its own line; empty when read from the console."""
    location: Location | None = None

    @property
    def servers(self) -> tuple[tuple[str, int], ...]:
        """The servers behind it as (host, port); a list of hosts is several."""
        return tuple((host.strip(), self.port) for host in self.host.split(","))


@dataclass(frozen=True, slots=True)
class PoolUser:
    """One user with settings of its own (`[users]`, SHOW USERS). None: the database's, or the global one, holds."""

    name: str
    pool_mode: str = ""
    pool_size: int | None = None
    reserve: int | None = None
    max_connections: int | None = None
    """Its max_user_connections over all databases."""
    max_clients: int | None = None
    location: Location | None = None


@dataclass(frozen=True)
class Config:
    """Every setting in force, whichever way it was learned."""

    version: Version
    values: Mapping[str, str]
    databases: tuple[Pooled, ...]
    where: Mapping[str, Location] = field(default_factory=dict[str, Location])
    """The line of each key that is given in a file."""
    place: Location | None = None
    """The file's `[pgbouncer]`, where a key that is missing would go."""
    users: tuple[PoolUser, ...] = ()

    def text(self, name: str) -> str:
        """A value as SHOW CONFIG prints it; empty for a key that this version does not have."""
        return self.values.get(name, "")

    def number(self, name: str) -> int:
        """An integer; 0 for a key that this version does not have."""
        return int(self.values.get(name) or 0)

    def seconds(self, name: str) -> float:
        """A time; 0 for a key that this version does not have."""
        return float(self.values.get(name) or 0)

    def words(self, name: str) -> tuple[str, ...]:
        """A list separated by commas."""
        return tuple(word.strip() for word in self.text(name).split(",") if word.strip())

    def location(self, name: str) -> Location | None:
        """The line that gives a key, or where it would go."""
        return self.where.get(name, self.place)

    @property
    def lends_by_transaction(self) -> tuple[Pooled, ...]:
        """Databases whose server connections change hands within a session, for some user at least."""
        if any(u.pool_mode in LENDING for u in self.users):
            return self.databases
        return tuple(d for d in self.databases if d.pool_mode in LENDING)

    def user(self, name: str) -> PoolUser | None:
        """A user's own settings, if it has any."""
        return next((u for u in self.users if u.name == name), None)


@dataclass(frozen=True)
class Scene:
    """One pooler."""

    config: Config
    documents: Documents
    connections: Connections
    ini: IniFile | None = None
    userlist: Userlist | None = None
    userlist_unread: str = ""
    """Why auth_file was not read, although one is named."""
    live: Live | None = None
    servers: tuple[ServerFacts, ...] = ()
    file_config: Config | None = None
    """What the file comes to, where `config` is what runs."""
    outcome: Outcome | None = None
    """What RELOAD would do, when somebody asked."""
    pool_users: Mapping[str, tuple[str, ...]] | None = None
    """The roles that count for each database, where only those that have a pool at this moment are asked for."""
    processes: int | None = None
    """PgBouncer processes with this configuration; None: as policies/connections.yaml says."""
    own_figures: bool = False
    """Whether the connection figures are the user's own, not those of the documents."""


def of_file(ini: IniFile) -> Config:
    """The configuration that a file comes to."""
    known = parameters.load(ini.version)
    where = {name: Location(s.file, s.line) for name, s in ini.effective.items()}
    opened = [s for s in ini.sections if s.name == "pgbouncer"]
    return Config(
        version=ini.version,
        values={name: ini.value(name) for name in known},
        databases=tuple(_pooled(ini, name) for name in range(len(ini.databases))),
        where=where,
        place=Location(opened[-1].file, opened[-1].line) if opened else Location(ini.path, 1),
        users=tuple(
            PoolUser(
                u.name, u.pool_mode, u.pool_size, u.reserve, u.max_connections, u.max_clients, Location(u.file, u.line)
            )
            for u in ini.users
        ),
    )


def _pooled(ini: IniFile, position: int) -> Pooled:
    database = ini.databases[position]
    shown = ini.shown(database)
    return Pooled(
        name=database.name,
        host=shown["host"],
        port=int(shown["port"]),
        pool_size=int(shown["pool_size"]),
        min_pool_size=int(shown["min_pool_size"]),
        reserve=int(shown["reserve_pool_size"]),
        max_connections=int(shown["max_connections"]),
        pool_mode=database.pool_mode or ini.value("pool_mode"),
        dbname=shown["database"],
        forced_user=database.forced_user,
        auth_user=database.given.get("auth_user", ""),
        given=frozenset(database.given),
        location=Location(database.file, database.line),
    )
