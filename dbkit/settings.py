"""Configuration: what a run is told, from where, and which targets it may name.

Order: flag > `DBKIT_*` > nearest `dbkit.toml` upwards > `[tool.dbkit]` in pyproject.toml > default. Every value keeps
its source, which `dbkit doctor` shows. Passwords do not belong in these files: a target names the environment variable
that holds its DSN (`dsn_env`) or a libpq service (`service`), and libpq does the rest (PGHOST, service files, .pgpass).
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from dbkit import configuration
from dbkit.errors import UsageError
from dbkit.sizes import parse_bytes

Engine: TypeAlias = Literal["postgres", "pgbouncer", "mongo", "elastic"]
_SCHEMES: Final[dict[str, Engine]] = {
    "postgres": "postgres",
    "postgresql": "postgres",
    "pgbouncer": "pgbouncer",
    "mongodb": "mongo",
    "mongodb+srv": "mongo",
    "http": "elastic",
    "https": "elastic",
}


class Target(BaseModel):
    """A named server, pooler or cluster. `dsn` is only ever set from a flag or the environment, never from a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    engine: Engine = "postgres"
    dsn_env: str | None = None
    service: str | None = None
    memory: int | None = None
    """Bytes of memory of the server's machine."""
    cpus: int | None = None
    storage: Literal["ssd", "hdd", "san"] = "ssd"
    indexes: tuple[str, ...] = ()
    """Files or folders with the wanted `create index` statements, relative to the configuration file."""
    settings: str | None = None
    """A file of wanted settings instead of the shipped ones, relative to the configuration file."""
    policy: str | None = None
    replicas: tuple[str, ...] = ()
    """Names of other targets that are standbys of this one; what they count of indexes and statements counts too."""
    ini: str | None = None
    """A pooler's pgbouncer.ini, relative to the configuration file."""
    servers: tuple[str, ...] = ()
    """Names of the PostgreSQL targets behind a pooler."""
    processes: int | None = None
    """PgBouncer processes with this configuration, on all machines together."""
    connections: str | None = None
    """A file with your own connection figures (policies/connections.yaml), relative to the configuration file."""
    address: str | None = None
    """The DSN as given by a flag or DBKIT_DSN."""

    @field_validator("memory", mode="before")
    @classmethod
    def _memory(cls, value: Any) -> Any:
        return parse_bytes(value) if isinstance(value, str) else value

    def dsn(self, environ: Mapping[str, str] = os.environ) -> str:
        """The connection string; empty means libpq's own environment decides. Raises UsageError if dsn_env is unset."""
        if self.address is not None:
            return self.address
        if self.dsn_env is not None:
            held = environ.get(self.dsn_env)
            if not held:
                raise UsageError(
                    f"target {self.name!r} wants the environment variable {self.dsn_env}, which is not set",
                    hint=f"export {self.dsn_env}=postgresql://user@host/database",
                )
            return held
        return f"service={self.service}" if self.service else ""


