"""`dbkit doctor`: what a connection can do, what it cannot see, and the GRANT that opens it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from dbkit.cli import output
from dbkit.cli.options import Config, Dsn, Format, OutputFormat, TargetNames
from dbkit.errors import EXIT_UNREACHABLE, DbkitError, UsageError

if TYPE_CHECKING:
    from dbkit.pgbouncer.doctor import Examination as Pooler
    from dbkit.postgres.doctor import Examination as Server
    from dbkit.settings import Settings, Target

    Seen = Pooler | Server

EXAMINED = ("postgres", "pgbouncer")
LIBPQ = ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE", "PGPASSFILE", "PGSSLMODE")
SECRET = ("DBKIT_DSN", "PGPASSWORD")
OWN = ("DBKIT_CONFIG", "DBKIT_POLICY", "DBKIT_DEBUG")


def doctor(
    names: Annotated[list[str] | None, typer.Argument(help="Targets of dbkit.toml.", show_default=False)] = None,
    target: TargetNames = None,
    dsn: Dsn = None,
    config: Config = None,
    fmt: OutputFormat = Format.TEXT,
) -> None:
    """Connect, and say what this role can do and see; exit 3 when it cannot connect.

    Also shows the configuration in force, each value with where it comes from. Passwords and connection strings are
    never shown.

    Examples:

      dbkit doctor prod

      dbkit doctor --dsn postgresql://dba@db/app --format json
    """
    if fmt not in (Format.TEXT, Format.JSON):
        raise UsageError(f"doctor does not write {fmt.value}", hint="use --format text or json")
    from dbkit import settings

    held = settings.load(config)
    chosen = held.choose((*(names or ()), *(target or ())), dsn)
    for one in chosen:
        if one.engine not in EXAMINED:
            raise UsageError(f"target {one.name!r} is {one.engine}, which doctor does not know yet")
    values = list(_configuration(held, chosen, dsn))
    failed: list[DbkitError] = []
    found: list[Mapping[str, object]] = []
    if fmt is Format.TEXT:
        print("\n".join(f"{name} = {value}  ({source})" for name, value, source in values), end="\n\n")
    for one in chosen:
        try:
            seen = _examine(held, one)
        except DbkitError as error:
            failed.append(error)
            found.append({"target": one.name, "error": error.what, "why": error.why, "hint": error.hint})
            continue
        found.append(seen.json_data())
        if fmt is Format.TEXT:
            print("\n".join(seen.lines()), end="\n\n")
    if fmt is Format.JSON:
        rows = [{"name": name, "value": value, "source": source} for name, value, source in values]
        print(json.dumps({"configuration": rows, "targets": found}, indent=2, ensure_ascii=False))
    if len(failed) == 1:
        raise failed[0]
    for error in failed:
        output.note("\n".join(error.lines()))
    if failed:
        raise typer.Exit(EXIT_UNREACHABLE)


def _examine(held: Settings, one: Target) -> Seen:
    if one.engine == "pgbouncer":
        from dbkit.pgbouncer.doctor import examine as examine_pooler

        return examine_pooler(one, held.directory / one.ini if one.ini else None)
    from dbkit.postgres.doctor import examine

    return examine(one)


def _configuration(held: Settings, chosen: tuple[Target, ...], dsn: str | None) -> Iterator[tuple[str, str, str]]:
    """Every value that decides what happens, and where it comes from; of secrets only that they are set."""
    if not held.targets and not held.default_target and held.policy is None:
        yield "config", "none", held.sources.get("config", "no dbkit.toml, no [tool.dbkit]")
    for key in ("default_target", "policy"):
        value = getattr(held, key)
        if value is not None:
            yield key, str(value), held.sources.get(key, "default")
    for one in chosen:
        source = held.sources.get(f"targets.{one.name}")
        if source is None:
            source = "--dsn" if dsn is not None else "DBKIT_DSN" if one.address is not None else "libpq's environment"
        yield f"target {one.name}", _described(one), source
    for name in (*OWN, *LIBPQ):
        if name in os.environ:
            yield name, os.environ[name], "environment"
    for name in SECRET:
        if name in os.environ:
            yield name, "set, not shown", "environment"


def _described(one: Target) -> str:
    parts = [one.engine]
    if one.dsn_env:
        parts.append(f"address in {one.dsn_env}")
    if one.service:
        parts.append(f"service {one.service}")
    parts += [
        f"{name} {', '.join(value)}" for name, value in (("indexes", one.indexes), ("replicas", one.replicas)) if value
    ]
    if one.policy:
        parts.append(f"policy {one.policy}")
    return ", ".join(parts)
