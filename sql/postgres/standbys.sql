-- Standbys that stream from this server, and how far behind they are.
-- Rights: pg_read_all_stats to see more than their names. Versions: 14 and newer.
select
  r.application_name::text as name,
  r.state::text as state,
  r.sync_state::text as sync_state,
  case when pg_catalog.pg_is_in_recovery() then null
    else pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.replay_lsn) end::bigint as lag_bytes,
  extract(epoch from r.replay_lag)::float8 as lag_seconds
from pg_catalog.pg_stat_replication r
order by r.application_name