class Settings(BaseModel):
    """The merged configuration; `sources` says where each value came from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    targets: dict[str, Target] = {}
    default_target: str | None = None
    policy: str | None = None
    sources: dict[str, str] = {}
    directory: Path = Path()
    """Where relative paths of the configuration start: the folder of the file it was read from."""

    def choose(self, names: tuple[str, ...] = (), dsn: str | None = None) -> tuple[Target, ...]:
        """The targets a command runs on: those named, the one a DSN describes, or the default.

        With nothing named: DBKIT_DSN, then `default_target`, then the file's only target, then libpq's environment.
        """
        if dsn is not None:
            return (from_address(dsn),)
        if names:
            return tuple(self._named(name) for name in names)
        held = os.environ.get("DBKIT_DSN")
        if held:
            return (from_address(held),)
        if self.default_target:
            return (self._named(self.default_target),)
        if len(self.targets) == 1:
            return tuple(self.targets.values())
        if self.targets:
            known = ", ".join(sorted(self.targets))
            raise UsageError("several targets are configured and none is named", hint=f"add -t with one of: {known}")
        return (Target(name="default"),)

    def _named(self, name: str) -> Target:
        if name in self.targets:
            return self.targets[name]
        near = difflib.get_close_matches(name, self.targets, n=1)
        known = ", ".join(sorted(self.targets)) or "none is configured; use --dsn, or add it to dbkit.toml"
        hint = f"did you mean {near[0]!r}?" if near else f"known targets: {known}"
        raise UsageError(f"no target is called {name!r}", hint=hint)


def from_address(address: str) -> Target:
    """A target for a DSN given on the spot; its engine follows from the scheme."""
    scheme = address.partition("://")[0].lower() if "://" in address else "postgresql"
    base = scheme.partition("+")[0] if scheme not in _SCHEMES else scheme
    engine = _SCHEMES.get(base)
    if engine is None:
        raise UsageError(
            f"no engine answers to the scheme {scheme!r}",
            hint="use postgresql://, pgbouncer://, mongodb:// or https:// (Elasticsearch), or a libpq key=value string",
        )
    if engine == "postgres" and scheme != base:
        address = address.replace(f"{scheme}://", f"{base}://", 1)  # postgresql+psycopg:// is SQLAlchemy's spelling
    return Target(name="dsn", engine=engine, address=address)


def load(config: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration that holds in the current folder. Raises UsageError naming the file."""
    file = configuration.file(config, environ)
    policy = environ.get("DBKIT_POLICY")
    if file is None:
        sources = {"config": "none found"} | ({"policy": "DBKIT_POLICY"} if policy else {})
        return Settings(policy=policy or None, sources=sources)
    table = _table(file)
    raw_targets = table.pop("targets", {})
    if not isinstance(raw_targets, dict):
        raise UsageError(f"{file}: targets must be tables", hint="write [targets.NAME]")
    for name, entry in raw_targets.items():  # pyright: ignore[reportUnknownVariableType]
        _refuse_secrets(str(name), entry, file)  # pyright: ignore[reportUnknownArgumentType]
    sources = {key: str(file) for key in (*table, *(f"targets.{n}" for n in raw_targets))}  # pyright: ignore[reportUnknownVariableType]
    if policy:
        table["policy"], sources["policy"] = policy, "DBKIT_POLICY"
    named: dict[str, Any] = {str(n): {"name": str(n), **e} for n, e in raw_targets.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    try:
        return Settings.model_validate({**table, "targets": named, "sources": sources, "directory": file.parent})
    except ValidationError as error:
        raise _complaint(file, error) from None


def _table(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            data = tomllib.load(stream)
    except OSError as error:
        hint = "--config and DBKIT_CONFIG name a file; without them the nearest dbkit.toml upwards is read"
        raise UsageError(f"cannot read {file}", why=error.strerror, hint=hint) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not valid TOML", why=str(error), hint="`dbkit explain config` shows one") from None
    return dict(data.get("tool", {}).get("dbkit", {})) if file.name == "pyproject.toml" else data


def _refuse_secrets(name: str, entry: Any, file: Path) -> None:
    if not isinstance(entry, dict):
        raise UsageError(f"{file}: target {name!r} must be a table", hint=f"write [targets.{name}]")
    for key, value in entry.items():  # pyright: ignore[reportUnknownVariableType]
        looks_secret = key in ("dsn", "address", "url", "uri", "password") or (
            isinstance(value, str) and re.search(r"://[^/@\s]*:[^/@\s]+@|password\s*=", value)
        )
        if looks_secret:
            raise UsageError(
                f"{file}: target {name!r} holds a connection string or password under {key!r}",
                why="a file with a password is copied, committed and logged",
                hint='put it into the environment and write dsn_env = "PROD_URL", or use service = "prod" with .pgpass',
            )


def _complaint(file: Path, error: ValidationError) -> UsageError:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        model = Target if first["loc"][0] == "targets" else Settings
        known = [k for k in model.model_fields if k not in ("name", "address", "sources", "directory")]
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        return UsageError(
            f"{file}: unknown key {key!r}", hint=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        )
    return UsageError(f"{file}: {key}: {first['msg']}")
