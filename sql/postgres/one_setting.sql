-- One setting as the server has it for others: a value this session changed for itself is not the server's.
-- Rights: none; some settings only with pg_read_all_settings. Versions: 14 and newer.
select
  case when source = 'session' then reset_val else setting end as value,
  source in ('client', 'user', 'database', 'database user') as own,
  pending_restart
from pg_catalog.pg_settings
where lower(name) = lower(%(name)s)
