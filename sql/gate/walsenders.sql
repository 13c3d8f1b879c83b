-- Who replays this server's WAL: standbys, which may serve reads. Left out is what can be told from one: logical
-- subscribers (their slot), base backups (their state), and receivers such as pg_receivewal, which report what they have
-- written and never what they have replayed. A row without a name is hidden from this role.
-- Rights: pg_read_all_stats to see more than the pid. Versions: 14 and newer.
select
  r.pid,
  r.application_name::text as name,
  pg_catalog.host(r.client_addr) as address,
  s.slot_name::text as slot
from pg_catalog.pg_stat_replication r
left join pg_catalog.pg_replication_slots s on s.active_pid = r.pid
where coalesce(r.state in ('catchup', 'streaming', 'stopping'), true)
  and s.slot_type is distinct from 'logical'
  and not (r.write_lsn is not null and r.replay_lsn is null)
order by 2, 3, 1
