-- Transactions that hold locks which conflict with ours on tables, longest first: (table oid, the lock modes that
-- conflict with what we want there) come as two arrays of equal length, modes joined by commas. `wraparound` marks an
-- autovacuum that does not give way. Prepared transactions come with pid 0.
-- Rights: pg_read_all_stats to see state and query of other roles' sessions.
with wanted as (
  select t.relation, string_to_array(t.modes, ',') as modes
  from unnest(%(tables)s::oid[], %(modes)s::text[]) t (relation, modes)
)
select
  coalesce(l.pid, 0) as pid,
  coalesce(a.usename::text, x.owner::text) as username,
  coalesce(a.application_name, x.gid) as application_name,
  case when x.gid is not null then 'prepared' when a.backend_type = 'autovacuum worker' then 'autovacuum' else a.state end
    as state,
  extract(epoch from clock_timestamp() - coalesce(a.xact_start, x.prepared))::float8 as seconds,
  left(a.query, 120) as query,
  coalesce(a.backend_type = 'autovacuum worker', false) as autovacuum,
  coalesce(a.backend_type = 'autovacuum worker' and a.query like '%%to prevent wraparound%%', false) as wraparound,
  min(w.relation::regclass::text) as relation
from wanted w
join pg_catalog.pg_locks l on l.relation = w.relation and l.mode = any(w.modes)
join pg_catalog.pg_database d on d.oid = l.database and d.datname = current_database()
left join pg_catalog.pg_stat_activity a on a.pid = l.pid
left join (
  select own.virtualtransaction, p.owner, p.gid, p.prepared
  from pg_catalog.pg_prepared_xacts p
  join pg_catalog.pg_locks own
    on own.pid is null and own.locktype = 'transactionid' and own.transactionid = p.transaction
) x on l.pid is null and x.virtualtransaction = l.virtualtransaction
where l.locktype = 'relation'
  and l.granted
  and l.pid is distinct from pg_catalog.pg_backend_pid()
group by 1, 2, 3, 4, 5, 6, 7, 8
order by 5 desc nulls last
