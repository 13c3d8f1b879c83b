-- Where pgstatindex() lives, if the extension pgstattuple is installed and this role may call it.
-- Rights: none. Calling it needs pg_stat_scan_tables.
select n.nspname::text as schema
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.proname = 'pgstatindex'
  and p.proargtypes = '2205'::oidvector
  and pg_catalog.has_function_privilege(p.oid, 'execute')
