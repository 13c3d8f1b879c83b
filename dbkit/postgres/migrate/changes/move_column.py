"""Move a column to another table that is joined one to one: both columns are kept equal by triggers, both ways.

No check can span two tables. What stands for it: triggers that are always enabled carry every committed write of one
table to the other, each write of a pair under the lock of both rows, so a pair that once agreed agrees from then on.
verify counts the pairs that do not, and notes on the triggers themselves that there were none: the note goes with them.
At contract the old column is first closed to writes, then all pairs are compared in one snapshot, then it goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dbkit.errors import UsageError
from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.migrate.changes import copies, replace, rights
from dbkit.postgres.migrate.changes.design import Block, Design, Fill, Line, Refusals, alone, shorten, transaction
from dbkit.postgres.migrate.changes.dualwrite import fill_at_once
from dbkit.postgres.migrate.changes.facts import Column, Table
from dbkit.postgres.migrate.changes.partition_facts import keys_of
from dbkit.postgres.migrate.changes.spec import FILLING
from dbkit.postgres.migrate.names import literal

KIND = "move-column"
VERIFIED = "verified"
"""How the note on a trigger begins whose pairs were found to agree."""


@dataclass(frozen=True, slots=True)
class Move:
    """The column, where it goes, and what joins the two tables."""

    table: Table
    column: Column
    other: Table
    name: str
    key: str
    """The table's column of the join."""
    other_key: str

    def text(self, template: str) -> str:
        """SQL with the names of this move: {a}, {b} are the tables, {x}, {y} the columns, {k}, {l} the keys."""
        return template.format(
            a=self.table.sql, b=self.other.sql, x=quote(self.column.name), y=quote(self.name), k=quote(self.key),
            l=quote(self.other_key), out=quote(self.trigger("out")), push=quote(self.trigger("push")),
            type=self.column.type, keytype=self.table.column(self.key).type, to=self.function("to"),
            back=self.function("back"), read=self.function("read"), keep=self.function("keep"),
            own=quote(self.trigger("own", "!")), frozen=quote(self.trigger("frozen", "!")),
            bound=quote(self.other.name), held=quote(self.table.name), pushed=literal(self.trigger("push_u")),
        )  # fmt: skip

    def trigger(self, way: str, mark: str = "~") -> str:
        """`~` fires after every other trigger, `!` before."""
        return mark + shorten("dbkit", self.column.name, way, limit=62)

    def function(self, way: str) -> str:
        return quoted(self.table.schema, shorten("dbkit", self.table.name, self.column.name, way))


def design(
    table: Table, name: str, other: Table, match: tuple[str, str], new: str | None, accepted: Sequence[str]
) -> Design:
    """Move column `name` of `table` to `other`, where `match` names the columns that join them."""
    move = Move(table, table.column(name), other, new or name, *match)
    _refuse(move, accepted)
    lock = Line(move.text("lock table {a}, {b} in access exclusive mode"), "all that follows is metadata: milliseconds")
    add = move.text("alter table {b} add column if not exists {y} {type}") + _collation(move)
    add_old = move.text("alter table {a} add column if not exists {x} {type}") + _collation(move)
    fill, strays = _fill(move), _strays(move)
    restored = _restored(move)
    default = move.column.default
    here, there = move.text("alter table {a} alter column {x}"), move.text("alter table {b} alter column {y}")
    title = f"{table.name}.{name} to {other.name}.{move.name}"
    return Design(
        id=f"{table.name}-{name}-{other.name}-{move.name}",
        kind=KIND,
        title=f"move {title}",
        schema=table.schema,
        table=table.name,
        old=(name,),
        new=(),
        expand=(transaction(Line(add, "no default before contract"), *_attributes(move), *_install(move)),),
        undo_expand=(
            transaction(lock, *_remove(move), Line(move.text("alter table {b} drop column if exists {y}"))),
        ),
        contract=(
            Block((fill_at_once(fill, "does nothing after `dbkit migrate backfill`"),), outside=True),
            transaction(*_freeze(move)),
            alone(_proof(move, note=False), "in one snapshot: every pair agrees, no value is without a row to go to"),
            transaction(
                lock, *_remove(move), Line(move.text("alter table {a} drop column if exists {x}")),
                *([Line(f"{there} set default {default}")] if default else []),
            ),
        ),
        undo_contract=(
            transaction(
                lock, *([Line(f"{there} drop default")] if default else []), Line(add_old), *_install(move),
                *_comment(table, name, move.column.comment),
                rights.of_columns(other.sql, [move.name], table.sql, [name]),
            ),
            Block((fill_at_once(restored, "the old column, from the one that is right by now"),), outside=True),
            alone(_proof(move, note=True), "as verify does it"),
            *([transaction(Line(f"{here} set default {default}"))] if default else []),
        ),
        fills=(fill, strays),
        restore=(restored,),
        story=(
            f"{title}: from expand on every write of either reaches the other, in the same transaction.",
            "Two transactions that write the same pair at the same moment, one through each table, can meet in a",
            "deadlock (40P01), of which the server ends one: applications should try that transaction again.",
            f"A row of {other.name} is not made for a value that has none: verify and contract name such values.",
            f"A deleted row of {other.name} leaves its value in {table.name} until contract.",
        ),
        notes=(*copies.dependants(table, [name]), *_hanging(move)),
    )  # fmt: skip


