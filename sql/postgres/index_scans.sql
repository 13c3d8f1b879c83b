-- How often each index was scanned on this server, and when last (16 and newer).
-- Rights: none. On a standby these are its own scans.
select
  s.indexrelid::bigint as oid,
  s.idx_scan::bigint as scans,
  (to_jsonb(s) ->> 'last_idx_scan')::timestamptz as last
from pg_catalog.pg_stat_user_indexes s
