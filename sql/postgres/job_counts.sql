-- Jobs dbkit keeps in this database, by status.
-- Rights: SELECT on dbkit.job.
select
  j.status,
  count(*)::int as jobs
from dbkit.job j
group by j.status
order by j.status
