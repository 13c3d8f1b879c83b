-- Replication slots: who uses them, and how much WAL they keep.
-- Rights: none. Versions: 14 and newer.
select
  slot_name::text as name,
  slot_type as kind,
  active,
  wal_status,
  safe_wal_size,
  case
    when pg_is_in_recovery() then null
    else pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)
  end::bigint as kept_bytes
from pg_catalog.pg_replication_slots
order by slot_name