def _refuse(move: Move, accepted: Sequence[str]) -> None:
    table, other, column = move.table, move.other, move.column
    where = f"{table.sql}.{quote(column.name)}"
    if table.oid == other.oid:
        raise UsageError(f"{other.sql} is the same table", hint="rename-column gives it another name")
    reasons = Refusals(f"{where} cannot be moved online", accepted)
    for held in (table, other):
        copies.refuse(held, [], reasons)
        if held.kind == "p":
            reasons.add(f"{held.sql} is partitioned")
        if held.forced_row_security:
            reasons.add(f"{held.sql} forces row level security on its owner, who brings writes over")
    replace.refuse_keys(table, column, reasons)
    if column.generated is not None:
        reasons.add(f"{where} is a generated column")
    for dependant in table.using(column.name):
        if dependant.kind == "generated column":
            reasons.add(f"the generated column {quote(dependant.name)} is made from {where}")
    if column.not_null:
        reasons.add(f"{where} is not null, and {other.sql} need not have a row for each: drop the not null first")
    if other.has(move.name):
        reasons.add(f"{other.sql} has a column {quote(move.name)} already: give another --name")
    for held, key in ((table, move.key), (other, move.other_key)):
        if not held.column(key).not_null or not _unique(held, key):
            reasons.add(f"{held.sql}.{quote(key)} is not unique and not null: rows would not be joined one to one")
    if table.column(move.key).type != other.column(move.other_key).type:
        reasons.add(f"{quote(move.key)} and {quote(move.other_key)} are of different types")
    held = [c for c in other.constraints if c.kind == "f" and c.columns == (move.other_key,)]
    pointing = [c for c in held if c.parent == (table.schema, table.name) and c.parent_columns == (move.key,)]
    if not any(c.validated and "DEFERRABLE" not in c.definition for c in pointing):
        reasons.add(
            f"no validated foreign key, checked at once, leads from {other.sql}.{quote(move.other_key)} to "
            f"{table.sql}.{quote(move.key)}: rows inserted into both at the same moment would not see each other"
        )
    reasons.check()


def _unique(table: Table, key: str) -> bool:
    return any(
        i.unique and i.valid and keys_of(table, i) == (key,) and " WHERE " not in i.definition for i in table.indexes
    )


def _collation(move: Move) -> str:
    return f" collate {move.column.collation}" if move.column.collation else ""


def _comment(table: Table, name: str, text: str | None) -> list[Line]:
    return [Line(f"comment on column {table.sql}.{quote(name)} is {literal(text)}")] if text else []


def _attributes(move: Move) -> list[Line]:
    granted = rights.of_columns(move.table.sql, [move.column.name], move.other.sql, [move.name])
    return [*_comment(move.other, move.name, move.column.comment), granted]


def _hanging(move: Move) -> list[str]:
    """What goes with the old column at contract and has no copy."""
    name, table = move.column.name, move.table
    found = [f"index {quote(i.name)} goes with {name}" for i in table.indexes if name in i.uses]
    found += [
        f"constraint {quote(c.name)} goes with {name}"
        for c in table.constraints
        if c.kind in "cf" and name in c.columns
    ]
    return found + [f"statistics {quote(s.name)} goes with {name}" for s in table.statistics if name in s.columns]


