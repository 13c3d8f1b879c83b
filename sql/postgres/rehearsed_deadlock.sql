-- Ends the statements of sessions that wait for the migrating one while it waits for them.
-- Rights: superuser, or a member of their roles. Versions: 14 and newer. The parameter is the migration's process id.
select pg_catalog.pg_cancel_backend(waiting.pid)
from (select %s::int as pid) migrating
  cross join lateral unnest(pg_catalog.pg_blocking_pids(migrating.pid)) as waiting (pid)
where migrating.pid = any (pg_catalog.pg_blocking_pids(waiting.pid))
