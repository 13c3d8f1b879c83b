"""What a pooler's console showed: rows read by column name, so that columns may come and go with the version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from dbkit.pgbouncer.ini.parameters import Version
from dbkit.pgbouncer.scene import Config, Pooled, PoolUser

Row: TypeAlias = "Mapping[str, str | None]"
USERS_SHOWN_SINCE: Final = 24
"""The minor version from which SHOW USERS shows more than a user's pool mode."""
USER_SIZES_SINCE: Final = 26
"""From which its pool sizes can be believed: 1.24.1 repeats those of the row above, 1.26.1 does not."""
OWN: tuple[str, ...] = ("pgbouncer",)
"""The console's own database, which is no pool."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One row of SHOW POOLS; counts are 0 where a version does not have the column."""

    database: str
    user: str
    active: int
    waiting: int
    server_active: int
    server_idle: int
    server_used: int
    server_other: int
    maxwait: float
    """Seconds that the oldest client in the queue has waited."""
    pool_mode: str

    @property
    def servers(self) -> int:
        """Server connections that the pool holds."""
        return self.server_active + self.server_idle + self.server_used + self.server_other

    @property
    def busy(self) -> int:
        """Server connections that serve a client."""
        return self.server_active + self.server_other


@dataclass(frozen=True)
class Live:
    """One console at one moment."""

    version: Version
    tables: Mapping[str, Sequence[Row]]
    """Rows by what was shown: config, databases, pools, users, stats, lists, clients."""
    hidden: Mapping[str, str] = field(default_factory=dict[str, str])
    """What could not be shown, and why."""

    def rows(self, what: str) -> Sequence[Row]:
        """The rows of one SHOW; none when it could not be shown."""
        return self.tables.get(what, ())

    @property
    def pools(self) -> list[Pool]:
        """All pools but the console's own."""
        return [_pool(row) for row in self.rows("pools") if row.get("database") not in OWN]

    @property
    def databases(self) -> list[Row]:
        """Rows of SHOW DATABASES but the console's own."""
        return [row for row in self.rows("databases") if row.get("name") not in OWN]

    @property
    def users(self) -> list[Row]:
        """Rows of SHOW USERS but the console's own."""
        return [row for row in self.rows("users") if row.get("name") not in OWN]

    @property
    def values(self) -> dict[str, str]:
        """Every setting in force."""
        return {str(row["key"]): row.get("value") or "" for row in self.rows("config")}

    @property
    def defaults(self) -> dict[str, str | None]:
        """The defaults of this very build, which a distribution may have changed."""
        return {str(row["key"]): row["default"] for row in self.rows("config") if "default" in row}

    @property
    def reloadable(self) -> dict[str, bool]:
        """Which settings RELOAD applies."""
        return {str(row["key"]): row.get("changeable") == "yes" for row in self.rows("config")}

    @property
    def counts(self) -> dict[str, int]:
        """SHOW LISTS."""
        return {str(row["list"]): number(row, "items") for row in self.rows("lists")}


def number(row: Row, *columns: str) -> int:
    """The first of these columns that the row has, as an integer; 0 if it has none or no value."""
    for column in columns:
        if column in row:
            return int(float(row[column] or 0))
    return 0


def config_of(live: Live) -> Config:
    """The configuration that the console shows."""
    values = live.values
    databases = tuple(_pooled(row, values) for row in live.databases)
    return Config(live.version, values, databases, users=tuple(_user(row, live) for row in live.users))


def _user(row: Row, live: Live) -> PoolUser:
    """SHOW USERS fills in the global limits: one that equals them is not its own. Up to 1.23 it shows the mode only."""

    def own(column: str, beside: str = "") -> int | None:
        shown = (row.get(column) or "").strip()
        return int(shown) if shown and shown != live.values.get(beside, "") else None

    sized = live.version.minor >= USER_SIZES_SINCE
    return PoolUser(
        name=row.get("name") or "",
        pool_mode=row.get("pool_mode") or "",
        pool_size=own("pool_size") if sized else None,
        reserve=own("reserve_pool_size") if sized else None,
        max_connections=own("max_user_connections", "max_user_connections"),
        max_clients=own("max_user_client_connections", "max_user_client_connections"),
    )


def _pool(row: Row) -> Pool:
    other = ("sv_tested", "sv_login", "sv_being_canceled", "sv_active_cancel")
    return Pool(
        database=row.get("database") or "",
        user=row.get("user") or "",
        active=number(row, "cl_active"),
        waiting=number(row, "cl_waiting"),
        server_active=number(row, "sv_active"),
        server_idle=number(row, "sv_idle"),
        server_used=number(row, "sv_used"),
        server_other=sum(number(row, column) for column in other),
        maxwait=number(row, "maxwait") + number(row, "maxwait_us") / 1e6,
        pool_mode=row.get("pool_mode") or "",
    )


def _pooled(row: Row, values: Mapping[str, str]) -> Pooled:
    return Pooled(
        name=row.get("name") or "",
        host=row.get("host") or "",
        port=number(row, "port"),
        pool_size=number(row, "pool_size"),
        min_pool_size=number(row, "min_pool_size"),
        reserve=number(row, "reserve_pool_size", "reserve_pool"),
        max_connections=number(row, "max_connections"),
        pool_mode=row.get("pool_mode") or values.get("pool_mode", ""),
        dbname=row.get("database") or "",
        forced_user=row.get("force_user") or "",
    )
