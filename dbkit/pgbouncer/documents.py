"""The documents as data: policies/pgbouncer.yaml (settings) and policies/connections.yaml (servers and driver
pools).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dbkit import assets, yamlfile
from dbkit.model import Severity
from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.ini.parameters import Version


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Accept(_Model):
    """What also counts as good; with nothing given, only `want`."""

    at_least: float | None = None
    at_most: float | None = None
    one_of: tuple[str, ...] = ()


class Wanted(_Model):
    """One setting: what a fix writes, what else is good, and where it comes from."""

    want: str | int | float | None = None
    """None: the document's value is written down, but no other is a finding."""
    accept: Accept = Accept()
    origin: str
    document: str | None = None
    """What the document says, where `want` is something else."""
    deviates: str | None = None
    """Why it is something else."""
    why: str
    severity: Severity = Severity.INFO
    judged_by: str | None = None
    """The rule that judges it better than a comparison does."""

    def accepts(self, value: str) -> bool:
        """Whether a value, as SHOW CONFIG prints it, is good enough."""
        if self.want is None or value == str(self.want):
            return True
        if value in self.accept.one_of:
            return True
        least, most = self.accept.at_least, self.accept.at_most
        if least is None and most is None:
            return False
        number = float(value)
        return (least is None or number >= least) and (most is None or number <= most)

    @property
    def range(self) -> str:
        """What is good, in words."""
        least, most = self.accept.at_least, self.accept.at_most
        if least is not None and most is not None:
            return f"{least:g} to {most:g}"
        if least is not None:
            return f"at least {least:g}"
        if most is not None:
            return f"at most {most:g}"
        if self.want is None:
            return "any"
        return " or ".join(dict.fromkeys((str(self.want), *self.accept.one_of)))


class Documents(_Model):
    """policies/pgbouncer.yaml."""

    version: Literal[1]
    engine: Literal["pgbouncer"]
    settings: dict[str, Wanted]

    def of(self, version: Version) -> Mapping[str, Wanted]:
        """The settings that a version has."""
        known = parameters.load(version)
        return {name: wanted for name, wanted in self.settings.items() if name in known}


class Bands(_Model):
    """Shares of a capacity, in percent."""

    target: tuple[float, float]
    scale: float
    maximum: float
    origin: str


class Servers(_Model):
    """What holds for every PostgreSQL server that is not looked at itself."""

    max_connections: int
    reserved: int
    origin: str
    bands: Bands
    available_at_least: int
    available_origin: str
    provider_reserved: dict[str, int] = Field(default_factory=dict)
    """Connections that a managed service keeps for itself, by provider."""


class Poolers(_Model):
    """How the pooler runs."""

    processes: int = Field(default=1, ge=1)
    """PgBouncer processes with this file, on all machines together; each has pools of its own."""
    users: int | None = Field(default=None, ge=1)
    """Roles that connect to each database; None: not known."""
    provider: str | None = None
    """The managed service behind, such as azure, whose reserve counts."""


class Driver(_Model):
    """One application's own pool."""

    name: str
    pool: int
    instances: int
    through: Literal["pooler", "direct"] = "pooler"
    servers: tuple[str, ...] = ()
    """With `direct`: the servers it calls, as host or host:port; none named means every one."""
    protocol_prepare: bool = True
    """Whether the driver prepares statements by protocol messages (psycopg 3, JDBC, asyncpg, Npgsql, pgx do)."""
    connect_timeout: float | None = None
    query_timeout: float | None = None
    """Seconds after which the application gives a query up; None if the document says nothing."""
    idle_timeout: float | None = None
    origin: str

    @property
    def connections(self) -> int:
        """All its connections when it is scaled out."""
        return self.pool * self.instances

    def calls(self, host: str, port: int) -> bool:
        """Whether it calls this server directly."""
        return self.through == "direct" and (
            not self.servers or host in self.servers or f"{host}:{port}" in self.servers
        )


class Connections(_Model):
    """policies/connections.yaml."""

    version: Literal[1]
    servers: Servers
    poolers: Poolers = Poolers()
    drivers: tuple[Driver, ...] = ()

    @model_validator(mode="after")
    def _known_provider(self) -> Self:
        known = self.servers.provider_reserved
        if self.poolers.provider is not None and self.poolers.provider not in known:
            held = ", ".join(known) or "none"
            raise ValueError(f"provider {self.poolers.provider!r} has no entry in servers.provider_reserved ({held})")
        return self


@cache
def settings() -> Documents:
    """The documented settings of PgBouncer."""
    return yamlfile.read(assets.path("policies") / "pgbouncer.yaml", Documents, name="policies/pgbouncer.yaml")


@cache
def connections(file: Path | None = None) -> Connections:
    """The connection figures of a file, or those that ship with dbkit. Raises UsageError with file and line."""
    if file is not None:
        return yamlfile.read(file, Connections)
    shipped = assets.path("policies") / "connections.yaml"
    return yamlfile.read(shipped, Connections, name="policies/connections.yaml")
