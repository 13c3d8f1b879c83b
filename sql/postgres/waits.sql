-- Which of dbkit's sessions wait for a lock now, and for whom. A blocker with pid 0 is a prepared transaction.
-- Rights: none for one's own sessions; state and query of other roles' sessions need pg_read_all_stats.
select
  w.pid as waiter,
  p.pid as pid,
  b.usename::text as username,
  b.application_name,
  b.state,
  extract(epoch from clock_timestamp() - b.xact_start)::float8 as seconds,
  left(b.query, 120) as query
from pg_catalog.pg_stat_activity w
cross join lateral unnest(pg_catalog.pg_blocking_pids(w.pid)) p (pid)
left join pg_catalog.pg_stat_activity b on b.pid = p.pid
where w.datname = current_database()
  and w.application_name like 'dbkit%'
  and w.wait_event_type = 'Lock'
