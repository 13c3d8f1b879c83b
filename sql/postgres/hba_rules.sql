-- The rules of pg_hba.conf as the server reads them.
-- Rights: superuser, or select on pg_hba_file_rules and execute on pg_hba_file_rules(). Versions: 14 and newer.
select
  line_number,
  type,
  database,
  user_name,
  address,
  netmask,
  auth_method,
  error
from pg_catalog.pg_hba_file_rules
order by line_number
