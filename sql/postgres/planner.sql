-- Settings the planner reckons with, where a session of ours could set them on another server.
-- Rights: none.
select
  s.name,
  s.setting || coalesce(case when s.unit in ('8kB', 'kB', 'MB', 'ms') then s.unit end, '') as setting,
  s.unit
from pg_catalog.pg_settings s
where (
    s.category like 'Query Tuning%'
    or s.name in (
      'work_mem', 'hash_mem_multiplier', 'max_parallel_workers_per_gather', 'parallel_leader_participation',
      'effective_io_concurrency', 'max_parallel_workers'
    )
  )
  and s.context in ('user', 'superuser')
  and s.name not in ('plan_cache_mode', 'default_statistics_target', 'seed')
