-- The share of NULLs in each nullable column that holds some, as ANALYZE estimated it. No value is read.
-- Rights: SELECT on the column, else pg_stats hides it. Versions: 14 and newer.
select
  c.oid::bigint as oid,
  a.attname::text as name,
  s.null_frac::float8 as share
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and not a.attnotnull
join pg_catalog.pg_stats s
  on s.schemaname = n.nspname
  and s.tablename = c.relname
  and s.attname = a.attname
  and s.inherited = (c.relkind = 'p')
where c.relkind in ('r', 'p')
  and n.nspname not in ('pg_catalog', 'information_schema', 'dbkit')
order by c.oid, a.attnum
