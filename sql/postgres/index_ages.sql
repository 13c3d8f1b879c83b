-- When each index was last built or changed. An error unless track_commit_timestamp is on.
-- Rights: none. Null where the commit is older than the server remembers.
select
  i.indexrelid::bigint as oid,
  pg_catalog.pg_xact_commit_timestamp(i.xmin) as created
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname not in ('pg_catalog', 'information_schema', 'dbkit')
  and n.nspname not like 'pg\_toast%'
  and i.xmin::text::bigint >= 3
