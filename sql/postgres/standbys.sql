-- Standbys that stream from this server, and this server itself when it is one, and how far behind they are.
-- Rights: pg_read_all_stats to see more than their names. Versions: 14 and newer.
select
  r.application_name::text as name,
  r.state::text as state,
  r.sync_state::text as sync_state,
  case when pg_catalog.pg_is_in_recovery() then null
    else pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.replay_lsn) end::bigint as lag_bytes,
  extract(epoch from r.replay_lag)::float8 as lag_seconds
from pg_catalog.pg_stat_replication r
union all
select
  'this server',
  case when pg_catalog.pg_is_wal_replay_paused() then 'replay is paused' else 'replaying' end,
  null,
  pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())::bigint,
  case when pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() then 0
    else extract(epoch from pg_catalog.now() - pg_catalog.pg_last_xact_replay_timestamp()) end::float8
where pg_catalog.pg_is_in_recovery()
order by 1
