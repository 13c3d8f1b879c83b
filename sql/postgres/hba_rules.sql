-- The rules of pg_hba.conf as the server reads them.
-- Rights: superuser, or select on pg_hba_file_rules and execute on pg_hba_file_rules(). Versions: 14 and newer; the file is told from 16 on.
select
  line_number,
  type,
  database,
  user_name,
  address,
  netmask,
  auth_method,
  options,
  error,
  pg_catalog.to_jsonb(r) ->> 'file_name' as file_name
from pg_catalog.pg_hba_file_rules r
order by line_number