def _install(move: Move) -> list[Line]:
    # As the owner: an application that may write one of the tables need have no rights on the other.
    path = f", {move.column.type.partition('.')[0]}" if "." in move.column.type else ""
    definer = f"language plpgsql security definer set search_path = pg_catalog{path} as $$\n"
    body = definer + "begin\n"
    read = (
        "create or replace function {read}(wanted {keytype}) returns {type} "
        + definer
        + "declare\n  held {type};\nbegin\n"
        "  select r.{x} into held from {a} r where r.{k} = wanted for no key update;\n  return held;\nend\n$$"
    )
    to = (
        "create or replace function {to}() returns trigger " + body + "  update {b} set {y} = new.{x} "
        "where {l} = new.{k} and {y} is distinct from new.{x};\n  return null;\nend\n$$"
    )
    back = (
        "create or replace function {back}() returns trigger " + body + "  update {a} set {x} = new.{y} "
        "where {k} = new.{l} and {x} is distinct from new.{y};\n  return null;\nend\n$$"
    )
    keep = (
        "create or replace function {keep}() returns trigger "
        + body
        + "  -- A row that is there already means an upsert: a null is meant then.\n"
        "  if tg_op = 'UPDATE' or not exists (select from {b} o where o.{l} = new.{l}) then\n"
        "    new.{y} := {read}(new.{l});\n  end if;\n  return new;\nend\n$$"
    )
    lines = [
        Line(read, "the value as it is now: the row is locked, so that nobody changes it before we are done"),
        Line("revoke execute on function {read}({keytype}) from public"),
        Line(to, "a write of the old column, brought to the new one"),
        Line(
            back, "a write of the new column, brought to the old one; where they agree nothing is written: no recursion"
        ),
        Line(keep, "a new row, or one that goes over to another key, takes the value that is there"),
    ]
    same = " and new.{y} is not distinct from old.{y}"
    # The backfill has just read what it writes from the other row, and holds that row. Only one who might make triggers
    # here, and so undo this one, can say so.
    filling = f"pg_catalog.current_setting('{FILLING}', true) = {{pushed}}"
    written = f"({filling} and pg_catalog.has_table_privilege(new.tableoid, 'trigger')) is not true"
    triggers = [
        ("out", "{a}", "after", "insert", "new.{x} is not null", "to"),
        ("out_u", "{a}", "after", "update", "new.{x} is distinct from old.{x}", "to"),
        ("push", "{b}", "after", "insert", "new.{y} is not null", "back"),
        ("push_u", "{b}", "after", "update", "new.{y} is distinct from old.{y} and " + written, "back"),
        ("own", "{b}", "before", "insert", "new.{y} is null", "keep"),
        ("own_u", "{b}", "before", "update", "new.{l} is distinct from old.{l}" + same, "keep"),
    ]  # fmt: skip
    for name, on, when, event, condition, function in triggers:
        trigger = quote(move.trigger(name, "!" if name.startswith("own") else "~"))
        lines.append(
            Line(
                f"create or replace trigger {trigger} {when} {event} on {move.text(on)} for each row\n"
                f"  when ({move.text(condition)})\n  execute function {move.function(function)}()"
            )
        )
    for on, names in (("{a}", ("~out", "~out_u")), ("{b}", ("~push", "~push_u", "!own", "!own_u"))):
        always = ",\n  ".join(f"enable always trigger {quote(move.trigger(n[1:], n[0]))}" for n in names)
        lines.append(
            Line(
                f"alter table {move.text(on)}\n  {always}",
                "also for logical replication and for sessions with session_replication_role = replica",
            )
        )
    return [Line(move.text(x.sql), x.why) if "{" in x.sql else x for x in lines]


def _remove(move: Move) -> list[Line]:
    on = {"~out": "{a}", "~out_u": "{a}", "!frozen": "{a}", "!frozen_u": "{a}"}
    on |= dict.fromkeys(("~push", "~push_u", "!own", "!own_u"), "{b}")
    lines = [
        Line(f"drop trigger if exists {quote(move.trigger(n[1:], n[0]))} on {move.text(table)}")
        for n, table in on.items()
    ]
    functions = ", ".join(f"{move.function(way)}()" for way in ("to", "back", "keep", "frozen"))
    lines.append(Line(f"drop function if exists {functions}"))
    lines.append(Line(move.text("drop function if exists {read}({keytype})")))
    return lines


