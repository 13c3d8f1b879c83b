-- Which server this is, and as whom it receives WAL: by that its primary's row of pg_stat_replication is found.
-- Rights: pg_read_all_stats to see slot and connection of the WAL receiver. Versions: 14 and newer.
select
  pg_catalog.pg_is_in_recovery() as in_recovery,
  pg_catalog.pg_postmaster_start_time() as started,
  pg_catalog.host(pg_catalog.inet_server_addr()) as address,
  w.pid is not null as receives,
  w.slot_name::text as slot,
  w.conninfo,
  current_setting('cluster_name') as cluster
from (select) this
left join pg_catalog.pg_stat_wal_receiver w on true
