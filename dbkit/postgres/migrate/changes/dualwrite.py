"""Two shapes of the same columns kept equal by the server: triggers in both directions, and the check that ties them.

Triggers fire in byte order of their names: `!` before and `~` after every ASCII name. "in" runs first, so the user's
own triggers see a write of the new shape in the old columns; "out" runs last, so whatever they leave there reaches the
new ones. All decisions stand in WHEN: a row that already agrees runs no PL/pgSQL. ENABLE ALWAYS makes them fire for
logical replication and for session_replication_role = replica too; the check catches what would get past them.
Measured under kills and restarts: research/migrations.md 7.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.migrate.changes import words
from dbkit.postgres.migrate.changes.design import MAX_NAME, Fill, Line, shorten
from dbkit.postgres.migrate.names import literal


@dataclass(frozen=True, slots=True)
class Pair:
    """Columns of one table in two shapes. Expressions are over bare columns of the other side."""

    schema: str
    table: str
    forward: Mapping[str, str]
    """New column to its expression over the old ones."""
    backward: Mapping[str, str]
    """Old column to its expression over the new ones; empty when the new shape is never written."""
    required: tuple[str, ...] = ()
    """New columns that must not be null in the end."""
    label: str = ""
    """Part of the names of all objects: the first new column of the expand direction."""

    @property
    def sql(self) -> str:
        """The table, qualified and quoted."""
        return quoted(self.schema, self.table)

    @property
    def tie(self) -> str:
        """Name of the check."""
        return shorten("dbkit", self.table, self.label, "tie")

    def reverse(self, required: tuple[str, ...]) -> Pair:
        """The same columns with old and new exchanged, under the same names."""
        return Pair(self.schema, self.table, self.backward, self.forward, required, self.label)

    def differs(self, prefix: str = "") -> str:
        """True where a new column is not what the old ones say; never null."""
        return " or ".join(
            f"{_column(n, prefix)} is distinct from {_operand(words.qualified(e, prefix) if prefix else e)}"
            for n, e in self.forward.items()
        )

    @property
    def condition(self) -> str:
        """What the check demands of every row."""
        same = [f"{quote(n)} is not distinct from {_operand(e)}" for n, e in self.forward.items()]
        return " and ".join([*same, *(f"{quote(n)} is not null" for n in self.required)])

    def fill(self, *, immutable: bool = True) -> Fill:
        """The rows to fill."""
        return Fill(
            schema=self.schema,
            table=self.table,
            assignments=", ".join(f"{quote(n)} = {e}" for n, e in self.forward.items()),
            pending=self.differs(),
            columns=tuple(self.forward),
            tie=self.tie,
            immutable=immutable,
        )

    def install(self) -> tuple[Line, ...]:
        """Functions, triggers and the check. The last lock they need is the one ADD COLUMN has taken already."""
        check = Line(
            f"alter table {self.sql}\n  drop constraint if exists {quote(self.tie)},\n"
            f"  add constraint {quote(self.tie)} check ({self.condition}) not valid",
            "refuses a write that would leave the two apart; once validated, it proves that every row agrees",
        )
        return (*self.triggers(), check)

    def triggers(self) -> tuple[Line, ...]:
        """Functions and triggers alone: made over those of the other direction they turn it, and the check stands.

        The direction matters where a default hides whether a writer gave a value: a new column has none, so that a
        value in it was given, and it wins.
        """
        lines: list[Line] = []
        if self.backward:
            lines.append(
                Line(self._function("in", self.backward), "a write of the new shape, brought to the old columns")
            )
        lines.append(Line(self._function("out", self.forward), "a write of the old shape, brought to the new columns"))
        differs = self.differs("new")
        if self.backward:
            given = " or ".join(f"new.{quote(n)} is not null" for n in self.forward)
            changed = " or ".join(f"new.{quote(n)} is distinct from old.{quote(n)}" for n in self.forward)
            lines.append(
                Line(
                    self._trigger("!", "in_i", "insert", given),
                    "names decide the order: `!` fires before every other trigger, `~` after",
                )
            )
            lines.append(Line(self._trigger("!", "in_u", "update", f"({changed}) and ({differs})")))
        lines.append(Line(self._trigger("~", "out_i", "insert", differs)))
        lines.append(Line(self._trigger("~", "out_u", "update", differs)))
        always = [f"enable always trigger {quote(name)}" for name in self._triggers()]
        lines.append(
            Line(
                f"alter table {self.sql}\n  " + ",\n  ".join(always),
                "also for logical replication and for sessions with session_replication_role = replica",
            )
        )
        return tuple(lines)

    def remove(self) -> tuple[Line, ...]:
        """The same taken away, whichever direction they were made for."""
        names = [self._name("!", "in_i"), self._name("!", "in_u"), self._name("~", "out_i"), self._name("~", "out_u")]
        lines = [Line(f"drop trigger if exists {quote(name)} on {self.sql}") for name in names]
        functions = ", ".join(f"{self._function_name(way)}()" for way in ("in", "out"))
        lines.append(Line(f"drop function if exists {functions}"))
        lines.append(Line(f"alter table {self.sql} drop constraint if exists {quote(self.tie)}"))
        return tuple(lines)

    def fill_at_once(self) -> Line:
        """For plain Alembic: one statement fills what is left. dbkit does the same in batches."""
        fill = self.fill()
        return fill_at_once(fill, "does nothing when `dbkit migrate backfill` and `verify` have run")

    def validate(self) -> Line:
        """Prove that every row agrees. Reads the table without stopping readers or writers."""
        return Line(f"alter table {self.sql} validate constraint {quote(self.tie)}")

    def _triggers(self) -> tuple[str, ...]:
        out = (self._name("~", "out_i"), self._name("~", "out_u"))
        return (self._name("!", "in_i"), self._name("!", "in_u"), *out) if self.backward else out

    def _name(self, mark: str, way: str) -> str:
        return mark + shorten("dbkit", self.label, way, limit=MAX_NAME - 1)

    def _function_name(self, way: str) -> str:
        return quoted(self.schema, shorten("dbkit", self.table, self.label, way))

    def _function(self, way: str, columns: Mapping[str, str]) -> str:
        body = "\n".join(f"  new.{quote(c)} := {words.qualified(e, 'new')};" for c, e in columns.items())
        return (
            f"create or replace function {self._function_name(way)}() returns trigger language plpgsql as $$\n"
            f"begin\n{body}\n  return new;\nend\n$$"
        )

    def _trigger(self, mark: str, way: str, event: str, condition: str) -> str:
        return (
            f"create or replace trigger {quote(self._name(mark, way))} before {event} on {self.sql} for each row\n"
            f"  when ({condition})\n  execute function {self._function_name(way.partition('_')[0])}()"
        )


def fill_at_once(fill: Fill, why: str) -> Line:
    """One guarded UPDATE, marked so that dbkit takes batches instead."""
    table = quoted(fill.schema, fill.table)
    update = f"update {table} set {fill.assignments}\n    where {fill.pending};"
    if fill.tie:
        body = (
            f"  if exists (\n    select from pg_catalog.pg_constraint\n"
            f"    where conrelid = {literal(table)}::regclass\n"
            f"      and conname = {literal(fill.tie)}\n      and not convalidated\n  ) then\n    {update}\n  end if;"
        )
    else:
        body = f"  {update}"
    return Line(f"-- dbkit: fill\ndo $$\nbegin\n{body}\nend\n$$", why)


def _column(name: str, prefix: str) -> str:
    return f"{prefix}.{quote(name)}" if prefix else quote(name)


def _operand(expression: str) -> str:
    """An expression that may stand beside IS DISTINCT FROM."""
    node = words.expression(expression, "the expression")
    return expression if node.WhichOneof("node") in ("column_ref", "type_cast", "func_call") else f"({expression})"
