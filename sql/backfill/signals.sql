-- What a running backfill looks at once or twice a second. Nothing here touches a table of the user.
-- Rights: pg_read_all_stats (or pg_monitor) for replicas and for other roles' sessions. Versions: 14 and newer.
-- In psql first: set dbkit.ours = '4711,4712'; set dbkit.rels = '16384'; (server processes of the run, oids of tables)
with asked as materialized (
  select
    string_to_array(current_setting('dbkit.ours'), ',')::int[] as ours,
    string_to_array(current_setting('dbkit.rels'), ',')::bigint[] as rels
), waiting as materialized (
  select distinct l.pid
  from pg_catalog.pg_locks l, asked
  where not l.granted
    and l.pid <> all (asked.ours)
)
select
  clock_timestamp() as at,
  case when not pg_catalog.pg_is_in_recovery() then pg_catalog.pg_current_wal_lsn() - '0/0'::pg_lsn end::float8 as wal,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'name', coalesce(nullif(r.application_name, ''), r.client_addr::text, 'pid ' || r.pid),
      'replay', r.replay_lsn - '0/0'::pg_lsn,
      'replied', r.reply_time
    )), '[]')
    from pg_catalog.pg_stat_replication r
    where coalesce(r.state, 'streaming') in ('streaming', 'catchup')
  ) as replicas,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'name', s.slot_name,
      'behind', pg_catalog.pg_current_wal_lsn() - coalesce(
        case when s.slot_type = 'logical' then s.confirmed_flush_lsn end, s.restart_lsn),
      'state', s.wal_status,
      'active', s.active
    )), '[]')
    from pg_catalog.pg_replication_slots s
    where s.restart_lsn is not null or s.wal_status = 'lost'
  ) as slots,
  (
    select count(*)
    from waiting w
    where pg_catalog.pg_blocking_pids(w.pid) && asked.ours
  )::int as waiters,
  (
    select count(*)
    from pg_catalog.pg_stat_activity a
    where a.state = 'active'
      and a.backend_type = 'client backend'
      and a.pid <> pg_catalog.pg_backend_pid()
      and a.pid <> all (asked.ours)
  )::int as active,
  (
    select coalesce(max(s.n_dead_tup::float8 / greatest(s.n_live_tup + s.n_dead_tup, 1)), 0)
    from pg_catalog.pg_stat_user_tables s
    where s.relid::bigint = any (asked.rels)
      and s.n_dead_tup > 1000
  )::float8 as dead,
  (
    select count(*)
    from pg_catalog.pg_stat_progress_vacuum v
    where v.relid::bigint = any (asked.rels)
  )::int as vacuums
from asked
