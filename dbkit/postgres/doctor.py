"""What a connection can do: version, rights, extensions, and each blind spot with the GRANT that opens it."""

from __future__ import annotations

from dbkit import assets
from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import connect, fetch, server
from dbkit.settings import Target


def examine(target: Target) -> dict[str, str]:
    """One line per fact, in the order a person asks. Raises Unreachable when there is no connection."""
    with connect(target, purpose="doctor") as connection:
        found = server(connection)
        rights = fetch(connection, assets.query("postgres/rights"))[0]
        extensions = fetch(connection, assets.query("postgres/extensions"))
    user, base = quote(found.user), quote(found.database)
    return {
        "target": target.name,
        "server": f"PostgreSQL {found.version_text}, database {found.database}, user {found.user}",
        "connection": "direct" if found.direct else "through a pooler: audits work, `index apply` needs a direct one",
        "role in replication": "standby, read-only" if found.in_recovery else "primary",
        "compares indexes": _right(rights["temp"], f"grant temporary on database {base} to {user}"),
        "keeps job state": _right(rights["create_schema"], f"grant create on database {base} to {user}"),
        "sees other sessions": _right(found.reads_all_stats, f"grant pg_read_all_stats to {user}"),
        "sees all settings": _right(rights["reads_all_settings"], f"grant pg_read_all_settings to {user}"),
        "extensions": ", ".join(f"{e['name']} {'installed' if e['installed'] else 'available'}" for e in extensions),
    }


def _right(held: bool, grant: str) -> str:
    return "yes" if held else f"no; to open it: {grant}"
