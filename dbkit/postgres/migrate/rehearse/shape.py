"""The tables to be filled with rows, as the catalogue describes them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from dbkit import assets
from dbkit.postgres.connect import fetch
from dbkit.postgres.migrate.names import Name, quote

_CHECK: Final = re.compile(r"\ACHECK \((.*)\)(?: NOT VALID)?\Z", re.DOTALL)


@dataclass(slots=True)
class Column:
    """A column; `base` is the type under any domains, `type` the SQL of the declared one."""

    name: str
    type: str
    base: str
    kind: str
    """pg_type.typtype of the base type: b, e (enum), c (composite), r (range), m (multirange)."""
    category: str
    element: str | None
    element_base: str | None
    length: int | None
    digits: int | None
    scale: int | None
    labels: int
    not_null: bool
    generated: bool
    identity: bool
    default: str | None
    domain: str | None
    fields: list[str]

    @property
    def sql(self) -> str:
        """Its name, quoted where it must be."""
        return quote(self.name)


@dataclass(frozen=True, slots=True)
class Key:
    """A foreign key; `soft` when it is only wished for, because a pending migration is going to add it."""

    child: int
    parent: int
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    soft: bool = False


@dataclass(slots=True)
class Shape:
    """One table with what its rows must satisfy."""

    oid: int
    name: Name
    kind: str
    columns: list[Column]
    checks: list[str]
    """SQL over its column names, the bound of a partition included."""
    unique: list[tuple[str, ...]]
    parent: int | None
    is_default: bool
    """It is the default partition of its parent."""
    partition_key: list[str]
    """Columns by which it is partitioned; empty for expressions and plain tables."""
    keys: list[Key] = field(default_factory=list[Key])
    wishes: list[str] = field(default_factory=list[str])
    """Checks that pending migrations are going to add: met if possible."""

    def column(self, name: str) -> Column:
        """The column of a name."""
        return next(c for c in self.columns if c.name == name)


def read(connection: psycopg.Connection) -> dict[int, Shape]:
    """All tables by oid, partitioned parents included (their rows live in the leaves)."""
    shapes: dict[int, Shape] = {}
    for row in fetch(connection, assets.query("postgres/seed_tables")):
        columns, domain_checks = _columns(connection, row["oid"])
        checks = [*row["checks"], *domain_checks, *([row["bound"]] if row["bound"] else [])]
        unique = [tuple(json.loads(key)) for key in row["unique_keys"]]
        shapes[row["oid"]] = Shape(
            oid=row["oid"],
            name=Name(row["schema"], row["name"]),
            kind=row["kind"],
            columns=columns,
            checks=checks,
            unique=unique,
            parent=row["parent"],
            is_default=row["is_default"],
            partition_key=row["partition_key"],
        )
    for row in fetch(connection, assets.query("postgres/seed_keys")):
        if row["child"] in shapes:
            key = Key(row["child"], row["parent"], tuple(row["columns"]), tuple(row["parent_columns"]))
            shapes[row["child"]].keys.append(key)
    return shapes


def _columns(connection: psycopg.Connection, oid: int) -> tuple[list[Column], list[str]]:
    columns: list[Column] = []
    checks: list[str] = []
    for row in fetch(connection, assets.query("postgres/seed_columns"), [oid, oid]):
        columns.append(_column(row))
        for text in row["domain_checks"]:
            found = _CHECK.match(text)
            if found:
                checks.append(re.sub(r"\bVALUE\b", quote(row["name"]).replace("\\", "\\\\"), found[1]))
    return columns, checks


def _column(row: dict[str, Any]) -> Column:
    return Column(
        name=row["name"],
        type=row["type"],
        base=row["base"],
        kind=row["kind"],
        category=row["category"],
        element=row["element"],
        element_base=row["element_base"],
        length=row["length"],
        digits=row["digits"],
        scale=row["scale"],
        labels=row["labels"],
        not_null=row["not_null"],
        generated=row["generated"],
        identity=row["identity"],
        default=row["default_expression"],
        domain=row["domain"],
        fields=list(row["fields"]),
    )
