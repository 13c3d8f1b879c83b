-- Every foreign key of the user's schemas with its columns, in the order of the constraint.
-- Rights: none. Versions: 14 and newer. Keys that a partition inherited are left out: the parent's stands for them.
select
  con.oid::bigint as oid,
  con.conname::text as name,
  tn.nspname::text as table_schema,
  t.relname::text as table_name,
  t.oid::bigint as table_oid,
  array(
    select a.attname::text
    from unnest(con.conkey) with ordinality k(attnum, position)
    join pg_catalog.pg_attribute a on a.attrelid = con.conrelid and a.attnum = k.attnum
    order by k.position
  ) as columns,
  fn.nspname::text as parent_schema,
  f.relname::text as parent_name,
  f.oid::bigint as parent_oid,
  t.reltuples::float8 as table_tuples,
  (
    select coalesce(sum(s.n_tup_upd + s.n_tup_del), 0)
    from pg_catalog.pg_stat_all_tables s
    where s.relid = f.oid
      or s.relid in (select p.relid from pg_catalog.pg_partition_tree(f.oid) p)
  )::bigint as parent_changes
from pg_catalog.pg_constraint con
join pg_catalog.pg_class t on t.oid = con.conrelid
join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
join pg_catalog.pg_class f on f.oid = con.confrelid
join pg_catalog.pg_namespace fn on fn.oid = f.relnamespace
where con.contype = 'f'
  and con.conparentid = 0
  and tn.nspname not in ('pg_catalog', 'information_schema', 'dbkit')
order by tn.nspname, t.relname, con.conname
