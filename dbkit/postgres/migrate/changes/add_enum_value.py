"""Add a value to an enum type: one statement that no table waits for, which the server offers no way to undo.

There is nothing to contract. The way back leaves the value in the type, where nobody sees it, and is refused while a
row or a default holds it: the old application would meet a value it does not know.
"""

from __future__ import annotations

from dbkit.errors import UsageError
from dbkit.postgres.catalog import quote
from dbkit.postgres.indexes.failure import GUARD
from dbkit.postgres.migrate.changes import words
from dbkit.postgres.migrate.changes.design import Design, Line, Refusals, alone, transaction
from dbkit.postgres.migrate.changes.enums import EnumType
from dbkit.postgres.migrate.names import literal

KIND = "add-enum-value"
LONGEST = 63
"""Bytes of a label."""


def design(enum: EnumType, value: str, *, before: str | None = None, after: str | None = None) -> Design:
    """Add `value`, before or after another one, else last. Raises Refused or UsageError."""
    if before is not None and after is not None:
        raise UsageError("--before and --after exclude each other", hint="name one neighbour")
    beside = before if before is not None else after
    if beside is not None and beside not in enum.labels:
        raise UsageError(f"{enum.sql} has no value {beside!r}", hint=f"it has: {', '.join(enum.labels)}")
    if len(value.encode()) > LONGEST:
        raise UsageError(f"a value of an enum has {LONGEST} bytes at the most", why=f"{value!r} is longer")
    reasons = Refusals(f"{value!r} cannot be added to {enum.sql}")
    if value in enum.labels:
        reasons.add(f"it has that value already: {', '.join(enum.labels)}")
    if not enum.owned:
        reasons.add(f"this role is not the owner {enum.owner} of {enum.sql}")
    reasons.check()
    place = f" {'before' if before is not None else 'after'} {literal(beside)}" if beside is not None else ""
    add = f"alter type {enum.sql} add value if not exists {literal(value)}{place}"
    return Design(
        id=f"{enum.name}-{words.slug(value) or 'empty'}-added",
        kind=KIND,
        title=f"add {value!r} to the enum {enum.name}",
        schema=enum.schema,
        table=enum.name,
        old=(),
        new=(),
        expand=(alone(add, "committed by itself: a value cannot be used in the transaction that adds it"),),
        undo_expand=(transaction(_unused(enum, value)),),
        story=(
            "No table is locked, and no row changes.",
            f"The old application may read {value!r} as soon as anybody writes it:",
            "let every version that is at work know it before the first one writes it.",
            "PostgreSQL cannot drop a value: the way back leaves it in the type, unused, and is refused while a row or",
            "a default holds it.",
        ),
        notes=_notes(enum, value),
    )


def _notes(enum: EnumType, value: str) -> tuple[str, ...]:
    held = [f"{value!r} may appear in {', '.join(map(str, enum.columns))}"] if enum.columns else []
    divided = [
        f"{holder.schema}.{holder.table} is partitioned by {holder.column}: without a partition that takes {value!r} "
        "it refuses such rows"
        for holder in enum.columns
        if holder.divides
    ]
    return (*held, *divided, *(f"{told} names the type or its values, and not {value!r}" for told in enum.names))


def _unused(enum: EnumType, value: str) -> Line:
    """Fails while the value is stored anywhere: looked up when it runs, by whoever runs it."""
    label, type_ = literal(value), literal(enum.sql)
    body = f"""do $unused$
declare
  held record;
  found boolean;
begin
  if not exists (select from pg_catalog.pg_enum where enumtypid = {type_}::regtype and enumlabel = {label}) then
    return;
  end if;
  set local row_security = off;
  for held in
    select a.attrelid::regclass as place, a.attname as name, pg_catalog.pg_get_expr(d.adbin, d.adrelid) as preset,
      case when {type_}::regtype in (t.typelem, b.typelem) then 'any (%I::%s[])' else '%I::%s' end as form
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p', 'm') and not c.relispartition
      and c.relpersistence <> 't'
    join pg_catalog.pg_type t on t.oid = a.atttypid
    left join pg_catalog.pg_type b on b.oid = t.typbasetype
    left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum and a.attgenerated = ''
    where a.attnum > 0 and not a.attisdropped
      and {type_}::regtype in (t.oid, t.typbasetype, t.typelem, b.typelem)
  loop
    if held.preset like pg_catalog.quote_literal({label}) || '::%' then
      raise exception 'the default of %.% is %', held.place, held.name, {label}
        using errcode = '{GUARD}', hint = 'give the column another default first';
    end if;
    execute format('select exists (select from %s where %L::%s = ' || held.form || ')',
      held.place, {label}, {type_}, held.name, {type_}) into found;
    if found then
      raise exception 'rows of % hold % in %', held.place, {label}, held.name
        using errcode = '{GUARD}', hint = 'give them another value first: PostgreSQL cannot drop one that is stored';
    end if;
  end loop;
end
$unused$"""
    return Line(body, f"{quote(enum.name)} keeps the value: what has to be true is that nothing holds it")
