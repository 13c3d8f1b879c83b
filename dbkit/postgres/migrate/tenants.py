"""The schemas of a database that hold the same tables, one for each tenant: which there are, and revisions for any.

It is Alembic's own recipe ("schema-level multi tenancy"): revisions name no schema, the search_path is the tenant's
schema alone, and each schema has its own alembic_version. So `alembic upgrade` with such an env.py, and dbkit, move the
same schemas in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from dbkit.errors import Refused, UsageError
from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import Connection, fetch


def schemas(connection: Connection, patterns: Sequence[str]) -> tuple[str, ...]:
    """Schemas that match one of the patterns (`*` and `?` as in pg_dump -n), sorted. Raises UsageError for none."""
    rows = fetch(
        connection,
        "select n.nspname::text as name from pg_catalog.pg_namespace n "
        "where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'dbkit') order by n.nspname",
    )
    names = [str(row["name"]) for row in rows]
    found = tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))
    if not found:
        raise UsageError(
            f"no schema matches {', '.join(patterns)}",
            hint=f"there are {', '.join(names) or 'none'}; `*` stands for any characters",
        )
    return found


def unplaced(text: str, schema: str) -> str:
    """The text with the schema's name taken away before each name it qualifies."""
    name = quote(schema)
    escaped = name.replace('"', '\\"')
    return re.sub(rf"(?<![\w.\"$])(?:{re.escape(escaped)}|{re.escape(name)})\.(?=[\w\"\\])", "", text)


def require_unplaced(text: str, schema: str, change: str) -> None:
    """Raise Refused when the text still names the schema: as a literal, where no search_path reaches."""
    if re.search(rf"""['"]{re.escape(schema)}['"]""", text):
        raise Refused(
            f"{change} cannot be written for any schema",
            why=f"its statements look schema {schema} up by name in the catalogue",
            hint="leave --any-schema away and write it for one schema",
        )
