-- An enum type with its labels and all that rests on it: columns, defaults, checks, views, functions.
-- Rights: none. Run it with search_path = pg_catalog, so that every name is qualified.
with recursive held as (
  select %(type)s::oid as oid
  union
  select t.oid
  from held h
  join pg_catalog.pg_type t
    on t.typelem = h.oid and t.typcategory = 'A'
    or t.typbasetype = h.oid
    or t.typtype = 'c' and exists (
      select from pg_catalog.pg_attribute a
      join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind = 'c'
      where a.attrelid = t.typrelid and a.atttypid = h.oid and not a.attisdropped
    )
),
users as (
  select distinct
    d.classid,
    d.objid,
    d.objsubid
  from held h
  join pg_catalog.pg_depend d on d.refclassid = 'pg_type'::regclass and d.refobjid = h.oid and d.deptype in ('n', 'a')
)
select
  n.nspname::text as schema,
  t.typname::text as name,
  t.typtype::text as kind,
  pg_catalog.pg_has_role(t.typowner, 'usage') as owned,
  t.typowner::regrole::text as owner,
  (
    select coalesce(jsonb_agg(e.enumlabel order by e.enumsortorder), '[]')
    from pg_catalog.pg_enum e
    where e.enumtypid = t.oid
  ) as labels,
  (
    select coalesce(jsonb_agg(e.enumlabel order by e.enumlabel::text collate "default"), '[]')
    from pg_catalog.pg_enum e
    where e.enumtypid = t.oid
  ) as alphabetical,
  (
    select coalesce(jsonb_agg(distinct jsonb_build_object(
      'schema', cn.nspname, 'table', c.relname, 'column', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
      'default', pg_get_expr(x.adbin, x.adrelid), 'divides', coalesce(a.attnum = any (p.partattrs), false)
    )), '[]')
    from users u
    join pg_catalog.pg_class c on c.oid = u.objid and c.relkind in ('r', 'p', 'f') and not c.relispartition
    join pg_catalog.pg_namespace cn on cn.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = u.objsubid
    left join pg_catalog.pg_attrdef x on x.adrelid = c.oid and x.adnum = a.attnum
    left join pg_catalog.pg_partitioned_table p on p.partrelid = c.oid
    where u.classid = 'pg_class'::regclass and u.objsubid > 0
  ) as columns,
  (
    select coalesce(jsonb_agg(found.told order by found.told), '[]')
    from (
      select format('check %%I of %%s', x.conname, coalesce(nullif(x.conrelid, 0)::regclass::text, x.contypid::regtype::text)) as told
      from users u
      join pg_catalog.pg_constraint x on x.oid = u.objid and x.contype = 'c' and x.conparentid = 0
      where u.classid = 'pg_constraint'::regclass
      union
      select format('%%s %%s', case c.relkind when 'm' then 'materialized view' else 'view' end, c.oid::regclass)
      from users u
      join pg_catalog.pg_rewrite r on r.oid = u.objid
      join pg_catalog.pg_class c on c.oid = r.ev_class
      where u.classid = 'pg_rewrite'::regclass
      union
      select format('index %%s', c.oid::regclass)
      from users u
      join pg_catalog.pg_class c on c.oid = u.objid and c.relkind in ('i', 'I')
      where u.classid = 'pg_class'::regclass
      union
      select format('policy %%I of %%s', p.polname, p.polrelid::regclass)
      from users u
      join pg_catalog.pg_policy p on p.oid = u.objid
      where u.classid = 'pg_policy'::regclass
      union
      select format('trigger %%I of %%s', g.tgname, g.tgrelid::regclass)
      from users u
      join pg_catalog.pg_trigger g on g.oid = u.objid and not g.tgisinternal and g.tgparentid = 0
      where u.classid = 'pg_trigger'::regclass
      union
      select format('function %%s', f.oid::regprocedure)
      from users u
      join pg_catalog.pg_proc f on f.oid = u.objid
      where u.classid = 'pg_proc'::regclass
      union
      -- A body that is only text depends on nothing: its words are looked at.
      select format('function %%s', f.oid::regprocedure)
      from pg_catalog.pg_proc f
      join pg_catalog.pg_namespace fn on fn.oid = f.pronamespace
      where fn.nspname not in ('pg_catalog', 'information_schema', 'dbkit')
        and f.prosrc ~ ('\m' || regexp_replace(t.typname, '(\W)', '\\\1', 'g') || '\M')
        and not exists (
          select from pg_catalog.pg_depend d
          where d.classid = 'pg_proc'::regclass and d.objid = f.oid and d.deptype = 'e'
        )
    ) found
  ) as names
from pg_catalog.pg_type t
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
where t.oid = %(type)s::oid
