"""The partitioned table that takes a table's place: made empty, with its partitions and what hangs on the old one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from dbkit.postgres.catalog import quote, quoted
from dbkit.postgres.migrate.changes import rights, words
from dbkit.postgres.migrate.changes.design import Line, shorten
from dbkit.postgres.migrate.changes.facts import Column, Constraint, Index, Table, Trigger
from dbkit.postgres.migrate.changes.partition_bounds import Every
from dbkit.postgres.migrate.changes.partition_facts import More, lacking
from dbkit.postgres.migrate.names import literal

LIKE = (
    "including comments including compression including constraints including defaults including generated "
    "including storage"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is known and chosen."""

    table: Table
    more: More
    column: Column
    step: Every
    first: date | int
    """Where the first new partition begins; the old table takes what lies below."""
    ahead: int

    @property
    def parent(self) -> str:
        """What the partitioned table is called until the swap."""
        return shorten(self.table.name, "partitioned")

    @property
    def parent_sql(self) -> str:
        return quoted(self.table.schema, self.parent)

    @property
    def legacy(self) -> str:
        """What the old table is called after the swap."""
        return shorten(self.table.name, "legacy")

    @property
    def legacy_sql(self) -> str:
        return quoted(self.table.schema, self.legacy)

    @property
    def rest(self) -> str:
        """The default partition, for what lies beyond all others."""
        return shorten(self.table.name, "default")

    @property
    def bound(self) -> str:
        """Where the first new partition begins, as SQL."""
        return self.step.written(self.first)

    @property
    def check(self) -> str:
        """Name of the check that proves that the old table holds nothing from the bound on."""
        return shorten("dbkit", self.table.name, "bound")

    @property
    def function(self) -> str:
        """The function that makes further partitions."""
        return quoted(self.table.schema, shorten(self.table.name, "add", "partitions"))

    @property
    def prefix(self) -> str:
        """What the name of every new partition begins with."""
        return shorten(self.table.name, limit=50) + "_"

    @property
    def partitions(self) -> list[tuple[str, date | int, date | int]]:
        """Name, lower and upper bound of the partitions made at once."""
        ranges = self.step.ranges(self.first, self.ahead)
        return [(f"{self.prefix}{self.step.label(low)}", low, high) for low, high in ranges]

    @property
    def widened(self) -> list[Index]:
        """Unique indexes that have to take the column in."""
        return lacking(self.table, self.column.name)

    @property
    def parents(self) -> list[Constraint]:
        """Foreign keys of the table."""
        return [c for c in self.table.constraints if c.kind == "f"]

    @property
    def storage(self) -> str:
        """` with (...)` for a new partition; empty where nothing was set."""
        return f" with ({', '.join(self.more.options)})" if self.more.options else ""

    def more_columns(self, index: Index) -> tuple[str, ...]:
        """What a unique index takes in."""
        return (self.column.name,) if index in self.widened else ()


def key_of(table: Table, index: Index) -> Constraint | None:
    """The primary key or unique constraint an index stands for."""
    return next((c for c in table.constraints if c.index == index.oid and c.kind in "pu"), None)


def named(kind: str, index: Index) -> str:
    """The name an index has meanwhile: `new` on the partitioned table, `legacy` on the old one, `back` on return."""
    return shorten(index.name, kind)


def wide(plan: Plan, index: Index) -> str:
    """The name of the widened index until contract."""
    return shorten(index.name, plan.column.name)


def create(plan: Plan) -> list[Line]:
    """The partitioned table, its partitions and the function that makes more: nobody uses any of it yet."""
    table, parent = plan.table, plan.parent_sql
    place = f" tablespace {plan.more.tablespace}" if plan.more.tablespace else ""
    lines = [
        Line(f"drop table if exists {parent}", "left where an earlier attempt ended: it is empty"),
        Line(
            f"create table {parent} (like {table.sql} {LIKE})\n  partition by range ({quote(plan.column.name)}){place}",
            f"becomes {table.name} at the end; nobody uses it yet",
        ),
        *_attributes(plan),
        *(_index(plan, i) for i in table.indexes),
        *_statistics(plan),
        *(line for t in table.triggers for line in trigger(plan, t, plan.parent)),
        *_security(plan),
        *_partitions(plan),
        Line(_function(plan), f"makes further partitions: call it from a scheduler, select {plan.function}(3)"),
    ]
    return [*lines, *_owners(plan)]


def _attributes(plan: Plan) -> list[Line]:
    table, parent = plan.table, plan.parent_sql
    lines = [
        Line(f"alter table {parent} alter column {quote(column.name)} set statistics {column.statistics}")
        for column in table.columns
        if column.statistics >= 0
    ]
    lines += rights.of_table(table.sql, parent)
    if table.comment:
        lines.append(Line(f"comment on table {parent} is {literal(table.comment)}"))
    return lines


