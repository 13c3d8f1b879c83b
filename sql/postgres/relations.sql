-- Every relation of the user's schemas with what decides whether an index can be built on it, and how large it is.
-- Rights: none. Versions: 14 and newer.
select
  c.oid::bigint as oid,
  n.nspname::text as schema,
  c.relname::text as name,
  c.relkind::text as kind,
  c.reltuples::float8 as tuples,
  case when c.relkind in ('r', 'm') then pg_catalog.pg_table_size(c.oid) else 0 end::bigint as bytes,
  pg_catalog.pg_has_role(c.relowner, 'usage') as owned,
  pg_catalog.pg_get_userbyid(c.relowner)::text as owner,
  pg_catalog.has_schema_privilege(n.oid, 'create') as may_create
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname not in ('pg_catalog', 'information_schema', 'dbkit')
  and n.nspname not like 'pg\_toast%'
  and n.nspname not like 'pg\_temp%'
