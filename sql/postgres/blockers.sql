-- Transactions a concurrent index build in this database would wait for: those that hold a snapshot, whatever table
-- they read, and those that write a table (`writes` lists its oid). Prepared transactions come with pid 0.
-- Rights: pg_read_all_stats to see state, query and snapshots of other roles' sessions.
with writers as materialized (
  select
    l.pid,
    l.virtualtransaction,
    array_agg(distinct l.relation::bigint) as tables
  from pg_catalog.pg_locks l
  join pg_catalog.pg_database d on d.oid = l.database
  where l.locktype = 'relation'
    and l.granted
    and l.mode not in ('AccessShareLock', 'RowShareLock')
    and d.datname = current_database()
  group by l.pid, l.virtualtransaction
)
select
  a.pid,
  a.usename::text as username,
  a.application_name,
  a.state,
  extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds,
  left(a.query, 120) as query,
  -- A build that is itself concurrent and a VACUUM hold snapshots that other builds do not wait for.
  a.backend_xmin is not null
    and not exists (select from pg_catalog.pg_stat_progress_create_index p where p.pid = a.pid)
    and not exists (select from pg_catalog.pg_stat_progress_vacuum v where v.pid = a.pid) as snapshot,
  coalesce(w.tables, '{}')::bigint[] as writes
from pg_catalog.pg_stat_activity a
left join writers w on w.pid = a.pid
where a.datname = current_database()
  and a.pid <> pg_catalog.pg_backend_pid()
  and (a.backend_xmin is not null or w.tables is not null)
union all
select
  0,
  x.owner::text,
  x.gid,
  'prepared',
  extract(epoch from clock_timestamp() - x.prepared)::float8,
  '',
  false,
  coalesce(w.tables, '{}')::bigint[]
from pg_catalog.pg_prepared_xacts x
join pg_catalog.pg_locks own on own.pid is null and own.locktype = 'transactionid' and own.transactionid = x.transaction
join writers w on w.pid is null and w.virtualtransaction = own.virtualtransaction
where x.database = current_database()
order by 5 desc nulls last
