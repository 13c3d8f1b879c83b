"""Whether values of a new type fit into the old one: asked before the way back after contract, then held by a check."""

from __future__ import annotations

import re
from typing import Final

import psycopg
from psycopg import sql

from dbkit.errors import Refused
from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate.changes import words
from dbkit.postgres.migrate.changes.facts import Column
from dbkit.postgres.migrate.revisions import Revision

_RANGES: Final = {"int2": 2**15, "int4": 2**31, "int8": 2**63}


def condition(column: Column, type_: str, category: str) -> str | None:
    """What a value of `type_` under the column's name must meet to become the column's own type and lose nothing.

    An empty string where every value fits; None where it cannot be asked, because the question itself may fail.
    Null fits.
    """
    name = quote(column.name)
    size = _size(column.type)
    if column.base in _RANGES and category == "N":
        most = _RANGES[column.base]
        whole = "" if type_ in ("smallint", "integer", "bigint") else f" and {name} = trunc({name})"
        return f"{name} between {-most} and {most - 1}{whole}"
    if column.base == "numeric" and category == "N" and not type_.startswith(("real", "double")):
        if not size:
            return ""
        digits, scale = size[0], size[1] if len(size) > 1 else 0
        return f"{name} = round({name}, {scale}) and abs({name}) < 1e{digits - scale}"
    if column.base in ("text", "varchar", "bpchar") and (category == "S" or column.base != "bpchar"):
        return f"length({name}::text) <= {size[0]}" if size else "" if column.base != "bpchar" else None
    if column.base == "date" and type_ == "timestamp without time zone":
        return f"{name} = {name}::date"
    if column.base == "bool" and type_ == "integer":
        return f"{name} in (0, 1)"
    if column.base == "json" and type_ == "jsonb":
        return ""
    return None


def _size(type_: str) -> list[int]:
    """`(10,2)` of a type as the server prints it."""
    found = re.search(r"\(([\d,-]+)\)", type_)
    return [int(n) for n in found[1].split(",")] if found else []


def refuse_lost(connection: Connection, revision: Revision) -> None:
    """Raise Refused, with their number, when rows hold values that the way back of a contract would lose."""
    told: list[str] = []
    for entry in (revision.change or {}).get("fits", ()):
        words.expression(str(entry["holds"]), "fits")
        query = sql.SQL("select count(*) from {} where not ({})").format(
            sql.Identifier(str(entry["schema"]), str(entry["table"])), words.trusted(str(entry["holds"]))
        )
        try:
            row = connection.execute(query).fetchone()
        except psycopg.errors.UndefinedTable:
            continue
        if row and row[0]:
            told.append(f"in {row[0]} row{'s' if row[0] > 1 else ''} {entry['told']}")
    if told:
        raise Refused(
            f"revision {revision.id} cannot be rolled back; nothing was changed", why="; ".join(told),
            hint="change or remove these rows and run the same command again, or stay with the new type",
        )  # fmt: skip
