"""Another type under the same name: a shadow column that follows the old one, and a short transaction that swaps them.

The application never sees the shadow. The swap takes primary keys, identity and serial columns, and the foreign keys
that point at them: every column that must change with it is found from the catalogue, parents before children
(research/migrations.md 7.3). The way back after contract is the same change once more, with the types exchanged, where
it can be told beforehand which values fit (fitting).
"""

from __future__ import annotations

from collections.abc import Sequence

from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.changes import copies, facts, fitting, swap, words
from dbkit.postgres.migrate.changes.design import Block, Design, Fit, Line, Refusals, shorten
from dbkit.postgres.migrate.changes.facts import Column, Table
from dbkit.postgres.migrate.changes.swap import Part
from dbkit.postgres.migrate.names import literal


def design(
    connection: Connection, table: Table, column: Column, type_: str, forward: str, default: str | None,
    reasons: Refusals, *, category: str = "", back: Sequence[Part] = (),
) -> Design:  # fmt: skip
    """The swap of one column and of all that point at it. `category` is that of the new type, as in pg_type.

    `back` is the way back where the caller knows it.
    """
    parts = _closure(connection, table, column)
    for part in parts:
        _refuse(part, reasons)
    cast = f"{quote(column.name)}::{type_}"
    if len(parts) > 1 and forward != cast:
        reasons.add("columns of other tables point at it, so that --using has no one meaning")
    reasons.check()
    for part in parts:
        part.types = {c.name: type_ + _collation(c, category) for c in part.changing}
        part.aim({column.name: forward} if part is parts[0] else {}, parts)
    final = "an expression tells no way back"
    if not back and forward == cast:
        back, final = _back(parts, category)
    tables = [p.table.name for p in parts[1:]]
    also = f" and {len(tables)} that point at it" if tables else ""
    expand = [b for p in parts for b in swap.expand(p)]
    return Design(
        id=f"{table.name}-{column.name}-{words.slug(type_)}",
        kind="change-type",
        title=f"change {table.name}.{column.name} to {type_}",
        schema=table.schema,
        table=table.name,
        old=(),
        new=(),
        expand=tuple(expand),
        undo_expand=(*swap.undo_keys(parts), *(swap.undo(p) for p in reversed(parts))),
        contract=swap.contract(connection, parts, {table.oid: {column.name: default}}),
        undo_contract=_undo_contract(connection, back, expand) if back else (),
        fills=tuple(p.pair.fill() for p in parts),
        restore=tuple(p.pair.fill() for p in back),
        swaps=tuple((p.table.schema, p.table.name, c) for p in parts for c in p.columns),
        fits=tuple(
            Fit(p.table.schema, p.table.name, fits, f"{p.table.name}.{c} does not fit into {p.types[c]}")
            for p in back
            for c, fits in p.fits.items()
        ),
        final="" if back else f"the old column is gone, and {final}: make a new change instead",
        story=(
            f"A shadow of {column.name}{also} is kept equal by a trigger; the application does not see it.",
            "contract swaps them in one short transaction. A prepared statement that returns the column fails then,",
            "until it is prepared again (0A000); in `select *` and inserts without a list the column moves to the end.",
        ),
        notes=tuple(n for p in parts for n in copies.dependants(p.table, list(p.columns))),
    )


def _collation(column: Column, category: str) -> str:
    return f" collate {column.collation}" if column.collation and category == "S" else ""


def _back(parts: Sequence[Part], category: str) -> tuple[list[Part], str]:
    """The same parts with the types they have now; or none, and why not."""
    back: list[Part] = []
    for part in parts:
        made = Part(part.table, dict(part.columns))
        for column in part.changing:
            fits = fitting.condition(column, part.types[column.name], category)
            if fits is None:
                return [], f"which values fit into {column.type} cannot be asked without an error"
            made.types[column.name] = column.type + _collation(column, column.category)
            if fits:
                made.fits[column.name] = fits
        back.append(made)
    for part in back:
        part.aim({}, back)
    return back, ""


def _undo_contract(connection: Connection, back: Sequence[Part], expand: Sequence[Block]) -> tuple[Block, ...]:
    """The change made backwards, and then the shadows of its beginning, so that it stands where expand had left it."""
    defaults = {p.table.oid: {c.name: c.default for c in p.changing} for p in back}
    asked = [_ask(p, fits) for p in back for fits in p.fits.values()]
    return (
        *([Block(tuple(asked))] if asked else []),
        *(b for p in back for b in swap.expand(p)),
        *swap.contract(connection, back, defaults),
        *expand,
    )


def _ask(part: Part, fits: str) -> Line:
    """For plain Alembic: dbkit counts the rows before it begins."""
    told = f"{part.table.sql} has values that do not fit into the old type"
    return Line(
        f"do $$\nbegin\n  if exists (select from {part.table.sql} where not ({fits})) then\n"
        f"    raise exception {literal(told.replace('%', '%%'))};\n  end if;\nend\n$$",
        "before anything is begun",
    )


def _closure(connection: Connection, table: Table, column: Column) -> list[Part]:
    """The column and all that point at it, through any number of tables; a parent before its children."""
    parts = {table.oid: Part(table)}
    pending = [(table.oid, column.name)]
    while pending:
        oid, name = pending.pop(0)
        part = parts[oid]
        if name in part.columns:
            continue
        part.columns[name] = shorten(name, "_new")
        for child in part.table.children:
            if name not in child.parent_columns:
                continue
            query = "select to_regclass(%s)::oid::bigint as oid"
            found = fetch(connection, query, [quoted(child.schema, child.table)])[0]["oid"]
            if found not in parts:
                parts[found] = Part(facts.of_oid(connection, found))
            pending.append((found, child.columns[child.parent_columns.index(name)]))
    return list(parts.values())


def _refuse(part: Part, reasons: Refusals) -> None:
    table = part.table
    copies.refuse(table, [], reasons)
    if table.kind == "p":
        reasons.add(f"{table.sql} is partitioned: a key cannot be swapped there")
    if table.replica_identity == "i":
        reasons.add(f"{table.sql} has a replica identity index")
    for column in part.changing:
        if column.generated is not None:
            reasons.add(f"{table.sql}.{quote(column.name)} is a generated column")
        if table.has(part.columns[column.name]):
            reasons.add(f"{table.sql} has a column {quote(part.columns[column.name])} already")
        reasons_of_generated = [d.name for d in table.using(column.name) if d.kind == "generated column"]
        for name in reasons_of_generated:
            reasons.add(f"the generated column {quote(name)} is made from {table.sql}.{quote(column.name)}")
    for constraint in table.constraints:
        if constraint.kind == "x" and set(constraint.columns) & set(part.columns):
            reasons.add(f"the exclusion constraint {quote(constraint.name)} of {table.sql} holds the column")
