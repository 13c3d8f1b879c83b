-- The run that a session which holds a lock of dbkit's has begun, and for how many seconds nothing was written of it.
-- Rights: USAGE on schema dbkit, SELECT on its tables.
select
  r.job,
  r.runner,
  date_trunc('second', j.updated)::text as updated,
  extract(epoch from clock_timestamp() - j.updated)::float8 as silent
from dbkit.run r
join dbkit.job j on j.id = r.job
where r.backend_pid = %(pid)s
  and r.started >= %(since)s::timestamptz
  and r.outcome = 'running'
order by r.id desc
limit 1
