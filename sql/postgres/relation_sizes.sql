-- How large some tables and their indexes are: pages on disk, and what VACUUM and ANALYZE counted.
-- The tables are given as two arrays of the same length, %(schemas)s and %(names)s.
-- Rights: none.
select
  n.nspname::text as schema,
  c.relname::text as name,
  c.relkind::text as kind,
  case
    when c.relkind in ('p', 'I') then 0
    else pg_catalog.pg_relation_size(c.oid) / current_setting('block_size')::bigint
  end as pages,
  c.relpages as counted_pages,
  c.reltuples::float8 as tuples,
  c.relallvisible as visible
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_index i on i.indexrelid = c.oid
join pg_catalog.pg_class t on t.oid = coalesce(i.indrelid, c.oid)
join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
join unnest(%(schemas)s::text[], %(names)s::text[]) as wanted (schema, name)
  on wanted.schema = tn.nspname
  and wanted.name = t.relname
