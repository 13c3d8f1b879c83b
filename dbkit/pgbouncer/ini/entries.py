"""One database, user or peer of the file: its connection string read by the rules of a version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.ini.connstring import BadString, pairs
from dbkit.pgbouncer.ini.parameters import Version
from dbkit.pgbouncer.ini.values import InvalidValue, leading_integer, word

MAX_DATABASE_NAME: Final = 63
_NUMBERS: Final = frozenset(
    {
        *("port", "pool_size", "min_pool_size", "reserve_pool", "reserve_pool_size", "max_db_connections"),
        *("max_db_client_connections", "server_lifetime", "query_wait_timeout", "max_user_connections"),
        *("query_timeout", "idle_transaction_timeout", "client_idle_timeout", "max_user_client_connections"),
        "transaction_timeout",
    }
)
_WORDS: Final = ("pool_mode", "load_balance_hosts")


class Refused(ValueError):
    """An entry that the daemon refuses; the text is what it logs."""


def _number(given: Mapping[str, str], *keys: str) -> int | None:
    found = [value for key, value in given.items() if key in keys]
    value = leading_integer(found[-1]) if found else -1
    return value if value >= 0 else None


@dataclass(frozen=True, slots=True)
class Database:
    """One entry of `[databases]`. A number that is None is not given, and the global one holds."""

    name: str
    file: str
    line: int
    given: Mapping[str, str] = field(repr=False)
    """The pairs as written; a password is among them, so this is never shown."""
    forced_user: str = ""

    @property
    def host(self) -> str:
        """Host, list of hosts, or socket folder; empty for the default socket."""
        return self.given.get("host", "")

    @property
    def port(self) -> int:
        """The server's port."""
        return leading_integer(self.given["port"]) if "port" in self.given else 5432

    @property
    def dbname(self) -> str:
        """The name on the server."""
        return self.given.get("dbname", self.name)

    @property
    def pool_mode(self) -> str:
        """The entry's own pool mode, empty if it has none."""
        return self.given.get("pool_mode", "").lower()

    def number(self, *keys: str) -> int | None:
        """The last of these keys that is given, read by atoi; None if none is, or if it is negative."""
        return _number(self.given, *keys)

    @property
    def reserve(self) -> int | None:
        """The entry's own reserve, under its old or its new name."""
        return self.number("reserve_pool", "reserve_pool_size")

    @property
    def servers(self) -> tuple[tuple[str, int], ...]:
        """The servers behind the entry as (host, port); a list of hosts is several."""
        return tuple((host.strip(), self.port) for host in self.host.split(",")) if self.host else (("", self.port),)


@dataclass(frozen=True, slots=True)
class User:
    """One entry of `[users]`. A number that is None is not given, or no limit of its own, and the global one holds."""

    name: str
    file: str
    line: int
    given: Mapping[str, str]

    @property
    def pool_mode(self) -> str:
        """The user's own pool mode, empty if there is none."""
        return self.given.get("pool_mode", "").lower()

    @property
    def pool_size(self) -> int | None:
        """The user's own size of every pool."""
        return _number(self.given, "pool_size")

    @property
    def reserve(self) -> int | None:
        """The user's own reserve in every pool."""
        return _number(self.given, "reserve_pool_size")

    @property
    def max_connections(self) -> int | None:
        """The user's own max_user_connections; 0 and less give way to the global one."""
        return _number(self.given, "max_user_connections") or None

    @property
    def max_clients(self) -> int | None:
        """The user's own max_user_client_connections; 0 and less give way to the global one."""
        return _number(self.given, "max_user_client_connections") or None


@dataclass(frozen=True, slots=True)
class Peer:
    """One entry of `[peers]`."""

    id: int
    file: str
    line: int
    given: Mapping[str, str]


def given(text: str, keys: Mapping[str, int], version: Version, *, what: str) -> dict[str, str]:
    """The pairs of a connection string. Raises Refused at the first that this version does not take."""
    taken: dict[str, str] = {}
    unknown = "unrecognized user parameter" if what == "user" else "unrecognized connection parameter"
    try:
        for key, value in pairs(text):
            if keys.get(key, 99) > version.minor:
                raise Refused(f"{unknown}: {key}")
            if key == "port" and leading_integer(value) == 0:
                raise Refused(f"invalid port: {value}")
            if key in _WORDS:
                _check_word(key, value, version)
            taken.pop(key, None)
            taken[key] = value
    except BadString:
        raise Refused(
            "syntax error in user settings" if what == "user" else "syntax error in connection string"
        ) from None
    return taken


def database(name: str, text: str, file: str, line: int, version: Version) -> Database:
    """An entry of `[databases]`. Raises Refused with the daemon's words.

    The connection string of `*` is taken as it stands and read only when a client comes, so a mistake in it is not
    refused here; see `autodb_problem`.
    """
    if name == "pgbouncer":
        raise Refused(f'database name "{name}" is reserved')
    if name == "*":
        try:
            held = given(text, parameters.DATABASE_KEYS, version, what="database")
        except Refused:
            held = {}
        return Database(name, file, line, held, held.get("user", ""))
    held = given(text, parameters.DATABASE_KEYS, version, what="database")
    if len(name.encode("utf-8", "surrogateescape")) > MAX_DATABASE_NAME:
        raise Refused("cannot create database, no memory?")
    return Database(name, file, line, held, held.get("user", ""))


def autodb_problem(text: str, version: Version) -> str | None:
    """What is wrong with the connection string of `*`: every client of an unlisted database would be turned away."""
    try:
        given(text, parameters.DATABASE_KEYS, version, what="database")
    except Refused as error:
        return str(error)
    return None


def user(name: str, text: str, file: str, line: int, version: Version) -> User:
    """An entry of `[users]`. Raises Refused with the daemon's words."""
    return User(name, file, line, given(text, parameters.USER_KEYS, version, what="user"))


def peer(name: str, text: str, file: str, line: int, version: Version) -> Peer:
    """An entry of `[peers]`. Raises Refused with the daemon's words."""
    number = name.removeprefix("+")
    identity = int(number) if number.isascii() and number.isdigit() and len(number) < 9 else 0
    if not 0 < identity <= 0xFFFF:
        raise Refused("ids of peers must be a number larger than 0 and at most 65536")
    held = given(text, parameters.PEER_KEYS, version, what="peer")
    if "host" not in held:
        raise Refused(f"host was not provided for peer {identity}")
    return Peer(identity, file, line, held)


def misread(pairs_given: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """Numbers that atoi reads otherwise than they look: key to (as written, as read)."""
    return {
        key: (value, leading_integer(value))
        for key, value in pairs_given.items()
        if key in _NUMBERS and str(leading_integer(value)) != value
    }


def _check_word(key: str, value: str, version: Version) -> None:
    try:
        word(key, value, version)
    except InvalidValue:
        name = "pool mode" if key == "pool_mode" else key
        raise Refused(f"invalid {name}: {value}") from None
