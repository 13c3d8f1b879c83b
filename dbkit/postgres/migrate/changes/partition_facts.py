"""What hangs on a table and decides whether, and how, a partitioned one can take its place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import psycopg
from psycopg import sql

from dbkit import assets
from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.changes.design import Refusals
from dbkit.postgres.migrate.changes.facts import Column, Index, Table

LOOK = "5s"
CONFLICT_KEY = "unique"


@dataclass(frozen=True, slots=True)
class Policy:
    """A row security policy; expressions as the server prints them."""

    name: str
    permissive: bool
    command: str
    roles: tuple[str, ...]
    using: str | None
    check: str | None
    comment: str | None


@dataclass(frozen=True, slots=True)
class View:
    """A view that reads the table, by its qualified and quoted name."""

    name: str
    kind: str
    options: tuple[str, ...]
    definition: str


@dataclass(frozen=True, slots=True)
class More:
    """Beside `facts.Table`: storage, policies, views, and what is bound to the table itself rather than to its name."""

    persistence: str
    typed: bool
    method: str | None
    tablespace: str | None
    options: tuple[str, ...]
    """Storage parameters, those of the TOAST table too: `fillfactor=70`."""
    rules: tuple[str, ...]
    policies: tuple[Policy, ...]
    views: tuple[View, ...]
    bound: tuple[str, ...]
    transition_triggers: tuple[str, ...]
    taken: frozenset[str]
    """Names of relations in the schema."""


def read(connection: Connection, table: Table) -> More:
    """The facts, in one query."""
    with connection.transaction():
        connection.execute("set local search_path = pg_catalog")
        row = fetch(connection, assets.query("postgres/partition_facts"), {"table": table.oid})[0]
    made: dict[str, Any] = dict(row)
    made["options"] = tuple(map(str, [*made["options"], *made.pop("toast_options")]))
    for policy in made["policies"]:
        policy["roles"] = tuple(policy["roles"])
    for view in made["views"]:
        view["options"] = tuple(view["options"])
    made["policies"] = tuple(Policy(**p) for p in made["policies"])
    made["views"] = tuple(View(**v) for v in made["views"])
    for name in ("rules", "bound", "transition_triggers"):
        made[name] = tuple(map(str, made[name]))
    made["taken"] = frozenset(map(str, made["taken"]))
    return More(**made)


def highest(connection: Connection, table: Table, column: Column) -> date | int | None:
    """The highest value of the column, None where there is none or it cannot be had within seconds."""
    shown = sql.SQL("timezone('UTC', max({}))::date" if column.base == "timestamptz" else "max({})")
    query = sql.SQL("select {} from {} where {}").format(
        shown.format(sql.Identifier(column.name)),
        sql.Identifier(table.schema, table.name),
        # `infinity` has no date; rows that hold it are met by the check.
        sql.SQL("isfinite({})").format(sql.Identifier(column.name))
        if column.base in ("date", "timestamp", "timestamptz")
        else sql.SQL("true"),
    )
    try:
        with connection.transaction():
            connection.execute(sql.SQL("set local statement_timeout = {}").format(sql.Literal(LOOK)))
            row = connection.execute(query).fetchone()
    except psycopg.errors.QueryCanceled:
        return None
    value = row[0] if row else None
    return value.date() if isinstance(value, datetime) else value


def today() -> date:
    """The day it is in UTC."""
    return datetime.now(UTC).date()


def lacking(table: Table, column: str) -> list[Index]:
    """Unique indexes, those of constraints too, without the column: over partitions there can be none such."""
    return [i for i in table.indexes if i.unique and column not in keys_of(table, i)]


def keys_of(table: Table, index: Index) -> tuple[str, ...]:
    """The columns an index is unique over: those of its constraint in their order, else those it uses."""
    held = next((c for c in table.constraints if c.index == index.oid and c.kind in "pu"), None)
    return held.columns if held else index.uses


def generated(table: Table, index: Index) -> bool:
    """Whether the server makes the values of a key: then two rows do not come to hold the same."""
    columns = [table.column(c) for c in keys_of(table, index)]
    made = ("nextval(", "gen_random_uuid(", "uuidv", "uuid_generate_v")
    return any(c.identity or any(m in (c.default or "") for m in made) for c in columns)


def refuse(table: Table, more: More, column: Column, reasons: Refusals) -> None:
    """All that keeps this table from becoming a partition of another under its own name."""
    where = f"{table.sql}.{quote(column.name)}"
    if table.kind == "p":
        reasons.add(f"{table.sql} is partitioned already")
    elif table.kind != "r":
        reasons.add(f"{table.sql} is not a table")
    if table.major < 15:
        reasons.add("it was proved on PostgreSQL 15 and newer only")
    if not table.owned:
        reasons.add(f"this role is not the owner {table.owner} of {table.sql}")
    elif not table.may_create:
        reasons.add(f"this role may not create in schema {quote(table.schema)}")
    if table.is_partition:
        reasons.add(f"{table.sql} is a partition itself")
    if table.inherits:
        reasons.add(f"{table.sql} has inheritance")
    if more.persistence != "p":
        reasons.add(f"{table.sql} is {'unlogged' if more.persistence == 'u' else 'temporary'}")
    if more.typed or more.method not in ("heap", None):
        reasons.add(f"{table.sql} is made of a type or by the access method {more.method}")
    if not column.not_null:
        reasons.add(
            f"{where} may be null, and null lies in no range (`dbkit migrate new set-not-null "
            f"{table.schema}.{table.name}.{column.name}` first)"
        )
    if column.generated is not None:
        reasons.add(f"{where} is a generated column")
    _refuse_keys(table, column, reasons)
    _refuse_hanging(table, more, reasons)


def _refuse_keys(table: Table, column: Column, reasons: Refusals) -> None:
    for index in table.indexes:
        if not index.valid:
            reasons.add(f"index {quote(index.name)} is not valid: build it again or drop it first")
    for index in lacking(table, column.name):
        held = ", ".join(keys_of(table, index))
        if not generated(table, index):
            reasons.add(
                f"{quote(index.name)} keeps {held} unique, and over partitions only {held} together with {column.name} "
                "can be: the same value may then come twice",
                accept=CONFLICT_KEY,
            )
    for child in table.children:
        if (child.schema, child.table) == (table.schema, table.name):
            reasons.add(f"the foreign key {quote(child.name)} points from {table.sql} at itself")
            continue
        where = quoted(child.schema, child.table)
        reasons.add(
            f"the foreign key {quote(child.name)} of {where} points at it and would need {column.name} there: expand "
            "would drop it, and rollback make it again",
            accept="foreign-keys",
        )
    for constraint in table.constraints:
        name = quote(constraint.name)
        if constraint.kind == "x":
            reasons.add(f"the exclusion constraint {name} cannot be had over partitions")
        elif constraint.kind in "cf" and not constraint.validated:
            reasons.add(
                f"constraint {name} is not validated: `alter table {table.sql} validate constraint {name}` first"
            )
        elif " NO INHERIT" in constraint.definition or "NOT ENFORCED" in constraint.definition:
            reasons.add(f"constraint {name} is one that partitions do not take over: {constraint.definition}")
        elif constraint.kind in "pu" and "DEFERRABLE" in constraint.definition:
            reasons.add(f"the key {name} is deferrable")
        if constraint.name.startswith("dbkit_"):
            reasons.add(f"another change of {table.sql} is on its way: contract it or roll it back first")


def _refuse_hanging(table: Table, more: More, reasons: Refusals) -> None:
    if table.replica_identity == "i":
        reasons.add(f"{table.sql} has a replica identity index: set another first")
    if table.publications:
        reasons.add(
            f"{table.sql} is published by {', '.join(table.publications)}: subscribers lack the new partitions, and "
            "the publication has to name the partitioned table",
            accept="publication",
        )
    for rule in more.rules:
        reasons.add(f"rule {quote(rule)} would stay with the old table")
    for name in more.bound:
        reasons.add(f"{name} is bound to the table's own row type or rows and would stay there: drop it first")
    for view in more.views:
        if view.kind != "v":
            reasons.add(f"materialized view {view.name} would stay with the old table: drop it first")
    for name in more.transition_triggers:
        trigger = next(t for t in table.triggers if t.name == name)
        if " FOR EACH ROW " in trigger.definition:
            reasons.add(f"trigger {quote(name)} has transition tables for each row, which partitioned tables have not")
    for trigger in table.triggers:
        if trigger.name.startswith(("!dbkit_", "~dbkit_")):
            reasons.add(f"another change of {table.sql} is on its way: contract it or roll it back first")
            break
