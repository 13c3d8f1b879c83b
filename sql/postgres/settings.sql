-- Every setting with its value, where it comes from, and what the server was compiled with.
-- Rights: none; some settings and all source files only with pg_read_all_settings. Versions: 14 and newer.
select
  name,
  setting,
  boot_val,
  reset_val,
  source,
  sourcefile,
  sourceline,
  pending_restart,
  enumvals
from pg_catalog.pg_settings
order by name
