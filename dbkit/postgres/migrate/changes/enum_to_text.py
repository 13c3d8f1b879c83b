"""Replace an enum column by text whose values a check holds: under its own name by a swap, or under another beside it.

The values are those of the type when the revision is written. Both forms are spelled out value by value: a cast between
an enum and text is not immutable, since values can be renamed, and could not be proved to hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace as but
from typing import Any, Final, cast

from dbkit.errors import UsageError
from dbkit.postgres import ddl
from dbkit.postgres.catalog import quote
from dbkit.postgres.connect import Connection
from dbkit.postgres.indexes.failure import GUARD
from dbkit.postgres.migrate.changes import copies, replace, server, shadow, swap, words
from dbkit.postgres.migrate.changes.design import Block, Design, Line, Refusals, shorten
from dbkit.postgres.migrate.changes.enums import EnumType
from dbkit.postgres.migrate.changes.facts import Column, Constraint, Table
from dbkit.postgres.migrate.names import literal

KIND = "enum-to-text"
STRANGER: Final = "a value that the type did not have when this change was written: roll it back and write it anew"
"""Longer than any label, and so refused by the check: better than a null that nobody sees."""
_ORDERED: Final = {"<", ">", "<=", ">="}


def design(
    connection: Connection, table: Table, column: Column, enum: EnumType, new: str | None, accepted: Sequence[str]
) -> Design:
    """Make `column` text; with `new` under that name beside it. Raises Refused with every reason at once."""
    if not enum.labels:
        raise UsageError(f"{enum.sql} has no values")
    reasons = Refusals(f"{table.sql}.{quote(column.name)} cannot be made text online", accepted)
    named = _check_name(table, column)
    texts = as_text(table, column, enum, named)
    _refuse(connection, table, texts, column, enum, reasons)
    default = None
    if column.default is not None:
        written = _retyped(column.default, enum)
        default = written if written.endswith("::text") else f"({written})::text"
    forward = _spelled(quote(column.name), enum.labels)
    if new is None:
        if any(column.name in child.parent_columns for child in table.children):
            copies.refuse(table, [], reasons)
            reasons.check()  # a swap would go on to the tables that point here
        values = ", ".join(map(literal, enum.labels))
        back = swap.Part(table, {column.name: shorten(column.name, "_new")}, {column.name: enum.sql})
        back.fits[column.name] = f"{quote(column.name)} in ({values})"
        back.aim({}, [back])
        made = shadow.design(connection, texts, column, "text", forward, default, reasons, back=[back])
        story = (*made.story, *_until_contract(column, enum))
    else:
        copies.refuse(table, [column.name], reasons)
        replace.refuse_keys(table, column, reasons)
        if table.has(new):
            reasons.add(f"{table.sql} has a column {quote(new)} already")
        reasons.check(hint="leave --name out: under one name the change is made by a swap, which takes keys too")
        beside, away = (
            replace.design(
                source, column, new, kind=KIND, type_="text", forward=forward, backward=f"{quote(new)}::{enum.sql}",
                title="", default=default,
            )
            for source in (texts, table)
        )  # fmt: skip
        # The way back makes what hung on the enum column, and that is written for the enum.
        made = but(beside, undo_contract=away.undo_contract)
        story = made.story
    guard = _guard(enum)
    first, *rest = made.expand
    return but(
        made,
        id=f"{table.name}-{column.name}-{f'{new}-' if new else ''}text",
        kind=KIND,
        title=f"replace the enum of {table.name}.{column.name} by text{f' called {new}' if new else ''}",
        expand=(Block((first.lines[0], guard, *first.lines[1:])), *rest),
        contract=(Block((guard,), outside=True), *made.contract),
        story=(
            *story,
            f"Values of {enum.sql} must not be added or renamed meanwhile.",
            _afterwards(enum, table, column),
        ),
        notes=(*made.notes, *(f"{n} names {enum.sql} or its values" for n in enum.names if n.startswith("function "))),
    )


def as_text(table: Table, column: Column, enum: EnumType, named: str) -> Table:
    """The table as if the column were text already: its indexes and checks so written, and the check of its values."""
    values = ", ".join(map(literal, enum.labels))
    allowed = Constraint(
        name=named, kind="c", definition=f"CHECK ({quote(column.name)} in ({values}))", validated=True,
        columns=(column.name,), parent=None, parent_columns=(), comment=None, index=0, inherited=False,
    )  # fmt: skip
    checks = tuple(
        but(c, definition=_retyped_constraint(c.definition, enum)) if _is_check(c, column) else c
        for c in table.constraints
    )
    indexes = tuple(
        but(i, definition=_retyped(i.definition, enum)) if column.name in i.uses else i for i in table.indexes
    )
    statistics = tuple(
        but(s, definition=_retyped(s.definition, enum)) if column.name in s.columns else s for s in table.statistics
    )
    return but(table, constraints=(*checks, allowed), indexes=indexes, statistics=statistics)


def _is_check(constraint: Constraint, column: Column) -> bool:
    return constraint.kind == "c" and column.name in constraint.columns


def _retyped(text: str, enum: EnumType) -> str:
    if text.upper().startswith("CREATE "):
        return words.retyped(text, enum.schema, enum.name, "text")
    return words.retyped(f"select {text}", enum.schema, enum.name, "text").removeprefix("SELECT ")


def _retyped_constraint(definition: str, enum: EnumType) -> str:
    plain = definition.removesuffix(" NOT VALID")
    made = words.retyped(f"alter table t add constraint c {plain}", enum.schema, enum.name, "text")
    return made.removeprefix("ALTER TABLE t ADD CONSTRAINT c ") + definition[len(plain) :]


def _check_name(table: Table, column: Column) -> str:
    taken = {c.name for c in table.constraints}
    names = (shorten(table.name, column.name, word) for word in ("check", "values", "allowed"))
    return next((n for n in names if n not in taken), shorten("dbkit", table.name, column.name, "allowed"))


def _spelled(column: str, labels: Sequence[str]) -> str:
    """The text of each value; not a cast, which the server does not hold to be immutable."""
    branches = " ".join(f"when {column} = {literal(v)} then {literal(v)}" for v in labels)
    return f"case when {column} is null then null {branches} else {literal(STRANGER)} end"


def _guard(enum: EnumType) -> Line:
    labels = ", ".join(map(literal, enum.labels))
    query = (
        "select array_agg(enumlabel::text order by enumsortorder)\n    from pg_catalog.pg_enum\n"
        f"    where enumtypid = {literal(enum.sql)}::regtype"
    )
    body = (
        f"do $labels$\nbegin\n  if (\n    {query}\n  ) is distinct from array[{labels}] then\n"
        f"    raise exception {literal(f'{enum.sql} has other values than this change was written for')}\n"
        f"      using errcode = '{GUARD}', hint = 'roll the change back and write it anew';\n  end if;\nend\n$labels$"
    )
    return Line(body, "the values are spelled out below")


def _refuse(
    connection: Connection, table: Table, texts: Table, column: Column, enum: EnumType, reasons: Refusals
) -> None:
    where = f"{table.sql}.{quote(column.name)}"
    for child in table.children:
        if column.name in child.parent_columns:
            reasons.add(f"the foreign key {quote(child.name)} of {child.schema}.{child.table} points at {where}")
    for constraint in table.constraints:
        if constraint.kind == "f" and column.name in constraint.columns:
            reasons.add(f"the foreign key {quote(constraint.name)} points from {where} at another enum")
    for trigger in table.triggers:
        if column.name in _when(trigger.definition):
            reasons.add(f"the condition of trigger {quote(trigger.name)} names {where}: drop it first")
    wanted = {
        f"the check {quote(c.name)}": words.constraint("dbkit_look", c.definition, {}, f"dbkit_look_{number}")
        for number, c in enumerate(texts.constraints)
        if _is_check(c, column)
    }
    wanted |= {
        f"the index {quote(i.name)}": words.index_on(i.definition, "dbkit_look")
        for i in texts.indexes
        if column.name in i.uses and not i.constraint
    }
    for name, why in server.refused(connection, table, column.name, "text", wanted).items():
        reasons.add(f"{name} is written for {enum.sql} ({why}): drop it first, and make it anew on the text")
    if enum.labels != enum.alphabetical:
        reasons.add(_ordering(table, column, enum), accept="ordering")


def _ordering(table: Table, column: Column, enum: EnumType) -> str:
    named = [f"index {quote(i.name)}" for i in table.indexes if column.name in i.uses]
    named += [f"check {quote(c.name)}" for c in table.constraints if _is_check(c, column) and _compares(c.definition)]
    also = f"; so do {', '.join(named)}" if named else ""
    return (
        f"as text it sorts {', '.join(enum.alphabetical)} and not {', '.join(enum.labels)}: order by, <, >, "
        f"min and max give something else then{also}"
    )


def _compares(definition: str) -> bool:
    """Whether a check compares by order."""
    node = ddl.parse(f"alter table t add constraint c {definition.removesuffix(' NOT VALID')}")[0].node
    operators = [cast(Any, n).name[-1].string.sval for n in ddl.walk(node) if type(n).__name__ == "A_Expr"]
    return not _ORDERED.isdisjoint(operators)


def _when(definition: str) -> Iterator[str]:
    """The columns that a trigger's condition names."""
    clause = ddl.parse(definition)[0].node.create_trig_stmt.when_clause
    for inner in ddl.walk(clause):
        if type(inner).__name__ == "ColumnRef":
            yield cast(Any, inner).fields[-1].string.sval


def _until_contract(column: Column, enum: EnumType) -> tuple[str, ...]:
    return (
        f"Before contract no application may cast {column.name} or a parameter to {enum.sql} any more:",
        f"`{column.name} = $1::{enum.sql}` fails on text. Where a driver binds parameters as the type, use --name.",
    )


def _afterwards(enum: EnumType, table: Table, column: Column) -> str:
    others = [str(h) for h in enum.columns if (h.schema, h.table, h.column) != (table.schema, table.name, column.name)]
    others += [n for n in enum.names if n.startswith("function ")]
    if others:
        return f"The type {enum.sql} stays in use after contract: {', '.join(others)}."
    return f"After contract nothing uses the type any more: `drop type {enum.sql}` may follow in a revision of its own."
