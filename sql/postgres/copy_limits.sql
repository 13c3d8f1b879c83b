-- In which respects some tables plan otherwise on an empty copy, read by its superuser, than on the target.
-- The tables are given as two arrays of the same length, %(schemas)s and %(names)s.
-- Rights: none. Run on the copy.
with held as (
  select c.oid, c.relrowsecurity, quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join unnest(%(schemas)s::text[], %(names)s::text[]) as wanted (schema, name)
    on wanted.schema = n.nspname
    and wanted.name = c.relname
)
select
  string_agg(h.name, ', ' order by h.name) as tables,
  'has row-level policies: their conditions are not part of the plans of the copy' as told
from held h
where h.relrowsecurity
having count(*) > 0
union all
select
  string_agg(h.name, ', ' order by h.name),
  'has extended statistics, which the copy does not have'
from held h
where exists (select from pg_catalog.pg_statistic_ext e where e.stxrelid = h.oid)
having count(*) > 0
