-- Tables to fill with rows: checks, unique keys and, of a partition, the condition its rows must meet.
-- Rights: none. Versions: 14 and newer.
select
  c.oid::bigint as oid,
  n.nspname::text as schema,
  c.relname::text as name,
  c.relkind::text as kind,
  array(
    select pg_catalog.pg_get_expr(k.conbin, k.conrelid)
    from pg_catalog.pg_constraint k
    where k.conrelid = c.oid
      and k.contype = 'c'
    order by k.oid
  ) as checks,
  case when c.relispartition then pg_catalog.pg_get_partition_constraintdef(c.oid) end as bound,
  array(
    select array_to_json(array(
      select a.attname
      from unnest(i.indkey::int2[]) with ordinality u(attnum, position)
      join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.attnum
      where u.position <= i.indnkeyatts
      order by u.position
    ))::text
    from pg_catalog.pg_index i
    where i.indrelid = c.oid
      and i.indisunique
    order by i.indexrelid
  ) as unique_keys,
  coalesce(pg_catalog.pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT', false) as is_default,
  array(
    select a.attname::text
    from pg_catalog.pg_partitioned_table p
    cross join unnest(p.partattrs::int2[]) with ordinality u(attnum, position)
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = u.attnum
    where p.partrelid = c.oid
    order by u.position
  ) as partition_key,
  (select p.inhparent::bigint from pg_catalog.pg_inherits p where p.inhrelid = c.oid and c.relispartition) as parent
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f')
  and n.nspname not in ('pg_catalog', 'information_schema')
  and n.nspname not like 'pg\_toast%'
  and n.nspname not like 'pg\_temp%'
  and not exists (
    select from pg_catalog.pg_depend d where d.objid = c.oid and d.classid = 'pg_class'::regclass and d.deptype = 'e'
  )
order by n.nspname, c.relname
