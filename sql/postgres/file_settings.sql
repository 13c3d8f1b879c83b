-- What the configuration files say now, read afresh: lines that count, lines that do not, lines the server refuses.
-- Rights: superuser, or select on pg_file_settings and execute on pg_show_all_file_settings().
select
  sourcefile,
  sourceline,
  seqno,
  name,
  setting,
  applied,
  error
from pg_catalog.pg_file_settings
order by seqno
