"""Make a column NOT NULL, or add one whose default differs from row to row: nulls are filled, then that is proved.

A check that is not valid yet refuses new nulls at once. It would also refuse an update of any other column of a row
that still holds one, and so a trigger gives such a row its value first.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from dbkit.errors import UsageError
from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import Connection
from dbkit.postgres.migrate.changes import copies, words
from dbkit.postgres.migrate.changes.design import Block, Design, Fill, Line, Refusals, shorten, transaction
from dbkit.postgres.migrate.changes.dualwrite import fill_at_once
from dbkit.postgres.migrate.changes.facts import Table

SET_NOT_NULL = "set-not-null"
ADD_COLUMN = "add-column"


def set_not_null(connection: Connection, table: Table, name: str, using: str | None, accepted: Sequence[str]) -> Design:
    """Make a column NOT NULL; `using` is what stands in for a null."""
    column = table.column(name)
    if column.not_null:
        raise UsageError(f"{table.sql}.{quote(name)} is not null already")
    reasons = Refusals(f"{table.sql}.{quote(name)} cannot be made not null online", accepted)
    copies.refuse(table, [], reasons)
    if using is None and _holds_null(connection, table, name):
        reasons.add(f"{table.sql}.{quote(name)} holds nulls: say by --using what stands in for them")
    reasons.check()
    made = _Required(table, name, using)
    story = [f"Nulls are refused from expand on; applications that write {name} have to give a value."]
    if using is not None:
        story = [f"Where nothing or null is given for {name}, the server writes {using}."]
    return Design(
        id=f"{table.name}-{name}-not-null",
        kind=SET_NOT_NULL,
        title=f"make {table.name}.{name} not null",
        schema=table.schema,
        table=table.name,
        old=(),
        new=(),
        expand=(transaction(*made.install()),),
        undo_expand=(transaction(*made.remove()),),
        contract=made.contract(),
        undo_contract=(
            transaction(Line(f"alter table {table.sql} alter column {quote(name)} drop not null"), *made.install()),
            Block((made.validate(),), outside=True),
        ),
        fills=(made.fill(),),
        story=tuple(story),
    )


def add_column(table: Table, name: str, type_: str, default: str, *, volatile: bool) -> Design:
    """Add a NOT NULL column whose default is computed for every row."""
    reasons = Refusals(f"{table.sql}.{quote(name)} cannot be added online")
    copies.refuse(table, [], reasons)
    if table.has(name):
        reasons.add(f"{table.sql} has a column {quote(name)} already")
    if not volatile:
        reasons.add(
            f"{default} is the same for every row: `alter table {table.sql} add column {quote(name)} {type_} not null "
            f"default {default}` rewrites nothing; put that into a revision of its own"
        )
    reasons.check()
    made = _Required(table, name, default)
    target = f"alter table {table.sql} alter column {quote(name)}"
    add = Line(f"alter table {table.sql} add column if not exists {quote(name)} {type_}", "without default: no rewrite")
    new_rows = Line(f"{target} set default {default}", "for rows that are inserted from now on")
    drop = Line(f"alter table {table.sql} drop column if exists {quote(name)}")
    return Design(
        id=f"{table.name}-{name}",
        kind=ADD_COLUMN,
        title=f"add {table.name}.{name}",
        schema=table.schema,
        table=table.name,
        old=(),
        new=(name,),
        expand=(transaction(add, new_rows, *made.install()),),
        undo_expand=(transaction(*made.remove(), drop),),
        contract=made.contract(),
        undo_contract=(
            transaction(Line(f"{target} drop not null"), *made.install()),
            Block((made.validate(),), outside=True),
        ),
        fills=(made.fill(immutable=False),),
        story=(f"{name} is there from expand on; contract makes it not null. No application has to wait for it.",),
    )


class _Required:
    """The check, and where a value is known the trigger, that lead to NOT NULL."""

    def __init__(self, table: Table, name: str, using: str | None) -> None:
        self._table, self._name, self._using = table, name, using
        self._tie = shorten("dbkit", table.name, name, "given")
        self._trigger = "~" + shorten("dbkit", name, "given", limit=62)
        self._function = quoted(table.schema, self._tie)

    def install(self) -> list[Line]:
        table, name = self._table.sql, quote(self._name)
        lines: list[Line] = []
        if self._using is not None:
            value = words.qualified(self._using, "new")
            lines.append(
                Line(
                    f"create or replace function {self._function}() returns trigger language plpgsql as $$\n"
                    f"begin\n  new.{name} := {value};\n  return new;\nend\n$$"
                )
            )
            lines.append(
                Line(
                    f"create or replace trigger {quote(self._trigger)} before insert or update on {table}\n"
                    f"  for each row when (new.{name} is null)\n  execute function {self._function}()",
                    "`~` fires after every other trigger",
                )
            )
            lines.append(Line(f"alter table {table} enable always trigger {quote(self._trigger)}"))
        lines.append(
            Line(
                f"alter table {table}\n  drop constraint if exists {quote(self._tie)},\n"
                f"  add constraint {quote(self._tie)} check ({name} is not null) not valid",
                "refuses new nulls; once validated, it proves that there is none",
            )
        )
        return lines

    def remove(self) -> list[Line]:
        table = self._table.sql
        return [
            Line(f"lock table {table} in access exclusive mode", "all that follows is metadata: milliseconds"),
            Line(f"drop trigger if exists {quote(self._trigger)} on {table}"),
            Line(f"drop function if exists {self._function}()"),
            Line(f"alter table {table} drop constraint if exists {quote(self._tie)}"),
        ]

    def fill(self, *, immutable: bool = True) -> Fill:
        name = quote(self._name)
        return Fill(
            schema=self._table.schema,
            table=self._table.name,
            assignments=f"{name} = {self._using or name}",
            pending=f"{name} is null",
            columns=(self._name,),
            tie=self._tie,
            immutable=immutable,
        )

    def validate(self) -> Line:
        return Line(f"alter table {self._table.sql} validate constraint {quote(self._tie)}")

    def contract(self) -> tuple[Block, ...]:
        proved = Line(
            f"alter table {self._table.sql} alter column {quote(self._name)} set not null",
            "the validated check proves it: no scan",
        )
        lock, *rest = self.remove()
        blocks = [Block((self.validate(),), outside=True), transaction(lock, proved, *rest)]
        if self._using is not None:
            why = "does nothing when `dbkit migrate backfill` and `verify` have run"
            blocks.insert(0, Block((fill_at_once(self.fill(), why),), outside=True))
        return tuple(blocks)


def _holds_null(connection: Connection, table: Table, name: str) -> bool:
    """Whether a null is found within seconds; what is not found in time is found by verify."""
    query = sql.SQL("select exists (select from {} where {} is null)").format(
        sql.Identifier(table.schema, table.name), sql.Identifier(name)
    )
    try:
        with connection.transaction():
            connection.execute("set local statement_timeout = '5s'")
            row = connection.execute(query).fetchone()
            return bool(row and row[0])
    except (psycopg.errors.QueryCanceled, psycopg.errors.InsufficientPrivilege):
        return False
