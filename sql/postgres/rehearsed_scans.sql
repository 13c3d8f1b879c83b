-- Rows that the running transaction has read by reading tables from end to end.
-- Rights: none. Versions: 14 and newer.
select
  s.relid::bigint as oid,
  s.seq_tup_read::bigint as rows
from pg_catalog.pg_stat_xact_user_tables s
where s.seq_tup_read > 0
