-- The user name maps of pg_ident.conf as the server reads them.
-- Rights: superuser, or select on pg_ident_file_mappings and execute on pg_ident_file_mappings(). Versions: 15 and newer; the file is told from 16 on.
select
  line_number,
  map_name,
  sys_name,
  pg_username,
  error,
  pg_catalog.to_jsonb(m) ->> 'file_name' as file_name
from pg_catalog.pg_ident_file_mappings m
order by line_number
