-- Whether each index is usable at this very moment, and whether a session is dropping or altering it.
-- Tells a build that has just ended, and a drop under way, from the remains of a failed one.
-- Rights: none.
select
  i.indexrelid::bigint as oid,
  i.indisvalid and i.indislive as usable,
  exists (
    select
    from pg_catalog.pg_locks l
    where l.locktype = 'relation'
      and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
      and l.relation = i.indexrelid
      and l.mode in ('ShareUpdateExclusiveLock', 'AccessExclusiveLock')
      and l.pid <> pg_catalog.pg_backend_pid()
  ) as held
from pg_catalog.pg_index i
