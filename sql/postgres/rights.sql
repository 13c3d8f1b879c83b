-- What this role may do in this database, as far as dbkit needs it.
-- Rights: none. Versions: 14 and newer.
with tables as (
  select
    c.oid,
    pg_catalog.pg_has_role(c.relowner, 'usage') as owned,
    pg_catalog.has_table_privilege(c.oid, 'select') as readable,
    pg_catalog.pg_get_userbyid(c.relowner)::text as owner
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'm')
    and n.nspname not in ('pg_catalog', 'information_schema', 'dbkit')
    and n.nspname not like 'pg\_toast%'
    and n.nspname not like 'pg\_temp%'
)
select
  pg_catalog.has_database_privilege(current_database(), 'temp') as temp,
  pg_catalog.has_database_privilege(current_database(), 'create') as create_schema,
  pg_catalog.pg_has_role(current_user, 'pg_read_all_settings', 'usage') as reads_all_settings,
  pg_catalog.pg_has_role(current_user, 'pg_stat_scan_tables', 'usage') as scans_tables,
  (select count(*) from tables)::int as tables,
  (select count(*) from tables where owned)::int as owned,
  (select count(*) from tables where readable)::int as readable,
  array(select distinct owner from tables where not owned order by owner) as owners,
  pg_catalog.to_regclass('dbkit.job') is not null as state,
  coalesce(
    pg_catalog.has_table_privilege(pg_catalog.to_regclass('dbkit.job')::oid, 'select, insert, update'),
    false
  ) as keeps_state
