-- Client sessions: how many there are, how old they are on average, and the longest transaction of each state.
-- Rights: pg_read_all_stats to see those of other roles. Versions: 14 and newer.
select
  pid,
  usename::text as username,
  application_name,
  state,
  extract(epoch from now() - backend_start) as age,
  extract(epoch from now() - xact_start) as transaction_seconds,
  extract(epoch from now() - query_start) as query_seconds,
  extract(epoch from now() - state_change) as state_seconds,
  pid = pg_backend_pid() as mine
from pg_catalog.pg_stat_activity
where backend_type = 'client backend'
order by xact_start nulls last
