-- Since when this server counts scans in this database, and how many standbys stream from it.
-- 15 and newer leave stats_reset null until somebody resets; a crash throws everything away and marks only the shared
-- counters, all at once. So the start is the later of both; without any mark, the start of the server is a safe bound.
-- Rights: none. A row of pg_stat_replication is visible to everybody, its columns need pg_read_all_stats.
select
  clock_timestamp() as now,
  coalesce(
    greatest(
      d.stats_reset,
      least(
        (select b.stats_reset from pg_catalog.pg_stat_bgwriter b),
        (select a.stats_reset from pg_catalog.pg_stat_archiver a),
        (select w.stats_reset from pg_catalog.pg_stat_wal w)
      )
    ),
    pg_catalog.pg_postmaster_start_time()
  ) as since,
  (
    select count(*)
    from pg_catalog.pg_stat_replication r
    where r.state is distinct from 'backup'
      and r.application_name is distinct from 'pg_receivewal'
      and not exists (
        select from pg_catalog.pg_replication_slots s where s.active_pid = r.pid and s.slot_type = 'logical'
      )
  )::int as standbys,
  current_setting('track_commit_timestamp')::boolean as commit_times,
  current_setting('track_counts')::boolean as counts
from pg_catalog.pg_stat_database d
where d.datname = current_database()
