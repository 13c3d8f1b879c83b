"""What an enum type is and what rests on it, read in one snapshot."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import psycopg

from dbkit import assets
from dbkit.errors import UsageError
from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import Connection, fetch


@dataclass(frozen=True, slots=True)
class Holder:
    """A column of the type, of an array or a domain of it, or of a composite type that holds it."""

    schema: str
    table: str
    column: str
    type: str
    default: str | None
    divides: bool
    """Whether the table is partitioned by it."""

    def __str__(self) -> str:
        return f"{quoted(self.schema, self.table)}.{quote(self.column)}"


@dataclass(frozen=True, slots=True)
class EnumType:
    """One enum type."""

    schema: str
    name: str
    owned: bool
    owner: str
    labels: tuple[str, ...]
    """In the order in which they sort."""
    alphabetical: tuple[str, ...]
    """As text sorts them, by the database's own collation."""
    columns: tuple[Holder, ...]
    names: tuple[str, ...]
    """What names its values or the type itself, in words: checks, indexes, views, policies, triggers, functions."""

    @property
    def sql(self) -> str:
        """The qualified name, quoted where it must be."""
        return quoted(self.schema, self.name)


def read(connection: Connection, name: str) -> EnumType:
    """The enum type named as a user writes it: `mood`, `app.mood`. Raises UsageError when it is none."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        connection.execute("set local search_path to default")
        try:
            with connection.transaction():
                oid = fetch(connection, "select pg_catalog.to_regtype(%s)::oid::bigint as oid", [name])[0]["oid"]
        except psycopg.Error as error:
            raise UsageError(f"{name} is not the name of a type", why=error.diag.message_primary) from None
        connection.execute("set local search_path = pg_catalog")
        row = fetch(connection, assets.query("postgres/enum_facts"), {"type": oid})[0] if oid else None
        if row is not None and row["kind"] == "e":
            return EnumType(
                schema=row["schema"], name=row["name"], owned=row["owned"], owner=row["owner"],
                labels=tuple(row["labels"]), alphabetical=tuple(row["alphabetical"]),
                columns=tuple(Holder(**c) for c in row["columns"]), names=tuple(row["names"]),
            )  # fmt: skip
        known = fetch(
            connection,
            "select n.nspname || '.' || t.typname as name from pg_type t join pg_namespace n on n.oid = t.typnamespace "
            "where t.typtype = 'e'",
        )
    names = [str(k["name"]) for k in known]
    near = difflib.get_close_matches(name if "." in name else f"public.{name}", names, n=1)
    what = f"{name} is not an enum type" if row else f"there is no type {name} in this database"
    raise UsageError(what, hint=f"did you mean {near[0]}?" if near else "write it as schema.type")
