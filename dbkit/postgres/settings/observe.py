"""Reads a running server's settings and the facts beside them; what this role may not see keeps its reason.

The auditor's own session is not mistaken for the server: a setting its session, role or database changed is taken from
what the files and the compiled-in defaults say. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, LiteralString

import psycopg
from psycopg import errors

from dbkit import assets, secrets
from dbkit.postgres.catalog import quote
from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.checks import shown
from dbkit.postgres.conf.values import InvalidValue, Parameter
from dbkit.postgres.connect import Connection, Server, fetch
from dbkit.postgres.settings.documents import Wanted
from dbkit.postgres.settings.scene import Held, Override, Row, Scene, Size

OWN: Final = frozenset({"session", "client", "user", "database", "database user", "interactive", "test"})
"""Sources of pg_settings that are about the session that asks."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A query beside the settings, and what opens it for a role that may not run it or would see half of it."""

    query: str
    grant: str = ""
    since: int = 14
    """The first version that has it."""
    stats: bool = False
    """Whether rows of other roles are masked without pg_read_all_stats."""


FACTS: Final[Mapping[str, Fact]] = {
    "file_settings": Fact(
        "postgres/file_settings",
        "grant select on pg_file_settings to {user}; grant execute on function pg_show_all_file_settings() to {user}",
    ),
    "hba_rules": Fact(
        "postgres/hba_rules",
        "grant select on pg_hba_file_rules to {user}; grant execute on function pg_hba_file_rules() to {user}",
    ),
    "ident_maps": Fact(
        "postgres/ident_maps",
        "grant select on pg_ident_file_mappings to {user}; "
        "grant execute on function pg_ident_file_mappings() to {user}",
        since=15,
    ),
    "md5_passwords": Fact("postgres/md5_passwords", "only a superuser may read pg_authid"),
    "login_roles": Fact("postgres/login_roles", stats=True),
    "sessions": Fact("postgres/sessions", stats=True),
    "standbys": Fact("postgres/standbys", stats=True),
    "public_rights": Fact("postgres/public_rights"),
    "tenant_tables": Fact("postgres/tenant_tables"),
    "replication_slots": Fact("postgres/replication_slots"),
    "archiver": Fact("postgres/archiver"),
    "freeze_ages": Fact("postgres/freeze_ages"),
    "sequences": Fact("postgres/sequences"),
    "partition_ends": Fact("postgres/partition_ends"),
    "unvalidated_constraints": Fact("postgres/unvalidated_constraints"),
    "prepared_transactions": Fact("postgres/prepared_transactions"),
    "cache_hits": Fact("postgres/cache_hits"),
    "vacuum_state": Fact("postgres/vacuum_state"),
    "tablespaces": Fact("postgres/tablespaces", "grant pg_read_all_settings to {user}"),
    "extensions": Fact("postgres/extensions"),
    "open_connections": Fact("postgres/open_connections"),
}
_SERVICES: Final = (("rds.", "aws"), ("azure.", "azure"), ("cloudsql.", "gcp"))


def scene_of(
    connection: Connection, found: Server, name: str, size: Size, wanted: Wanted, managed: str | None = None
) -> Scene:
    """Everything the setting rules may ask about a server."""
    major = min(found.major, parameters.VERSIONS[-1])
    facts = {key: _fact(connection, found, fact) for key, fact in FACTS.items()}
    overrides = _rows(connection, assets.query("postgres/setting_overrides"))
    rows = _rows(connection, assets.query("postgres/settings"))
    held = _settings(rows, overrides, facts["file_settings"], major)
    return Scene(
        name=name,
        major=major,
        size=size,
        held=held,
        wanted=wanted,
        overrides=tuple(_override(row, held, major) for row in overrides),
        facts=facts,
        user=found.user,
        managed=managed or next((s for p, s in _SERVICES if any(r["name"].startswith(p) for r in rows)), None),
    )


def settings_of(connection: Connection, found: Server) -> Mapping[str, Held]:
    """The settings alone, for comparison with another node or a file."""
    overrides = _rows(connection, assets.query("postgres/setting_overrides"))
    rows = _rows(connection, assets.query("postgres/settings"))
    files = _fact(connection, found, FACTS["file_settings"])
    return _settings(rows, overrides, files, min(found.major, parameters.VERSIONS[-1]))


