-- Every job of this database, newest first.
-- Rights: USAGE on schema dbkit, SELECT on dbkit.job.
select
  id,
  kind,
  key,
  status,
  spec,
  cursor,
  done,
  total,
  note,
  runner,
  requested,
  date_trunc('second', started)::text as started,
  date_trunc('second', updated)::text as updated
from dbkit.job
order by id desc
