"""The moment of a partitioning: two tables exchange places in one short transaction, there and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.connect import Connection, fetch
from dbkit.postgres.migrate.changes.design import Line, shorten
from dbkit.postgres.migrate.changes.facts import Column, Index
from dbkit.postgres.migrate.changes.partition_parent import Plan, key_of, named, trigger, wide
from dbkit.postgres.migrate.names import literal

MOVED_AT_MOST: Final = 10_000
"""Rows that the way back copies under its lock; more would keep others waiting for too long."""


def lock(plan: Plan, more: Sequence[str]) -> Line:
    """All locks first. A view before the table under it, as those who read it take them."""
    views = [v.name for v in plan.more.views] if more else []
    parents = [quoted(*c.parent) for c in plan.parents if c.parent]
    names = ", ".join(dict.fromkeys([*views, plan.table.sql, *more, *parents]))
    return Line(f"lock table {names} in access exclusive mode", "all that follows is metadata: milliseconds")


_IN_PLACE: Final = 'dbkit: ignore migrate.drop-index-not-concurrent reason="its table is locked already: milliseconds"'


def swap(connection: Connection, plan: Plan) -> list[Line]:
    """The partitioned table takes the name, and the old one becomes its first partition."""
    table, parent = plan.table, plan.parent_sql
    lines = [lock(plan, [parent])]
    lines += [
        Line(f"drop trigger {quote(t.name)} on {table.sql}", "ATTACH brings those of the partitioned table")
        for t in table.triggers
    ]
    lines += _sequences(connection, plan, table.sql, parent)
    for index in table.indexes:
        lines += _legacy_index(plan, index)
    for item in table.statistics:
        lines.append(_renamed("statistics", item.schema, item.name, shorten(item.name, "legacy")))
        lines.append(_renamed("statistics", item.schema, shorten(item.name, "new"), item.name))
    lines.append(Line(f"alter table {table.sql} rename to {quote(plan.legacy)}"))
    lines.append(Line(f"alter table {parent} rename to {quote(table.name)}"))
    for index in table.indexes:
        lines.append(_renamed("index", table.schema, named("new", index), index.name))
    lines.append(
        Line(
            f"alter table {table.sql} attach partition {plan.legacy_sql}\n"
            f"  for values from (minvalue) to ({plan.bound})",
            "the validated check proves it: no scan",
        )
    )
    lines.append(Line(f"alter table {plan.legacy_sql} drop constraint {quote(plan.check)}"))
    return [*lines, *_views(plan)]


def _legacy_index(plan: Plan, index: Index) -> list[Line]:
    table = plan.table
    key, legacy = key_of(table, index), named("legacy", index)
    if index not in plan.widened:
        return [_renamed("index", table.schema, index.name, legacy)]
    if key is None:
        return [
            Line(f"drop index {quoted(table.schema, index.name)}", _IN_PLACE),
            _renamed("index", table.schema, wide(plan, index), legacy),
        ]
    word = "primary key" if key.kind == "p" else "unique"
    return [
        Line(f"alter table {table.sql} drop constraint {quote(key.name)}"),
        Line(
            f"alter table {table.sql} add constraint {quote(legacy)} {word} using index {quote(wide(plan, index))}",
            "takes the index over: metadata only",
        ),
    ]


def _renamed(kind: str, schema: str, name: str, new: str) -> Line:
    return Line(f"alter {kind} {quoted(schema, name)} rename to {quote(new)}")


def _views(plan: Plan) -> list[Line]:
    """A view holds on to the table itself: made again, it reads what has the name now."""
    lines: list[Line] = []
    for view in plan.more.views:
        options = f" with ({', '.join(view.options)})" if view.options else ""
        text = view.definition.strip().removesuffix(";")
        lines.append(Line(f"create or replace view {view.name}{options} as\n{text}", "or it would read the old table"))
    return lines


def _sequences(connection: Connection, plan: Plan, old: str, new: str) -> list[Line]:
    """Sequences go over from one table to the other."""
    lines: list[Line] = []
    for column in plan.table.columns:
        if column.identity:
            lines.append(_identity(connection, column, old, new))
        elif column.sequence:
            lines.append(Line(f"alter sequence {column.sequence} owned by {new}.{quote(column.name)}"))
    return lines


def _identity(connection: Connection, column: Column, old: str, new: str) -> Line:
    """The sequence of an identity cannot be moved: one of the same name starts where the old one stands."""
    row = fetch(
        connection,
        "select seqincrement as step, seqcache as cache, seqcycle as cycle, seqmax as most, seqmin as least "
        "from pg_catalog.pg_sequence where seqrelid = %s::regclass",
        [column.sequence],
    )[0]
    how = "always" if column.identity == "a" else "by default"
    options = (
        f"increment by {row['step']} minvalue {row['least']} maxvalue {row['most']} cache {row['cache']}"
        f"{' cycle' if row['cycle'] else ''}"
    )
    add = (
        f"alter table {new} alter column {quote(column.name)} add generated {how} as identity "
        f"(sequence name {column.sequence} start with %s {options})"
    )
    body = (
        "do $$\ndeclare\n  next bigint;\nbegin\n"
        f"  alter sequence {column.sequence} increment by {row['step']};  -- nobody draws from it any more\n"
        f"  select last_value + case when is_called then {row['step']} else 0 end into next from {column.sequence};\n"
        f"  alter table {old} alter column {quote(column.name)} drop identity;\n"
        f"  execute format({literal(add)}, next);\nend\n$$"
    )
    return Line(body, "the sequence of an identity cannot be moved: a new one starts where the old one stands")


def count(plan: Plan, table: str) -> str:
    """A DO block that refuses when more rows lie outside the old table than may be moved under a lock."""
    return f"""do $$
