-- Rows and bytes of every table that holds rows itself; rows as ANALYZE has counted them.
-- Rights: none. Versions: 14 and newer.
select
  n.nspname::text as schema,
  c.relname::text as name,
  greatest(c.reltuples, 0)::bigint as rows,
  pg_catalog.pg_table_size(c.oid)::bigint as bytes,
  (select i.inhparent::bigint from pg_catalog.pg_inherits i where i.inhrelid = c.oid and c.relispartition) as parent,
  c.oid::bigint as oid
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm')
  and n.nspname not in ('pg_catalog', 'information_schema')
  and n.nspname not like 'pg\_toast%'
  and n.nspname not like 'pg\_temp%'
