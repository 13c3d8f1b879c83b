"""What a pgbouncer.ini comes to: its settings, databases, users and peers, and why a daemon would not take it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.ini.entries import Database, Peer, User
from dbkit.pgbouncer.ini.parameters import Parameter, Version
from dbkit.pgbouncer.ini.values import canonical


@dataclass(frozen=True, slots=True)
class Setting:
    """One `key = value` of `[pgbouncer]`."""

    name: str
    raw: str
    file: str
    line: int
    parameter: Parameter | None
    """None for a key that this version does not know."""
    value: str | None = None
    """What SHOW CONFIG would print; None when the value is not taken."""
    error: str | None = None
    dead: bool = False
    """A later line, or a later `[pgbouncer]`, undoes this one."""
    undone: bool = False
    """It is dead because `[pgbouncer]` was opened again, and no later line gives the key."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A reason why the daemon would not take the file, in its words; line 0 is the file as a whole."""

    file: str
    line: int
    message: str
    name: str | None = None
    named: int | None = None
    """The line that the daemon itself names, which may be one further down; None where it names none."""
    near: str = ""
    """What stands there, where the daemon does not say it; passwords are hidden."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A section as it was opened."""

    name: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class IniFile:
    """The whole configuration."""

    path: str
    version: Version
    settings: tuple[Setting, ...]
    databases: tuple[Database, ...]
    """The entry that counts for each name, `*` included."""
    replaced: tuple[Database, ...]
    """Entries of a name that comes again: gone as a whole."""
    users: tuple[User, ...]
    peers: tuple[Peer, ...]
    sections: tuple[Opened, ...]
    includes: tuple[tuple[Problem, bool], ...]
    """Every %include (its path as the message), and whether the path is relative."""
    problems: tuple[Problem, ...]
    further: tuple[Problem, ...] = ()
    """What the daemon would say next, once the problems are mended: it stops at the first."""
    notes: tuple[Problem, ...] = ()
    """Mistakes that the daemon finds later, when a client comes."""
    entries: int = 0
    digests: Mapping[str, str] = field(default_factory=dict[str, str])
    """SHA-256 of every file that was read, by its path: what was judged."""

    @property
    def loads(self) -> bool:
        """Whether a daemon of this version would take the file."""
        return not self.problems

    @property
    def effective(self) -> dict[str, Setting]:
        """The line that counts for each key of `[pgbouncer]`."""
        return {s.name: s for s in self.settings if not s.dead and s.parameter is not None}

    @property
    def occurrences(self) -> Counter[str]:
        """How often each key is given."""
        return Counter(s.name for s in self.settings)

    def value(self, name: str) -> str:
        """The value in force: the file's, or the version's default; empty where there is neither."""
        held = self.effective.get(name)
        if held is not None and held.value is not None:
            return held.value
        parameter = parameters.load(self.version).get(name)
        if parameter is None or parameter.default is None:
            return ""
        return canonical(parameter.kind, parameter.default, self.version)

    def number(self, name: str) -> int:
        """The value in force of an integer key; 0 for a key that this version does not have."""
        return int(self.value(name) or 0)

    def shown(self, database: Database) -> dict[str, str]:
        """What SHOW DATABASES would print of an entry, the global values filled in where the entry gives none."""

        def filled(own: int | None, key: str) -> str:
            return self.value(key) if own is None else str(own)

        return {
            "host": database.host,
            "port": str(database.port),
            "database": database.dbname,
            "force_user": database.forced_user,
            "pool_size": filled(database.number("pool_size"), "default_pool_size"),
            "min_pool_size": filled(database.number("min_pool_size"), "min_pool_size"),
            "reserve_pool_size": filled(database.reserve, "reserve_pool_size"),
            "pool_mode": database.pool_mode,
            "max_connections": filled(database.number("max_db_connections") or None, "max_db_connections"),
        }

    def shown_user(self, user: User) -> dict[str, str]:
        """What SHOW USERS of 1.24 and newer would print of an entry of `[users]`."""

        def filled(own: int | None, key: str) -> str:
            return str(own) if own is not None else self.value(key) if key else ""

        return {
            "pool_size": filled(user.pool_size, ""),
            "reserve_pool_size": filled(user.reserve, ""),
            "max_user_connections": filled(user.max_connections, "max_user_connections"),
            "max_user_client_connections": filled(user.max_clients, "max_user_client_connections"),
        }