def _index(plan: Plan, index: Index) -> Line:
    key, more = key_of(plan.table, index), plan.more_columns(index)
    name = named("new", index)
    if key is not None:
        return Line(words.key_elsewhere(plan.parent_sql, key.definition, name, more))
    return Line(words.index_elsewhere(index.definition, plan.parent, name, more))


def _statistics(plan: Plan) -> list[Line]:
    return [
        Line(words.statistics_elsewhere(s.definition, plan.parent, s.schema, shorten(s.name, "new")))
        for s in plan.table.statistics
    ]


def trigger(plan: Plan, held: Trigger, table: str) -> list[Line]:
    """A user's trigger on the table of that name, in the mode it has."""
    lines = [Line(words.trigger_elsewhere(held.definition, table))]
    if held.enabled != "O":
        word = {"D": "disable", "R": "enable replica", "A": "enable always"}[held.enabled]
        lines.append(Line(f"alter table {quoted(plan.table.schema, table)} {word} trigger {quote(held.name)}"))
    return lines


def _security(plan: Plan) -> list[Line]:
    parent = plan.parent_sql
    lines: list[Line] = []
    if plan.table.row_security:
        lines.append(Line(f"alter table {parent} enable row level security"))
    if plan.table.forced_row_security:
        lines.append(Line(f"alter table {parent} force row level security"))
    for policy in plan.more.policies:
        kind = "" if policy.permissive else " as restrictive"
        head = f"create policy {quote(policy.name)} on {parent}{kind} for {policy.command}\n  to"
        rest = f"\n  using ({policy.using})" if policy.using else ""
        rest += f"\n  with check ({policy.check})" if policy.check else ""
        everybody = policy.roles == ("public",)
        lines.append(
            Line(f"{head} public{rest}" if everybody else rights.policy(policy.name, plan.table.sql, head, rest))
        )
        if policy.comment:
            lines.append(Line(f"comment on policy {quote(policy.name)} on {parent} is {literal(policy.comment)}"))
    return lines


def _partitions(plan: Plan) -> list[Line]:
    lines: list[Line] = []
    for name, low, high in plan.partitions:
        bounds = f"for values from ({plan.step.written(low)}) to ({plan.step.written(high)})"
        lines += _partition(plan, name, bounds)
    rest = _partition(plan, plan.rest, "default")
    return [*lines, Line(rest[0].sql, "takes what lies beyond all others, so that no insert fails"), *rest[1:]]


def _partition(plan: Plan, name: str, bounds: str) -> list[Line]:
    own = quoted(plan.table.schema, name)
    lines = [Line(f"create table {own} partition of {plan.parent_sql} {bounds}{plan.storage}")]
    if plan.table.replica_identity in "fn":
        word = {"f": "full", "n": "nothing"}[plan.table.replica_identity]
        lines.append(Line(f"alter table {own} replica identity {word}"))
    return lines


def _owners(plan: Plan) -> list[Line]:
    """All of it belongs to whoever owns the table there: roles are called otherwise in another environment."""
    parent = literal(plan.parent_sql)
    function = literal(f"alter function {plan.function}(integer) owner to %I".replace("%", "%%").replace("%%I", "%I"))
    body = (
        "do $$\ndeclare\n  owner name;\n  made regclass;\nbegin\n"
        "  select pg_get_userbyid(relowner)\n  into owner\n  from pg_catalog.pg_class\n"
        f"  where oid = {literal(plan.table.sql)}::regclass;\n"
        f"  for made in select relid from pg_partition_tree({parent}) loop\n"
        "    execute format('alter table %s owner to %I', made, owner);\n  end loop;\n"
        f"  execute format({function}, owner);\nend\n$$"
    )
    return [Line(body, f"it all belongs to the owner of {plan.table.name}")]


