-- Transactions of this database that a concurrent index build would wait for: they write, or hold an old snapshot.
-- Rights: pg_read_all_stats to see the sessions of other roles.
select
  a.pid,
  a.usename::text as username,
  a.application_name,
  a.state,
  extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds,
  left(a.query, 120) as query
from pg_catalog.pg_stat_activity a
where a.datname = current_database()
  and a.pid <> pg_catalog.pg_backend_pid()
  and a.backend_type = 'client backend'
  and a.application_name not like 'dbkit%'
  and a.xact_start < clock_timestamp() - interval '1 second'
  and (a.backend_xmin is not null or a.backend_xid is not null)
order by a.xact_start
