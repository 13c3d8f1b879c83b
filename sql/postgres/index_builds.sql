-- Index builds that run now in this database, with phase and counters; blockers are named by pid.
-- Rights: pg_read_all_stats for other roles' builds; without it relid and phase of those are null.
select
  p.pid,
  p.datname::text as database,
  p.relid::bigint as table_oid,
  nullif(p.index_relid, 0)::bigint as index_oid,
  p.command,
  p.phase,
  p.lockers_total,
  p.lockers_done,
  p.current_locker_pid,
  p.blocks_total,
  p.blocks_done,
  p.tuples_total,
  p.tuples_done,
  p.partitions_total,
  p.partitions_done,
  a.usename::text as username,
  a.application_name,
  extract(epoch from clock_timestamp() - a.query_start)::float8 as seconds
from pg_catalog.pg_stat_progress_create_index p
left join pg_catalog.pg_stat_activity a on a.pid = p.pid
where p.datname = current_database()