def _function(plan: Plan) -> str:
    """Makes the partitions of this period and of so many that follow, and says how many were missing."""
    table, step = plan.table, plan.step
    column = quote(plan.column.name)
    if step.period:
        kind = "timestamp"
        now = f"date_trunc('{step.period}', now() at time zone 'UTC')"
        low, high = f"{now} + n * interval '1 {step.period}'", f"low + interval '1 {step.period}'"
        label = "to_char(low, 'YYYY_MM')" if step.period == "month" else "to_char(low, 'YYYY_MM_DD')"
        clock = {"date": "'YYYY-MM-DD'", "timestamp": "'YYYY-MM-DD HH24:MI:SS'"}.get(
            step.base, "'YYYY-MM-DD HH24:MI:SS+00'"
        )
        bound = f"to_char({{}}, {clock})"
        first = f"timestamp '{plan.first}'"
    else:
        kind = "bigint"
        now = f"(select coalesce(max({column}), 0) / {step.step} from {table.sql})"
        low, high, label = f"({now} + n) * {step.step}", f"low + {step.step}", "low::text"
        bound, first = "({})::text", str(plan.first)
    name, place = literal(plan.prefix), literal(table.schema)
    identity = {"f": "full", "n": "nothing"}.get(table.replica_identity)
    extra = f"    execute format('alter table %I.%I replica identity {identity}', {place}, name);\n" if identity else ""
    with_ = plan.storage.replace("'", "''")
    like = f"create table %I.%I (like {table.sql} {LIKE}){with_}".replace("'", "''")
    attach = f"alter table {table.sql} attach partition %I.%I for values from (%L) to (%L)".replace("'", "''")
    return (
        f"create or replace function {plan.function}(ahead integer) returns integer\n"
        "language plpgsql set lock_timeout = '1s' as $$\n"
        f"declare\n  low {kind};\n  high {kind};\n  name text;\n  made integer := 0;\nbegin\n"
        f"  for n in 0 .. ahead loop\n    low := {low};\n    high := {high};\n"
        f"    continue when low < {first};\n    name := {name} || {label};\n"
        f"    continue when to_regclass(format('%I.%I', {place}, name)) is not null;\n"
        "    -- Made apart and attached: on the partitioned table that takes SHARE UPDATE EXCLUSIVE only.\n"
        f"    execute format('{like}', {place}, name);\n{extra}"
        f"    execute format('{attach}',\n      {place}, name, {bound.format('low')}, {bound.format('high')});\n"
        "    made := made + 1;\n  end loop;\n  return made;\nend\n$$"
    )


def strangers(plan: Plan, keys: Sequence[str]) -> str:
    """A DO block that refuses to go on when something hangs on the table that this change does not know of."""
    table = plan.table
    name = literal(table.sql)
    indexes = [i.name for i in table.indexes] + list(keys)

    def listed(names: Sequence[str]) -> str:
        return f"array[{', '.join(map(literal, names))}]::text[]"

    views = ", ".join(f"to_regclass({literal(v.name)})" for v in plan.more.views)
    highest = f"(select max({quote(plan.column.name)}) from {table.sql})"
    if plan.step.period:
        near = f"now() at time zone 'UTC' >= timestamp '{plan.first}' - interval '1 day' or {highest} >= {plan.bound}"
    else:
        near = f"{highest} >= {plan.bound} - {plan.step.step // 10}"
    return f"""do $$
declare
  strange text;
begin
  perform set_config('row_security', 'off', true);  -- fails where a policy would hide rows from us
  if {near} then
    raise exception 'the first new partition begins at {plan.bound.replace("'", "")}, which is too near'
      using hint = 'roll the change back and write it anew: dbkit chooses a later start, or --from says which';
  end if;
  select string_agg(kind || ' ' || name, ', ')
  into strange
  from (
    select 'index' as kind, c.relname::text as name
    from pg_catalog.pg_index i
    join pg_catalog.pg_class c on c.oid = i.indexrelid
    where i.indrelid = {name}::regclass
      and (c.relname <> all ({listed(indexes)}) or not i.indisvalid)
    union all
    select 'trigger', tgname
    from pg_catalog.pg_trigger
    where tgrelid = {name}::regclass
      and not tgisinternal
      and tgname <> all ({listed([t.name for t in table.triggers])})
    union all
    select 'constraint', conname
    from pg_catalog.pg_constraint
    where conrelid = {name}::regclass
      and contype in ('c', 'f', 'p', 'u', 'x')
      and conname <> all ({listed([*(c.name for c in table.constraints), plan.check])})
    union all
    select 'policy', polname
    from pg_catalog.pg_policy
    where polrelid = {name}::regclass
      and polname <> all ({listed([p.name for p in plan.more.policies])})
    union all
    select 'foreign key', conname
    from pg_catalog.pg_constraint
    where confrelid = {name}::regclass
      and contype = 'f'
    union all
    select distinct 'view', r.ev_class::regclass::text
    from pg_catalog.pg_depend d
    join pg_catalog.pg_rewrite r on r.oid = d.objid
    where d.classid = 'pg_rewrite'::regclass
      and d.refclassid = 'pg_class'::regclass
      and d.refobjid = {name}::regclass
      and r.ev_class <> d.refobjid
      and coalesce(r.ev_class <> all (array[{views}]::oid[]), true)
  ) unknown;
  if strange is not null then
    raise exception '{table.sql} is not the table this revision was written for: %', strange
      using hint = 'roll the change back and write it anew, so that it takes these over';
  end if;
end
$$"""