declare
  most bigint := coalesce(nullif(current_setting('dbkit.move_at_most', true), ''), '{MOVED_AT_MOST}')::bigint;
  rows bigint;
begin
  perform set_config('row_security', 'off', true);  -- fails where a policy would hide rows from us: they would be lost
  select count(*)
  into rows
  from (
    select
    from {table}
    where tableoid <> '{plan.legacy_sql}'::regclass
    limit most + 1
  ) outside;
  if rows > most then
    raise exception 'more than % rows of {table} lie in new partitions and would be moved back under a lock', most
      using hint = 'allow the pause by PGOPTIONS=-cdbkit.move_at_most=N, with --max-hold to match, or go forward';
  end if;
end
$$"""


def back(connection: Connection, plan: Plan) -> list[Line]:
    """The old table takes its name again, with the rows that other partitions hold."""
    table, parent, legacy = plan.table, plan.parent_sql, plan.legacy_sql
    move = (
        "do $$\ndeclare\n  columns text;\nbegin\n  select string_agg(quote_ident(attname), ', ' order by attnum)\n"
        f"  into columns\n  from pg_catalog.pg_attribute\n  where attrelid = {literal(legacy)}::regclass\n"
        "    and attnum > 0\n    and not attisdropped\n    and attgenerated = '';\n"
        f"  execute format('insert into {legacy} (%1$s) overriding system value\n"
        f"    select %1$s from {table.sql}', columns);\n"
        "end\n$$"
    )
    lines = [
        lock(plan, [table.sql]),
        Line(count(plan, table.sql), "counted under the lock: exact"),
        Line(f"alter table {table.sql} detach partition {legacy}"),
        Line(move, "the rows that were written since and lie beyond the bound"),
        Line("set constraints all immediate", "what is deferred is checked now: no table is altered before that"),
        *_sequences(connection, plan, table.sql, legacy),
        Line(f"alter table {table.sql} rename to {quote(plan.parent)}"),
        Line(f"alter table {legacy} rename to {quote(table.name)}"),
        *_views(plan),
        *(Line(f"drop statistics if exists {quoted(s.schema, s.name)}") for s in table.statistics),
        Line(f"drop table {parent}", "with its partitions: every row of theirs is in the old table again"),
        Line(f"drop function if exists {plan.function}(integer)"),
    ]
    for index in table.indexes:
        key, old = key_of(table, index), named("legacy", index)
        if index not in plan.widened:
            lines.append(_renamed("index", table.schema, old, index.name))
        elif key is None:
            lines.append(Line(f"drop index {quoted(table.schema, old)}", _IN_PLACE))
            lines.append(_renamed("index", table.schema, named("back", index), index.name))
        else:
            word = "primary key" if key.kind == "p" else "unique"
            again = quote(named("back", index))
            lines.append(Line(f"alter table {table.sql} drop constraint {quote(old)}"))
            lines.append(Line(f"alter table {table.sql} add constraint {quote(key.name)} {word} using index {again}"))
    lines += [_renamed("statistics", s.schema, shorten(s.name, "legacy"), s.name) for s in table.statistics]
    lines += [line for t in table.triggers for line in trigger(plan, t, table.name)]
    return lines
