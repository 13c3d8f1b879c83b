-- Columns of one table with all that decides which values they accept; domains are followed to their base type.
-- Rights: none. Versions: 14 and newer. The parameter is the table's oid.
with recursive types as (
  select a.attnum, a.atttypid as oid, a.atttypmod as modifier, false as not_null, '{}'::text[] as checks, 0 as depth
  from pg_catalog.pg_attribute a
  where a.attrelid = %s::oid
    and a.attnum > 0
    and not a.attisdropped
  union all
  select
    below.attnum,
    t.typbasetype,
    case when t.typtypmod >= 0 then t.typtypmod else below.modifier end,
    below.not_null or t.typnotnull,
    below.checks || array(
      select pg_catalog.pg_get_constraintdef(k.oid)
      from pg_catalog.pg_constraint k
      where k.contypid = t.oid
        and k.contype = 'c'
    ),
    below.depth + 1
  from types below
  join pg_catalog.pg_type t on t.oid = below.oid and t.typtype = 'd'
),
base as (
  select distinct on (attnum) * from types order by attnum, depth desc
)
select
  a.attname::text as name,
  pg_catalog.format_type(a.atttypid, a.atttypmod) as type,
  t.typname::text as base,
  t.typtype::text as kind,
  t.typcategory::text as category,
  case when t.typcategory = 'A' then pg_catalog.format_type(t.typelem, base.modifier) end as element,
  et.typname::text as element_base,
  et.typtype::text as element_kind,
  case when t.typname in ('varchar', 'bpchar') and base.modifier > 4 then base.modifier - 4
    when t.typname in ('bit', 'varbit') and base.modifier > 0 then base.modifier end as length,
  case when t.typname = 'numeric' and base.modifier >= 0 then ((base.modifier - 4) >> 16) & 65535 end as digits,
  case when t.typname = 'numeric' and base.modifier >= 0 then (base.modifier - 4) & 2047 end as scale,
  (select count(*) from pg_catalog.pg_enum e where e.enumtypid in (t.oid, et.oid))::int as labels,
  a.attnotnull or base.not_null as not_null,
  a.attgenerated <> '' as generated,
  a.attidentity <> '' as identity,
  pg_catalog.pg_get_expr(d.adbin, d.adrelid) as default_expression,
  base.checks as domain_checks,
  case when a.atttypid <> base.oid then pg_catalog.format_type(a.atttypid, -1) end as domain,
  array(
    select pg_catalog.format_type(f.atttypid, f.atttypmod)
    from pg_catalog.pg_attribute f
    where f.attrelid = t.typrelid
      and t.typtype = 'c'
      and f.attnum > 0
      and not f.attisdropped
    order by f.attnum
  ) as fields
from base
join pg_catalog.pg_attribute a on a.attrelid = %s::oid and a.attnum = base.attnum
join pg_catalog.pg_type t on t.oid = base.oid
left join pg_catalog.pg_type et on et.oid = t.typelem and t.typcategory = 'A'
left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
order by a.attnum
