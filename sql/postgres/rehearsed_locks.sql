-- The locks of one session on relations, and whatever it waits for, with the sessions that keep it waiting.
-- Rights: none. Versions: 14 and newer. The parameter is the session's process id.
select
  l.locktype::text as kind,
  coalesce(l.relation::bigint, 0) as oid,
  l.mode::text as mode,
  l.granted as granted,
  case when l.granted then '{}'::int[] else pg_catalog.pg_blocking_pids(l.pid) end as blockers
from pg_catalog.pg_locks l
where l.pid = %s
  and (l.locktype = 'relation' or not l.granted)
