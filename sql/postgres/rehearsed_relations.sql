-- Every relation outside the system schemas with the file that holds it: a file that changed was written anew.
-- Read inside the migration's own transaction, so that what it has not committed yet is there.
-- Rights: none. Versions: 14 and newer.
select
  c.oid::bigint as oid,
  n.nspname::text as schema,
  c.relname::text as name,
  c.relkind::text as kind,
  pg_catalog.pg_relation_filenode(c.oid)::bigint as filenode,
  i.indrelid::bigint as table_oid
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_index i on i.indexrelid = c.oid
where n.nspname not in ('pg_catalog', 'information_schema')
  and n.nspname not like 'pg\_toast%'
  and n.nspname not like 'pg\_temp%'
  and c.relkind <> 'c'
