-- Sessions that hold ACCESS EXCLUSIVE on a user's table right now: everybody else waits, and so would an audit.
-- Rights: pg_read_all_stats to see what sessions of other roles do; their pid and the table need none.
select
  l.pid,
  n.nspname::text as schema,
  c.relname::text as name,
  a.usename::text as username,
  a.application_name,
  a.state,
  extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds,
  (
    select count(*)
    from pg_catalog.pg_locks w
    where w.relation = l.relation
      and w.database = l.database
      and not w.granted
  )::int as waiting
from pg_catalog.pg_locks l
join pg_catalog.pg_class c on c.oid = l.relation and c.relkind in ('r', 'p', 'm')
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_stat_activity a on a.pid = l.pid
where l.locktype = 'relation'
  and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
  and l.mode = 'AccessExclusiveLock'
  and l.granted
  and l.pid <> pg_catalog.pg_backend_pid()
  and n.nspname not in ('pg_catalog', 'information_schema')
order by seconds desc nulls last, n.nspname, c.relname
