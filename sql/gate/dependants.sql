-- What in the catalogue rests on columns of a table (or on the table as a whole) and is not dropped with them unnoticed.
-- dbkit's own triggers and checks, indexes, sequences and NOT NULL constraints are left out.
-- Rights: none. Versions: 14 and newer.
-- In psql first: set dbkit.about = 'public.users'; set dbkit.columns = '{full_name}'; ('{}' = the whole table)
-- set dbkit.ours = '{}'; (oids of tables whose foreign keys the change takes along)
with recursive asked as (
  select
    pg_catalog.to_regclass(current_setting('dbkit.about'))::oid as rel,
    current_setting('dbkit.columns')::text[] as names
), tree as (
  select asked.rel as oid
  from asked
  union all
  select i.inhrelid
  from tree
  join pg_catalog.pg_inherits i on i.inhparent = tree.oid
), places as (
  select
    tree.oid as rel,
    a.attnum::int as position
  from tree
  cross join asked
  left join pg_catalog.pg_attribute a on a.attrelid = tree.oid
    and a.attname = any (asked.names)
    and not a.attisdropped
  where cardinality(asked.names) = 0
    or a.attnum is not null
), found as (
  select distinct
    d.classid,
    d.objid,
    d.objsubid,
    p.rel
  from places p
  join pg_catalog.pg_depend d on d.refclassid = 'pg_class'::regclass
    and d.refobjid = p.rel
    and (p.position is null or d.refobjsubid = p.position)
  where d.deptype in ('n', 'a')
)
select
  case c.relkind when 'm' then 'materialized view' else 'view' end as kind,
  c.oid::regclass::text as name
from found f
join pg_catalog.pg_rewrite r on f.classid = 'pg_rewrite'::regclass and r.oid = f.objid
join pg_catalog.pg_class c on c.oid = r.ev_class
where c.relkind in ('v', 'm')
  and c.oid <> f.rel -- before 16 a view's own rule depends on the view itself
union
select
  'rule',
  r.rulename || ' on ' || c.oid::regclass
from found f
join pg_catalog.pg_rewrite r on f.classid = 'pg_rewrite'::regclass and r.oid = f.objid
join pg_catalog.pg_class c on c.oid = r.ev_class
where c.relkind not in ('v', 'm')
union
select
  'policy',
  p.polname || ' on ' || p.polrelid::regclass
from found f
join pg_catalog.pg_policy p on f.classid = 'pg_policy'::regclass and p.oid = f.objid
union
select
  'trigger',
  t.tgname || ' on ' || t.tgrelid::regclass
from found f
join pg_catalog.pg_trigger t on f.classid = 'pg_trigger'::regclass and t.oid = f.objid
where not t.tgisinternal
  and t.tgname !~ '^[!~]dbkit_'
  and t.tgparentid = 0
  and (cardinality((select names from asked)) > 0)
union
select
  'generated column',
  a.attname || ' of ' || d.adrelid::regclass
from found f
join pg_catalog.pg_attrdef d on f.classid = 'pg_attrdef'::regclass and d.oid = f.objid
join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
where a.attgenerated <> ''
  and a.attname <> all ((select names from asked)::text[])
  and cardinality((select names from asked)) > 0
union
select
  'constraint',
  c.conname || ' on ' || c.conrelid::regclass
from found f
join pg_catalog.pg_constraint c on f.classid = 'pg_constraint'::regclass and c.oid = f.objid
where c.contype in ('c', 'x')
  and c.conname !~ '^dbkit_'
  and c.conparentid = 0
  and cardinality(c.conkey) > 1
  and cardinality((select names from asked)) > 0
union
select
  'statistics object',
  s.stxname::text
from found f
join pg_catalog.pg_statistic_ext s on f.classid = 'pg_statistic_ext'::regclass and s.oid = f.objid
where cardinality((select names from asked)) > 0
union
select
  'function',
  f.objid::regprocedure::text
from found f
where f.classid = 'pg_proc'::regclass
union
select
  'foreign key',
  c.conname || ' on ' || c.conrelid::regclass
from places l
join pg_catalog.pg_constraint c on c.confrelid = l.rel
where c.contype = 'f'
  and c.conparentid = 0
  and c.conrelid <> c.confrelid
  and (l.position is null or l.position = any (c.confkey))
  and c.conrelid::bigint <> all (current_setting('dbkit.ours')::bigint[])
union
select
  'publication',
  p.pubname::text
from places l
join pg_catalog.pg_publication_rel r on r.prrelid = l.rel
join pg_catalog.pg_publication p on p.oid = r.prpubid
where l.position is null
  or exists (
    select
    from pg_catalog.jsonb_array_elements_text(
      case jsonb_typeof(pg_catalog.to_jsonb(r) -> 'prattrs') when 'array' then pg_catalog.to_jsonb(r) -> 'prattrs' else '[]' end
    ) a (attnum)
    where a.attnum::int = l.position
  )
order by 1, 2
