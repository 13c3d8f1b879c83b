-- Tables with their columns that end in `_id`, and whether row-level security guards them. Partitions follow their parent.
-- Rights: none. Versions: 14 and newer.
select
  format('%I.%I', n.nspname, c.relname) as name,
  array(
    select a.attname::text
    from pg_catalog.pg_attribute a
    where a.attrelid = c.oid
      and a.attnum > 0
      and not a.attisdropped
      and a.attname ~ '_id$'
  ) as columns,
  c.relrowsecurity as enabled,
  c.relforcerowsecurity as forced,
  (select count(*) from pg_catalog.pg_policy p where p.polrelid = c.oid)::int as policies,
  pg_get_userbyid(c.relowner)::text as owner
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p')
  and not c.relispartition
  and n.nspname not in ('pg_catalog', 'information_schema', 'dbkit')
order by 1
