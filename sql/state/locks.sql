-- Who holds dbkit's advisory locks in this database. Such a lock ends with its session, so one that is held has a runner.
-- Rights: none; user and address of other roles' sessions need pg_read_all_stats.
select
  (l.classid::bigint << 32) | l.objid::bigint as number,
  a.pid,
  a.usename::text as username,
  a.application_name,
  host(a.client_addr) as client,
  date_trunc('second', a.backend_start)::text as since
from pg_catalog.pg_locks l
join pg_catalog.pg_database d on d.oid = l.database
join pg_catalog.pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory'
  and l.objsubid = 1
  and l.granted
  and d.datname = current_database()
