"""What a connection can do: server, rights, extensions, and each blind spot with the GRANT that opens it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from dbkit import assets
from dbkit.model import Json
from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import OLDEST, Connection, Server, connect, explain, fetch, server
from dbkit.settings import Target
from dbkit.sizes import format_seconds

_USES: Final = {
    "hypopg": "tries proposed indexes in `index advise`",
    "pg_stat_statements": "ranks statements for `index advise`",
    "pg_trgm": "operator classes of documented indexes (gin_trgm_ops)",
    "pgstattuple": "measures bloat in `audit` where it is only estimated otherwise",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing dbkit can or cannot do here; `opens` is the statement or step that changes a no into a yes."""

    name: str
    held: bool
    words: str
    opens: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found behind one target."""

    target: str
    facts: Mapping[str, str]
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    data: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def lines(self) -> list[str]:
        """For people: facts, then what works and what does not, each with what opens it."""
        shown = [f"{name}: {text}" for name, text in self.facts.items()]
        for check in self.checks:
            shown.append(f"{check.name}: {'yes' if check.held else 'no'}, {check.words}")
            if check.opens:
                shown.append(f"    to open it: {check.opens}")
        return [*shown, *(f"note: {note}" for note in self.notes)]

    def json_data(self) -> dict[str, Json]:
        """For programs."""
        return {
            "target": self.target,
            **self.data,
            "checks": [
                {"name": c.name, "held": c.held, "words": c.words, "opens": c.opens or None} for c in self.checks
            ],
            "notes": list(self.notes),
        }


def examine(target: Target) -> Examination:
    """Connect and look; changes nothing. Raises Unreachable when there is no connection."""
    with connect(target, purpose="doctor") as connection:
        try:
            return _examine(connection, server(connection), target)
        except psycopg.Error as error:
            raise explain(error, f"cannot examine {target.name}") from None


def _examine(connection: Connection, found: Server, target: Target) -> Examination:
    rights = fetch(connection, assets.query("postgres/rights"))[0]
    extensions = fetch(connection, assets.query("postgres/extensions"))
    facts = fetch(connection, assets.query("postgres/statistics"))[0]
    info = connection.info
    address = f"{info.host or 'local socket'}:{info.port}"
    age = (facts["now"] - facts["since"]).total_seconds()
    return Examination(
        target=target.name,
        facts={
            "target": target.name,
            "server": f"PostgreSQL {found.version_text} at {address}, database {found.database}",
            "role": f"{found.user}{' (superuser)' if found.superuser else ''}",
            "connection": "direct" if found.direct else "through a pooler",
            "replication": "standby, read-only"
            if found.in_recovery
            else f"primary, {facts['standbys']} standbys stream",
            "statistics": f"since {facts['since']:%Y-%m-%d %H:%M} ({format_seconds(age)})",
            "state": _state(connection, rights),
        },
        checks=(*_checks(found, rights, facts), *_extensions(extensions, found, rights)),
        notes=tuple(_notes(connection, found, target)),
        data={
            "server": {"version": found.version_text, "address": address, "database": found.database},
            "role": {"name": found.user, "superuser": found.superuser},
            "direct": found.direct,
            "standby": found.in_recovery,
            "standbys": facts["standbys"],
            "statistics_since": facts["since"].isoformat(),
            "tables": {"all": rights["tables"], "owned": rights["owned"], "readable": rights["readable"]},
            "extensions": [{"name": e["name"], "installed": e["installed"], "loaded": e["loaded"]} for e in extensions],
            "state": {"schema": rights["state"], "writable": rights["keeps_state"]},
        },
    )


def _checks(found: Server, rights: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[Check]:
    user, base = quote(found.user), quote(found.database)
    tables, owned, readable = rights["tables"], rights["owned"], rights["readable"]
    yield Check(
        "supported version",
        found.version >= OLDEST,
        "14 to 18",
        "" if found.version >= OLDEST else "upgrade the server",
    )
    yield Check(
        "connects directly",
        found.direct,
        "`index apply` and `apply` need it",
        "" if found.direct else "connect to PostgreSQL itself, usually port 5432; reading works through a pooler",
    )
    yield _right(
        "compares wanted indexes",
        rights["temp"] and not found.in_recovery,
        "on an empty temporary copy of the table",
        "connect to the primary" if found.in_recovery else f"grant temporary on database {base} to {user}",
    )
    yield _right(
        "sees other sessions",
        found.reads_all_stats,
        "builds in progress, who blocks whom",
        f"grant pg_read_all_stats to {user}",
    )
    yield _right(
        "sees all settings", rights["reads_all_settings"], "also those only superusers see",
        f"grant pg_read_all_settings to {user}",
    )  # fmt: skip
    yield _right(
        "reads column statistics",
        readable == tables,
        f"{readable} of {tables} tables are readable; without it bloat is not estimated",
        f"grant pg_read_all_data to {user}",
    )
    yield _right(
        "builds indexes",
        owned == tables and not found.in_recovery,
        f"owns {owned} of {tables} tables",
        "connect to the primary"
        if found.in_recovery
        else " or ".join(f"grant {quote(owner)} to {user}" for owner in rights["owners"]),
    )
    keeps = rights["keeps_state"] if rights["state"] else rights["create_schema"]
    opens = (
        f"grant usage on schema dbkit to {user}; grant select, insert, update, delete on all tables in schema dbkit "
        f"to {user}"
        if rights["state"]
        else f"grant create on database {base} to {user}"
    )
    yield _right("keeps job state", keeps and not found.in_recovery, "schema dbkit, made by the first `apply`", opens)
    yield _right(
        "counts index scans", facts["counts"], "what `pg.index-unused` judges by", "alter system set track_counts = on"
    )


def _extensions(rows: list[dict[str, Any]], found: Server, rights: Mapping[str, Any]) -> Iterator[Check]:
    for row in rows:
        name, use = row["name"], _USES[row["name"]]
        if row["installed"] is None:
            opens = f"create extension {name}" if row["available"] else f"install the package with {name} on the server"
            if name == "pg_stat_statements" and not row["loaded"]:
                opens += "; add it to shared_preload_libraries and restart"
            yield Check(name, False, use, opens)
        elif name == "pg_stat_statements" and not row["loaded"]:
            yield Check(name, False, f"{use}; installed, not loaded", "add it to shared_preload_libraries and restart")
        elif name == "pgstattuple" and not (found.superuser or rights["scans_tables"]):
            yield Check(name, False, f"{use}; installed", f"grant pg_stat_scan_tables to {quote(found.user)}")
        else:
            yield Check(name, True, f"{use}; version {row['installed']}")


def _state(connection: Connection, rights: Mapping[str, Any]) -> str:
    if not rights["state"]:
        return "none yet: the first `apply` makes schema dbkit"
    if not rights["keeps_state"]:
        return "schema dbkit is there; this role may not read it"
    counts = fetch(connection, assets.query("postgres/job_counts"))
    return ", ".join(f"{row['jobs']} {row['status']}" for row in counts) + " jobs" if counts else "no job so far"


def _notes(connection: Connection, found: Server, target: Target) -> Iterator[str]:
    for row in fetch(connection, assets.query("postgres/exclusive_locks"))[:5]:
        lasts = f" for {format_seconds(row['seconds'])}" if row["seconds"] is not None else ""
        yield (
            f"pid {row['pid']} ({row['username'] or 'unknown role'}, {row['application_name'] or 'no name'}) holds "
            f"ACCESS EXCLUSIVE on {quoted(row['schema'], row['name'])}{lasts}; {row['waiting']} wait for it"
        )
    if found.in_recovery and not target.replicas:
        yield "index scans of this standby count for its primary when the primary's target names it in `replicas`"


def _right(name: str, held: bool, words: str, opens: str) -> Check:
    return Check(name, held, words, "" if held else opens)