def _fact(connection: Connection, found: Server, fact: Fact) -> Sequence[Row] | str:
    user = quote(found.user)
    if fact.stats and not (found.reads_all_stats or found.superuser):
        return f"sessions of other roles are masked: grant pg_read_all_stats to {user}"
    if found.major < fact.since:
        return f"PostgreSQL {found.major} does not show it: {fact.since} and newer do"
    try:
        return _rows(connection, assets.query(fact.query))
    except errors.InsufficientPrivilege:
        return f"not permitted to this role: {fact.grant.format(user=user) or 'connect as a superuser'}"
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        return f"the server refused the question: {' '.join(str(error).split())}"


def _rows(connection: Connection, query: LiteralString) -> list[Row]:
    """What a query finds, without the passwords that settings and pg_hba.conf may hold: no rule needs one."""
    return [{key: _shown(row, key, value) for key, value in row.items()} for row in fetch(connection, query)]


def _shown(row: Row, key: str, value: Any) -> Any:
    if key in ("setting", "value", "reset_val") and isinstance(value, str) and row.get("name"):
        return secrets.of_setting(row["name"], value)
    return [secrets.of_option(option) for option in value] if key == "options" and value else value


def _settings(rows: Sequence[Row], overrides: Sequence[Row], files: Sequence[Row] | str, major: int) -> dict[str, Held]:
    """The server's own values, whatever this session, its role or its database has changed for itself."""
    mine = {row["name"].lower() for row in overrides if row["mine"]}
    applied: dict[str, Row] = {}
    for row in files if not isinstance(files, str) else ():
        if row["name"] and row["applied"]:
            applied[row["name"].lower()] = row
    known = parameters.load(major)
    held: dict[str, Held] = {}
    for row in rows:
        name = row["name"].lower()
        parameter = known.get(name)
        if parameter is None:
            continue
        if row["enumvals"]:
            parameter = replace(parameter, choices=tuple(row["enumvals"]))
        parameter = replace(parameter, boot=row["boot_val"])
        if row["source"] not in OWN:
            chosen = name == "wal_buffers" and row["source"] in ("default", "override")
            held[name] = Held(
                parameter,
                "-1" if chosen else row["setting"] or "",  # shown is what the server made of -1
                row["source"],
                row["sourcefile"],
                row["sourceline"],
                row["pending_restart"],
            )
            continue
        value = _behind(row, applied.get(name), overridden=name in mine, files_seen=not isinstance(files, str))
        if value is not None:
            held[name] = _own(parameter, value, applied.get(name), major)
    return held


def _behind(row: Row, entry: Row | None, *, overridden: bool, files_seen: bool) -> str | None:
    """The value the server gives to others; None when it cannot be told."""
    if row["source"] == "session" and not overridden:
        return row["reset_val"]  # we changed it ourselves: what RESET would bring is the server's
    if entry is not None:
        return entry["setting"]
    return row["boot_val"] if files_seen else None


def _own(parameter: Parameter, value: str, entry: Row | None, major: int) -> Held:
    taken = _canonical(parameter, value, major)
    if entry is None:
        return Held(parameter, taken)
    return Held(parameter, taken, "configuration file", entry["sourcefile"], entry["sourceline"])


def _canonical(parameter: Parameter, value: str, major: int) -> str:
    try:
        return shown(parameter, value, major)
    except InvalidValue:
        return value


def _override(row: Row, held: Mapping[str, Held], major: int) -> Override:
    known = parameters.load(major).get(row["name"].lower())
    here = held.get(row["name"].lower())
    parameter = here.parameter if here else known
    taken = _canonical(parameter, row["value"], major) if parameter else ""
    return Override(row["role"], row["database"], row["name"], row["value"], parameter, taken)


def as_data(scene: Scene) -> dict[str, Any]:
    """The server's settings as the JSON report lists them, for `--baseline` and for other tools."""
    return {
        "target": scene.name,
        "version": str(scene.major),
        "settings": {
            held.parameter.name: {
                "value": held.value,
                "unit": held.parameter.unit,
                "source": held.source,
                "file": held.file,
                "line": held.line,
                "default": held.is_default,
                "pending_restart": held.pending_restart,
            }
            for held in scene.held.values()
        },
        "overrides": [
            {"role": o.role, "database": o.database, "name": o.name, "value": o.value} for o in scene.overrides
        ],
    }