def _freeze(move: Move) -> list[Line]:
    """From here on nobody writes the old column but the trigger that brings it what is written to the new one."""
    where = f"{move.table.name}.{move.column.name} has moved to {move.other.name}.{move.name}"
    function = (
        f"create or replace function {move.function('frozen')}() returns trigger language plpgsql as $$\nbegin\n"
        f"  if pg_trigger_depth() = 1 then\n    raise exception {literal(where)};\n  end if;\n  return new;\nend\n$$"
    )
    lines = [Line(function, "the new application does not write it, and the old one has gone")]
    changed = {"insert": "new.{x} is not null", "update": "new.{x} is distinct from old.{x}"}
    for event, name in (("insert", "frozen"), ("update", "frozen_u")):
        lines.append(
            Line(
                f"create or replace trigger {quote(move.trigger(name, '!'))} before {event} on {move.table.sql} "
                f"for each row\n  when ({move.text(changed[event])})\n  execute function {move.function('frozen')}()"
            )
        )
    return lines


def _fill(move: Move) -> Fill:
    # A subquery locks and reads the row as it is now for a third of what the function costs. What it cannot see is a
    # row younger than the statement, to which a key may have gone over meanwhile: the function can.
    held = move.text("(select held.{x} from {a} held where held.{k} = {bound}.{l} for no key update)")
    return Fill(
        schema=move.other.schema,
        table=move.other.name,
        assignments=move.text("{y} = coalesce(") + held + move.text(", {read}({bound}.{l}))"),
        pending=move.text("{bound}.{y} is distinct from (select held.{x} from {a} held where held.{k} = {bound}.{l})"),
        columns=(move.name,),
        immutable=False,
        kept=move.trigger("push_u"),
    )


def _strays(move: Move) -> Fill:
    """Values that have no row to go to; a touch changes nothing about that, but verify counts them."""
    return Fill(
        schema=move.table.schema,
        table=move.table.name,
        assignments=move.text("{x} = {held}.{x}"),
        pending=move.text("{held}.{x} is not null and not exists (select from {b} o where o.{l} = {held}.{k})"),
        columns=(move.column.name,),
        immutable=False,
        kept=move.trigger("out_u"),
    )


def _restored(move: Move) -> Fill:
    value = move.text("(select o.{y} from {b} o where o.{l} = {held}.{k} for no key update)")
    return Fill(
        schema=move.table.schema,
        table=move.table.name,
        assignments=move.text("{x} = ") + value,
        pending=move.text("{held}.{x} is distinct from (select o.{y} from {b} o where o.{l} = {held}.{k})"),
        columns=(move.column.name,),
        immutable=False,
    )


def _proof(move: Move, *, note: bool) -> str:
    """A DO block that raises unless all pairs agree and no value lacks a row; with `note` it is noted on triggers."""
    noted = ""
    if note:
        told = literal(f"{VERIFIED}: every pair agreed when it was made again")
        noted = "\n".join(
            f"  comment on trigger {quote(move.trigger(name))} on {table} is {told};"
            for name, table in (("push_u", move.other.sql), ("out_u", move.table.sql))
        )
        noted = f"\n{noted}"
    return (
        move.text(
            "do $$\ndeclare\n  differing bigint;\n  strays bigint;\nbegin\n"
            "  select count(*) filter (where o.{y} is distinct from held.{x} and o.{l} is not null),\n"
            "    count(*) filter (where o.{l} is null and held.{x} is not null)\n"
            "  into differing, strays\n  from {a} held\n  left join {b} o on o.{l} = held.{k};\n"
            "  if differing > 0 or strays > 0 then\n"
        )
        + f"    raise exception '% rows of {move.other.sql} differ, % values of {move.table.sql} have no row there',\n"
        "      differing, strays\n      using hint = 'run dbkit migrate backfill, and insert the rows that lack';\n"
        f"  end if;{noted}\nend\n$$"
    )
