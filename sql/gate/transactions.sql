-- Open transactions of others in this database, and prepared ones, oldest first; `locks` are the relations they hold.
-- Rights: pg_read_all_stats to see query and application of other roles' sessions. Versions: 14 and newer.
with held as materialized (
  select
    l.pid,
    l.virtualtransaction,
    array_agg(distinct l.relation::bigint) as locks
  from pg_catalog.pg_locks l
  where l.locktype = 'relation'
    and l.granted
    and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
  group by l.pid, l.virtualtransaction
)
select
  a.pid,
  a.usename::text as role,
  a.application_name as application,
  a.xact_start as began,
  extract(epoch from clock_timestamp() - a.xact_start)::float8 as age,
  left(a.query, 120) as query,
  coalesce(h.locks, '{}')::bigint[] as locks
from pg_catalog.pg_stat_activity a
left join held h on h.pid = a.pid
where a.datname = current_database()
  and a.pid <> pg_catalog.pg_backend_pid()
  and a.xact_start is not null
  and a.backend_type = 'client backend'
  and a.application_name not like 'dbkit%'
union all
select
  0,
  x.owner::text,
  x.gid,
  x.prepared,
  extract(epoch from clock_timestamp() - x.prepared)::float8,
  '',
  coalesce(h.locks, '{}')::bigint[]
from pg_catalog.pg_prepared_xacts x
left join pg_catalog.pg_locks own on own.pid is null
  and own.locktype = 'transactionid'
  and own.transactionid = x.transaction
left join held h on h.pid is null and h.virtualtransaction = own.virtualtransaction
where x.database = current_database()
order by 4
