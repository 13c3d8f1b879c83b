"""The table that is to be filled: its leaves, how each is walked, and what speaks against filling it at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from dbkit import assets
from dbkit.errors import DbkitError, Refused, Unreachable, UsageError
from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import Connection, explain, fetch
from dbkit.postgres.migrate.backfill import text
from dbkit.postgres.migrate.changes.spec import BackfillSpec

ORDERED: Final = 0.8
"""From this correlation on, rows in key order lie side by side in the table; below it every batch would touch pages
all over it, so ctid ranges write far fewer of them."""
SAMPLE: Final = 1000
"""Rows looked at to see that filling settles a row."""


@dataclass(frozen=True, slots=True)
class Key:
    """Columns of a unique index to range over, with the types their values are written back as."""

    index: str
    columns: tuple[str, ...]
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A table that holds rows. `key` None means ctid ranges; `why` says why it is walked this way."""

    oid: int
    schema: str
    name: str
    filenode: int
    pages: int
    tuples: float
    key: Key | None
    why: str
    hot: bool = False
    """No index holds a column that is written: a new version of a row may lie in the old one's page."""

    @property
    def qualified(self) -> str:
        return quoted(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Table:
    """The table as a whole; `root` is its oid, `leaves` largest first."""

    root: int
    leaves: tuple[Leaf, ...]
    leave_out: str = ""
    """Partitions that cannot be filled from here (foreign tables), in words."""


def look(connection: Connection, spec: BackfillSpec, by: str = "auto", *, ours: bool = False) -> Table:
    """The table of a spec. `ours`: triggers keep every written row right, so that rows may move unseen.

    Raises Refused, Unreachable or UsageError when it cannot be filled.
    """
    rows = _about(connection, assets.query("backfill/table"), spec.schema, spec.table)
    name = quoted(spec.schema, spec.table)
    if not rows:
        raise UsageError(f"there is no table {name}", hint="write schema.table as the server has it")
    if rows[0]["kind"] not in ("r", "p"):
        raise Refused(f"{name} is not a table", hint="a backfill updates tables and partitioned tables")
    if spec.oid and spec.oid != rows[0]["root"]:
        raise Refused(f"{name} is not the table it was", hint="it was dropped and made again: run the command again")
    leaves = [row for row in rows if row["kind"] == "r"]
    for row in leaves:
        _may(row, spec.change)
    foreign = [quoted(r["schema"], r["name"]) for r in rows if r["kind"] == "f"]
    _partition_key(connection, spec, rows)
    return Table(
        rows[0]["root"],
        tuple(_leaf(connection, row, spec, by, ours=ours) for row in leaves),
        f"foreign tables are filled where they live: {', '.join(foreign)}" if foreign else "",
    )


def _about(connection: Connection, query: LiteralString, schema: str, name: str) -> list[dict[str, Any]]:
    """The rows of a query of `sql/` about one table."""
    with connection.transaction():
        connection.execute(
            "select /* dbkit */ set_config('dbkit.about', %s, true)", [sql.Identifier(schema, name).as_string()]
        )
        return fetch(connection, query)


def _may(row: dict[str, Any], change: str) -> None:
    qualified = quoted(row["schema"], row["name"])
    if not row["writable"]:
        raise Unreachable(f"this role may not fill {qualified}", hint=f"grant select, update on {qualified} to ROLE")
    if row["row_security"]:
        raise Unreachable(
            f"row level security hides rows of {qualified} from this role",
            why=f"{change} would be filled in part, and the rest would look done",
            hint="run it as a role with BYPASSRLS",
        )


def _partition_key(connection: Connection, spec: BackfillSpec, rows: Sequence[dict[str, Any]]) -> None:
    """A row whose partition key is changed would have to move, which an update of its leaf cannot do."""
    parted = [row["oid"] for row in rows if row["kind"] == "p"]
    found = fetch(
        connection,
        "select distinct a.attname::text as name from pg_catalog.pg_partitioned_table p "
        "join pg_catalog.pg_attribute a on a.attrelid = p.partrelid and a.attnum = any (p.partattrs::int2[]) "
        "where p.partrelid::bigint = any (%s) and a.attname = any (%s)",
        [parted, list(spec.columns)],
    )
    if found:
        raise Refused(f"{found[0]['name']} is a partition key: rows would have to move to another partition")


def _leaf(connection: Connection, row: dict[str, Any], spec: BackfillSpec, by: str, *, ours: bool) -> Leaf:
    pages = row["bytes"] // row["block_size"]
    density = row["tuples"] / row["pages"] if row["tuples"] > 0 and row["pages"] > 0 else 0
    key, why = choose(connection, row, spec, by, ours=ours)
    return Leaf(
        oid=row["oid"],
        schema=row["schema"],
        name=row["name"],
        filenode=row["filenode"] or 0,
        pages=pages,
        tuples=density * pages if density else row["block_size"] / 100 * pages,
        key=key,
        why=why,
        hot=not fetch(connection, assets.query("backfill/indexed"), {"rel": row["oid"], "columns": list(spec.columns)}),
    )


def choose(
    connection: Connection, row: dict[str, Any], spec: BackfillSpec, by: str, *, ours: bool
) -> tuple[Key | None, str]:
    """How a leaf is walked, and why. Raises UsageError when `by` asks for a key that is not there."""
    if by == "ctid":
        return None, "asked for"
    if by == "auto" and ours and row["heap"]:
        return None, "pages are read and written once each; a row that moves meanwhile is filled by its trigger"
    found = _about(connection, assets.query("backfill/keys"), row["schema"], row["name"])
    usable = [k for k in found if not set(k["columns"]) & set(spec.columns)]
    if spec.key:
        usable = [k for k in usable if k["columns"] == [spec.key]] or usable
    if not usable:
        if by == "key":
            raise UsageError(
                f"{quoted(row['schema'], row['name'])} has no unique, not null, plain index to range over",
                hint="leave --by away: ctid ranges need none",
            )
        return None, "it has no unique, not null, plain index"
    held = usable[0]
    key = Key(held["name"], tuple(held["columns"]), tuple(held["types"]))
    named = ", ".join(quote(c) for c in key.columns)
    correlation = held["correlation"]
    if by == "key":
        return key, "asked for"
    if correlation is None:
        good = len(key.columns) == 1 and bool(held["ordered"])
        unknown = "its statistics are not there or not to be seen"
        return (key, f"{named} usually follows the order of rows; {unknown}") if good else (None, unknown)
    if abs(correlation) >= ORDERED:
        return key, f"rows lie in the order of {named} (correlation {correlation:.2f})"
    return None, f"rows do not lie in the order of {named} (correlation {correlation:.2f})"


def check(connection: Connection, spec: BackfillSpec, *, ours: bool) -> None:
    """Try the texts of a spec on the server without changing anything.

    With `ours` (the spec is of a change that dbkit wrote) only that the server accepts it; otherwise also that what it
    does can be asked for twice: an immutable expression or a condition that a filled row no longer meets.
    """
    relation = text.table(spec.schema, spec.table)
    statement = sql.SQL("explain update {} only {} set {} where {}").format(
        text.raw(text.MARK), relation, text.raw(spec.assignments), text.raw(spec.pending)
    )
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        raise _unfit(error, spec) from None
    if ours:
        return
    mutable = next((e for _, e in text.expressions(spec) if not immutable(connection, spec, e)), None)
    if mutable is not None and all(f"is distinct from ({e})" in spec.pending for _, e in text.expressions(spec)):
        raise UsageError(
            f"{mutable} is not immutable: asked again it says something else, and no row would ever be done",
            hint='give --where with a condition that a filled row no longer meets, such as "token is null"',
        )
    volatile = _volatile(connection, text.functions(spec.pending))
    if volatile:
        raise UsageError(
            f"the condition calls {volatile}(), which is volatile: the same row is pending and done by turns"
        )
    _settles(connection, spec)


def immutable(connection: Connection, spec: BackfillSpec, expression: str) -> bool:
    """Whether the server takes an expression over a row for immutable: what it would allow in an index.

    Asked on an empty temporary copy that is rolled back. Raises DbkitError when the expression is not valid.
    """
    if text.has_subquery(expression):
        return False
    probe = sql.Identifier("pg_temp", spec.table)
    create = sql.SQL("create /* dbkit */ temp table {} (like {})").format(
        sql.Identifier(spec.table), text.table(spec.schema, spec.table)
    )
    index = sql.SQL("create index on {} ((1)) where (({}) is null)").format(probe, text.raw(expression))
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(create)
            connection.execute(index)
    except psycopg.errors.InvalidObjectDefinition:
        return False
    except psycopg.errors.InsufficientPrivilege:
        database = quote(connection.info.dbname)
        raise Unreachable(
            "cannot see whether an expression is immutable", hint=f"grant temporary on database {database} to ROLE"
        ) from None
    except psycopg.Error as error:
        raise _unfit(error, spec) from None
    return True


def _settles(connection: Connection, spec: BackfillSpec) -> None:
    """Raise UsageError when a filled row would be pending again, as seen on the first pending rows."""
    written = dict(text.expressions(spec))
    rows = fetch(
        connection,
        "select a.attname::text as name from pg_catalog.pg_attribute a where a.attrelid = to_regclass(%s) "
        "and a.attnum > 0 and not a.attisdropped order by a.attnum",
        [sql.Identifier(spec.schema, spec.table).as_string()],
    )
    picked = sql.SQL(", ").join(
        sql.SQL("({}) as {}").format(text.raw(written[r["name"]]), sql.Identifier(r["name"]))
        if r["name"] in written
        else sql.Identifier(r["name"])
        for r in rows
    )
    query = sql.SQL("select {} count(*) from (select {} from {} where {} limit {}) as {} where {}").format(
        text.raw(text.MARK),
        picked,
        text.table(spec.schema, spec.table),
        text.raw(spec.pending),
        sql.Literal(SAMPLE),
        sql.Identifier(spec.table),
        text.raw(spec.pending),
    )
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("set local statement_timeout = '60s'")
            found = connection.execute(query).fetchone()
    except psycopg.errors.QueryCanceled:
        return  # few rows are pending in a large table: finding them is the backfill's own work
    except psycopg.Error as error:
        raise _unfit(error, spec) from None
    if found and found[0]:
        raise UsageError(
            f"{found[0]} of the first {SAMPLE} pending rows would be pending still after they are filled",
            why=f"the condition holds before and after: {spec.pending}",
            hint="give --where with a condition that no longer holds once a row is filled",
        )


def _volatile(connection: Connection, names: Sequence[str]) -> str | None:
    rows = fetch(
        connection,
        "select min(p.proname::text) as name from pg_catalog.pg_proc p "
        "where p.proname = any (%s) and p.provolatile = 'v'",
        [list(names)],
    )
    return rows[0]["name"]


def _unfit(error: psycopg.Error, spec: BackfillSpec) -> DbkitError:
    if error.sqlstate and error.sqlstate[:2] in ("42", "22", "0A"):
        hint = "name functions and types outside pg_catalog with their schema" if error.sqlstate != "42501" else None
        shown = explain(error, f"the server rejects the backfill of {quoted(spec.schema, spec.table)}", hint=hint)
        return shown if error.sqlstate == "42501" else UsageError(shown.what, why=shown.why, hint=hint)
    return explain(error, f"cannot try the backfill of {quoted(spec.schema, spec.table)}")
